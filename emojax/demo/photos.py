"""The photo domain: faces as the demo's generator never saw them, for evaluation.

The demo's networks are trained on plain drawings and evaluated on this domain, as the paper's are
trained on FFHQ and evaluated on CelebA-HQ. It has a wider range of light and pose, hats, earrings,
colour casts, blur, vignetting, sensor noise and JPEG.
"""

import io
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from emojax.demo.drawing.factors import Identity, Params, params, sample
from emojax.runtime.errors import UserError

HAT_SHARE: Final = 0.12
"""Share of people with a hat."""
EARRINGS_SHARE: Final = 0.25
"""Share of people with earrings."""
JPEG_QUALITY: Final = (60, 96)
"""Range of libjpeg's quality, uniform, upper end excluded."""


def photo_params(key: jax.Array) -> Params:
    """Draw a face of the photo domain.

    Emotions are as frequent as among the generator's faces. Pose and light have a wider range than
    these, and some people wear hats or earrings.
    """
    latent_key, hat_key, earring_key, light_key = jax.random.split(key, 4)
    face = params(sample(latent_key))
    who = face.identity
    hat = jax.random.bernoulli(hat_key, HAT_SHARE).astype(jnp.float32)
    earrings = jax.random.bernoulli(earring_key, EARRINGS_SHARE).astype(jnp.float32)
    warmth = 0.06 + 0.05 * jax.random.normal(light_key)
    who = turned(who)._replace(
        light_warmth=who.light_warmth + warmth,
        backdrop_lightness=0.9 * who.backdrop_lightness + 0.12,
        backdrop_slope=2.0 * who.backdrop_slope,
        hat=hat,
        earrings=earrings,
    )
    return face._replace(identity=who)


def turned(who: Identity) -> Identity:
    """Return a person whose pose and light differ more from the mean, as in the photo domain."""
    return who._replace(
        yaw=1.6 * who.yaw,
        pitch=1.5 * who.pitch,
        roll=1.5 * who.roll,
        zoom=0.96 * who.zoom,
        light_x=1.6 * who.light_x,
    )


def photograph(key: jax.Array, picture: jax.Array) -> jax.Array:
    """Apply blur, exposure, white balance, vignetting and noise to a drawn picture.

    Args:
        key: of the random camera.
        picture: [R, R, 3] in [-1, 1].

    Returns:
        Photo [R, R, 3] in [-1, 1], differentiable with respect to the picture; JPEG not applied.
    """
    keys = jax.random.split(key, 7)
    light = ((picture + 1) / 2).clip(1e-4, 1)
    light = _blur(light, jax.random.uniform(keys[0], maxval=0.22))
    gamma = jnp.exp(0.16 * jax.random.normal(keys[1]))
    cast = jnp.exp(0.08 * jax.random.normal(keys[2], (3,)))
    exposure = jnp.exp(0.12 * jax.random.normal(keys[3]))
    light = exposure * cast * light**gamma
    light = light * _vignette(picture.shape[0], keys[4])[..., None]
    grain = jax.random.uniform(keys[5], minval=0.006, maxval=0.03)
    noise = jax.random.normal(keys[6], light.shape)
    # shot noise grows with the root of the light, read noise is constant
    light = light + grain * jnp.sqrt(0.15 + light) * noise
    return 2 * light.clip(0, 1) - 1


def _blur(light: jax.Array, share: jax.Array) -> jax.Array:
    """Blur along both axes with the kernel (share, 1 - 2 share, share); edges are repeated."""
    for axis in (0, 1):
        padded = jnp.pad(light, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
        size = light.shape[axis]
        before = jax.lax.slice_in_dim(padded, 0, size, axis=axis)
        after = jax.lax.slice_in_dim(padded, 2, size + 2, axis=axis)
        light = (1 - 2 * share) * light + share * (before + after)
    return light


def _vignette(resolution: int, key: jax.Array) -> jax.Array:
    """Return a random vignette [R, R], up to 35 % darker in the corners."""
    along = jnp.linspace(-1, 1, resolution)
    strength = jax.random.uniform(key, maxval=0.35)
    return 1 - strength * (along[:, None] ** 2 + along[None, :] ** 2) / 2


def to_pixels(pictures: jax.Array | np.ndarray) -> np.ndarray:
    """Quantise drawn pictures in [-1, 1] to uint8 by rounding.

    Pictures of networks are truncated instead, as in the original codes: see `images.to_uint8`.
    """
    return np.round(127.5 * (np.asarray(pictures) + 1)).astype(np.uint8)


def random_jpeg(pixels: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Encode and decode a picture as JPEG, at a quality that depends on seed and number alone.

    Args:
        pixels: uint8 [H, W, 3].
        seed: of the run or data set.
        number: of the picture.
    """
    quality = np.random.default_rng((seed, number)).integers(*JPEG_QUALITY)
    return jpeg(pixels, int(quality))


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Encode and decode a picture as JPEG.

    Args:
        pixels: uint8 [H, W, 3].
        quality: 1 to 95, as libjpeg counts.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UserError: pixels that are not uint8 [H, W, 3].
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise UserError(
            f"JPEG takes uint8 [H, W, 3], not {pixels.dtype} {list(pixels.shape)}; "
            "scale the picture to 0 to 255 first"
        )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
