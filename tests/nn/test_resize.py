"""The 8-bit passes of the resize: every device's form is exact, and so is the order of passes."""

import jax.numpy as jnp
import numpy as np
import PIL
import pytest
from PIL import Image

from emojax.faces import images
from emojax.models.efficientnet import DEVIATION, MEAN
from emojax.nn import resize
from emojax.scoring import classifier

KINDS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("axis", [2, 3])
def test_thirds_of_a_weight_are_as_exact_as_halves(kind, axis):
    levels = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 80)).astype(np.float32)
    levels[0] = np.where(levels[0] < 128, 0, 255)  # the steepest edges
    fixed = np.floor(resize.weights(levels.shape[axis], 24, kind) * 2**resize.BITS + 0.5)
    fixed = fixed.astype(np.int64)
    wanted = resize._by_halves(jnp.asarray(levels), fixed, axis)
    found = resize._by_thirds(jnp.asarray(levels), fixed, axis)
    np.testing.assert_array_equal(found, wanted)
    product = np.moveaxis(np.tensordot(fixed, levels.astype(np.int64), (1, axis)), 0, axis)
    exact = np.clip((product + 2 ** (resize.BITS - 1)) >> resize.BITS, 0, 255)
    np.testing.assert_array_equal(wanted, exact)


def disagreements(shapes, seed=0):
    """Return the shapes (height, width, new height, new width) whose result is not Pillow's."""
    rng, found = np.random.default_rng(seed), []
    for number, (height, width, high, wide) in enumerate(shapes):
        kind = list(KINDS)[number % 2]
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        ours = resize.resize(jnp.asarray(picture)[None], high, wide, kind, as_uint8=True)[0]
        image = Image.fromarray(picture)
        # one pass a call: no Pillow can choose another order
        wanted = image.resize((wide, height), KINDS[kind]).resize((wide, high), KINDS[kind])
        resampled = images.resample(image, (wide, high), KINDS[kind])
        if (np.asarray(ours) != wanted).any() or (np.asarray(resampled) != wanted).any():
            found.append((height, width, high, wide))
    return found


def random_shapes(count, seed=0):
    return np.random.default_rng(seed).integers(1, 120, (count, 4)).tolist()


def test_pictures_of_any_shape_are_resized_horizontally_first():
    shapes = [(260, 223, 224, 224), (223, 260, 224, 224), (40, 200, 30, 20), (200, 40, 20, 30)]
    assert disagreements(shapes + random_shapes(8)) == []


@pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) >= 13,
    reason="from Pillow 13 on the order depends on the shape",
)
def test_older_pillows_resize_horizontally_first():
    rng = np.random.default_rng(0)
    for height, width, high, wide in random_shapes(400):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for kind in KINDS.values():
            one = np.asarray(image.resize((wide, high), kind))
            np.testing.assert_array_equal(images.resample(image, (wide, high), kind), one)


def test_the_classifier_sees_what_the_original_saw_of_pictures_that_are_not_square():
    """HSEmotion's pictures were resized by a Pillow that went horizontally first."""
    picture = np.random.default_rng(0).integers(0, 256, (260, 223, 3), dtype=np.uint8)
    found = classifier.preprocess(jnp.asarray(images.to_float(picture))[None], 224, crop="full")
    two = Image.fromarray(picture).resize((224, 260), KINDS["bilinear"])
    wanted = np.asarray(two.resize((224, 224), KINDS["bilinear"]), np.float32) / 255
    levels = np.asarray(found[0]) * np.asarray(DEVIATION) + np.asarray(MEAN)
    np.testing.assert_allclose(levels, wanted, rtol=0, atol=1e-6)  # normalised and back in float32
