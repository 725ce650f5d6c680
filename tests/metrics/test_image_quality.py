"""Squared error, PSNR and MS-SSIM against their definitions and HyperStyle's recorded values."""

import functools
import zlib

import jax
import numpy as np
import pytest
from scipy import ndimage

from emojax.metrics import image_quality
from tests.support import judges, oracles


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


CASE = "ms_ssim"


@functools.cache
def recorded(name):
    """Redraw a recorded pair, [1,S,S,3] each."""
    about = oracles.manifest(CASE)["config"]["pairs"][name]
    a, d = (judges.planes(51, f"{name}_{key}", about["shape"][-1], batch=1) for key in "ad")
    a = 0.45 * a if name == "low256" else a
    b = {"far256": d, "anti256": -a}.get(name, 0.9 * a + 0.1 * d)
    pair = [each.astype(np.float32) for each in (a, b)]
    assert [zlib.crc32(each.tobytes()) for each in pair] == about["crc32_of_float32_bytes"]
    return [each.transpose(0, 2, 3, 1) for each in pair]


@pytest.mark.parametrize(
    "name",
    ["near256", "far256", "low256", "anti256", pytest.param("near1024", marks=pytest.mark.slow)],
)
def test_ms_ssim_is_hyperstyles(name):
    golden, pair = oracles.golden(CASE), recorded(name)
    levels = np.stack(jax.jit(image_quality.ssim_levels)(*pair))[:, :, 0]
    np.testing.assert_allclose(levels, golden[f"{name}/levels"], rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(image_quality.l2(*pair)[0], golden[f"{name}/mse"], rtol=2e-6)
    found = image_quality.ms_ssim(*pair)[0]
    np.testing.assert_allclose(found, golden[name], rtol=2e-6, atol=2e-6)
    assert bool(np.isnan(found)) == (name == "anti256")


def test_the_range_is_guessed_from_the_first_picture():
    """A dark square in both pictures widens the range, where it is below -0.5."""
    found = []
    for level in (-0.49, -0.51):
        pair = [each.copy() for each in recorded("low256")]
        for each in pair:
            each[:, :160, :160] = level
        found.append(float(image_quality.ms_ssim(*pair)[0]))
    assert abs(found[1] - found[0]) > 5e-3


def test_ms_ssim_equals_its_definition():
    a, b = pair()
    window = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    window /= window.sum()

    def mean(x):  # SciPy's filter, cut to where the window fits
        for axis in (0, 1):
            x = ndimage.correlate1d(x, window, axis)
        return x[5:-5, 5:-5]

    def one(x, y):  # a picture in float64, two-dimensional window
        total = 1.0
        for index, power in enumerate(image_quality.SCALES):
            span = 2 if x.min() < -0.5 else 1
            mx, my = mean(x), mean(y)
            vx, vy, c = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
            contrast = (2 * c + (0.03 * span) ** 2) / (vx + vy + (0.03 * span) ** 2)
            light = 2 * mx * my + (0.01 * span) ** 2
            light /= mx**2 + my**2 + (0.01 * span) ** 2
            total *= (contrast * light if index == 4 else contrast).mean() ** power
            x, y = (z.reshape(len(z) // 2, 2, -1, 2, 3).mean((1, 3)) for z in (x, y))
        return total

    wanted = [one(a[i].astype(float), b[i].astype(float)) for i in range(2)]
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
