"""Squared error, PSNR and MS-SSIM against their definitions."""

import numpy as np
import pytest
from scipy import ndimage

from emojax.metrics import image_quality


def pair(seed=0, side=192):
    rng = np.random.default_rng(seed)
    a = np.kron(rng.uniform(-1, 1, (2, side // 8, side // 8, 3)), np.ones((1, 8, 8, 1)))
    return a.astype(np.float32), np.clip(a + 0.2 * rng.standard_normal(a.shape), -1, 1).astype(
        np.float32
    )


def test_l2_and_psnr():
    a, b = pair()
    np.testing.assert_allclose(image_quality.l2(a, b), np.square(a - b).mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(
        image_quality.psnr(a, a + 0.02), 40.0, rtol=1e-3
    )  # 10 log10(4 / 4e-4)
    assert np.isinf(np.asarray(image_quality.psnr(a, a))).all()


def test_ms_ssim_equals_its_definition():
    a, b = pair()
    window = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    window /= window.sum()

    def mean(x):  # SciPy's filter, cut to where the window fits
        for axis in (0, 1):
            x = ndimage.correlate1d(x, window, axis)
        return x[5:-5, 5:-5]

    def one(x, y):  # a channel in float64, two-dimensional window
        total = 1.0
        for index, power in enumerate(image_quality.SCALES):
            mx, my = mean(x), mean(y)
            vx, vy, c = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
            contrast = (2 * c + 0.06**2) / (vx + vy + 0.06**2)
            light = (2 * mx * my + 0.02**2) / (mx**2 + my**2 + 0.02**2)
            total *= (contrast * light if index == 4 else contrast).mean() ** power
            x, y = (z.reshape(len(z) // 2, 2, -1, 2).mean((1, 3)) for z in (x, y))
        return total

    wanted = [
        np.mean([one(*(p[i, ..., c].astype(float) for p in (a, b))) for c in range(3)])
        for i in range(2)
    ]
    np.testing.assert_allclose(image_quality.ms_ssim(a, b), wanted, rtol=1e-4)  # float32 variances
    np.testing.assert_allclose(image_quality.ms_ssim(a, a), 1, rtol=1e-5)
    assert (np.asarray(image_quality.ms_ssim(a, b)) < 0.98).all()
    with pytest.raises(ValueError, match=r"undefined for pictures of 128x192 pixels.* 176 or more"):
        image_quality.ms_ssim(a[:, :128], b[:, :128])


def test_no_ms_ssim_below_its_smallest_size():
    """Nothing is ever nan: small pictures have no MS-SSIM, and a sentence says why."""
    a, b = (each[:, :64, :64] for each in pair())
    figures = image_quality.reconstruction_error(a, b)
    assert sorted(figures) == ["l2", "psnr"]
    assert all(np.isfinite(values).all() for values in figures.values())
    assert image_quality.ms_ssim_problem(64, 64) == (
        "MS-SSIM is undefined for pictures of 64x64 pixels: its five scales need sides of 176 or "
        "more"
    )
    smallest, _ = pair(side=176)
    whole = image_quality.reconstruction_error(smallest, smallest)
    np.testing.assert_allclose(whole["ms_ssim"], 1, rtol=1e-5)
    assert image_quality.ms_ssim_problem(175, 176) is not None
