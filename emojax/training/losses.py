"""How far pictures are from those they should be: pixels, a perceptual distance, and identity.

The losses of pSp and HyperStyle. A bundle without LPIPS or ArcFace may have networks of its own in
their place, see `feature_losses`.

Sources: eladrich/pixel2style2pixel `training/coach.py`; yuval-alaluf/hyperstyle
`training/coach_hyperstyle.py`.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from emojax.metrics.comparison import Networks
from emojax.models import arcface
from emojax.models.arcface import ArcFace
from emojax.models.efficientnet import EmotionNet
from emojax.models.lpips import Lpips
from emojax.nn.resize import resize
from emojax.training import feature_losses
from emojax.training.loop import Metrics


class Weights(NamedTuple):
    """Weights of the losses; the defaults are those of pSp and HyperStyle.

    Attributes:
        pixels: of the mean squared error.
        perceptual: of the perceptual distance.
        identity: of 1 - identity similarity.
        sharpness: of the difference in local variation, which unlike the squared error does not
            reward blur. Not of the papers.
    """

    pixels: float = 1.0
    perceptual: float = 0.8
    identity: float = 0.1
    sharpness: float = 0.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Critics:
    """The networks of the losses; a pytree. A loss whose network is None is left out.

    Attributes:
        perceptual: LPIPS, or a feature network.
        identity: ArcFace, or a network whose trunk tells people apart.
    """

    perceptual: Lpips | EmotionNet | None = None
    identity: ArcFace | EmotionNet | None = None

    @classmethod
    def of(cls, networks: Networks, features: EmotionNet | None = None) -> "Critics":
        """Return those that compare pictures, with a feature network where LPIPS is missing."""
        return cls(networks.lpips or features, networks.identity)


def likeness(
    critics: Critics,
    weights: Weights,
    made: jax.Array,
    pictures: jax.Array,
    pixel_weights: jax.Array | None = None,
) -> tuple[jax.Array, Metrics]:
    """Return the loss of pictures made of others, and metrics.

    Args:
        critics: networks of the losses.
        weights: of the losses.
        made: [N,R,R,3] in about [-1, 1]; gradients pass.
        pictures: what they should be, of the same shape.
        pixel_weights: [N,R,R,1] of mean 1; None: all pixels count alike.
    """
    square = jnp.square(made - pictures)
    weighted = square if pixel_weights is None else pixel_weights * square
    total, metrics = weights.pixels * jnp.mean(weighted), {"psnr": psnr(square)}
    if critics.perceptual is not None:
        metrics["perceptual"] = seen = perceptual(critics.perceptual, made, pictures)
        total = total + weights.perceptual * seen
    if critics.identity is not None:
        metrics["identity"] = other = identity(critics.identity, made, pictures)
        total = total + weights.identity * other
    if weights.sharpness:
        metrics["soft"] = soft = feature_losses.softness(made, pictures)
        total = total + weights.sharpness * soft
    return total, metrics


def perceptual(network: Lpips | EmotionNet, a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the mean perceptual distance of pictures [N,R,R,3] in [-1, 1]."""
    if isinstance(network, Lpips):
        return jnp.mean(network(a, b))
    return feature_losses.distance(network, a, b)


def identity(network: ArcFace | EmotionNet, a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the mean of 1 - identity similarity of pictures [N,R,R,3] in [-1, 1]."""
    if isinstance(network, EmotionNet):
        return feature_losses.identity(network, a, b)
    seen = network(_sized(jnp.concatenate([a, b]), arcface.RESOLUTION))
    one, other = jnp.split(seen, 2)
    return jnp.mean(1 - jnp.sum(one * other, -1))


def psnr(square: jax.Array) -> jax.Array:
    """Return the mean over pictures of the PSNR in dB, from squared errors [N,R,R,3] of [-1, 1]."""
    return jnp.mean(-10 * jnp.log10(square.mean((1, 2, 3)) / 4))


def _sized(pictures: jax.Array, side: int) -> jax.Array:
    """Return pictures [N,R,R,3] in [-1, 1] at the side that a network takes."""
    if pictures.shape[1] == side:
        return pictures
    return resize((pictures + 1) * 127.5, side, side, "bilinear") / 127.5 - 1
