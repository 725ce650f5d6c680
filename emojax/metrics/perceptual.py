"""The perceptual distance that inversion by optimisation makes small: of LPIPS, or of features.

Both compare a network's features at several depths, each pixel's vector scaled to unit length. A
bundle without the networks of LPIPS, such as the demo, may have a network of its own for distances,
`features`; its depths count alike.
"""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp

from emojax.models.efficientnet import DEVIATION, MEAN, EmotionNet
from emojax.models.lpips import Architecture, Lpips, unit_vectors
from emojax.runtime.errors import UserError
from emojax.store.bundle import Bundle
from emojax.store.parts import ALEXNET, FEATURES, LPIPS_ALEXNET, LPIPS_VGG16, VGG16

PARTS = {"vgg16": (VGG16, LPIPS_VGG16), "alexnet": (ALEXNET, LPIPS_ALEXNET)}
"""The two parts of each LPIPS."""
SIDE = 256
"""Most pixels along a side that the projectors give the network."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Perceptual:
    """A distance between pictures in [-1, 1]; a pytree.

    Attributes:
        network: LPIPS, or a feature network of the bundle's own.
        made_with: hash of its weights.
    """

    network: Lpips | EmotionNet
    made_with: str = dataclasses.field(default="", metadata={"static": True})

    @property
    def is_lpips(self) -> bool:
        """Whether its values are those of the published distance."""
        return isinstance(self.network, Lpips)

    def embed(self, pictures: jax.Array) -> list[jax.Array]:
        """Return arrays [B,h,w,C] of pictures [B,S,S,3], whose squared difference is the distance.

        What pictures are compared with again and again need be embedded only once.
        """
        if isinstance(self.network, Lpips):
            return self.network.embed(pictures)
        levels = ((pictures + 1) / 2 - MEAN) / DEVIATION
        return [
            unit_vectors(x) / jnp.sqrt(float(x.shape[1] * x.shape[2]))
            for x in self.network.stages_of(levels)
        ]


def between(a: list[jax.Array], b: list[jax.Array]) -> jax.Array:
    """Return the distances [B] of pictures that were embedded."""
    pairs = zip(a, b, strict=True)
    return sum((jnp.square(x - y).sum((1, 2, 3)) for x, y in pairs), jnp.zeros(()))


def is_in(bundle: Bundle) -> bool:
    """Say whether a bundle has a network for a perceptual distance."""
    return bundle.has(FEATURES) or any(all(map(bundle.has, parts)) for parts in PARTS.values())


def load(bundle: Bundle, wanted: Architecture) -> Perceptual:
    """Return a bundle's distance: the LPIPS wanted, else the other one, else that of its features.

    Raises:
        UserError: the bundle has no network for it; says how one is made.
    """
    for name in sorted(PARTS, key=lambda name: name != wanted):
        parts = PARTS[name]
        if all(map(bundle.has, parts)):
            return Perceptual(
                Lpips(bundle.load(parts[0]), bundle.load(parts[1])),
                _hash("".join(map(bundle.sha256, parts))),
            )
    if bundle.has(FEATURES):
        return Perceptual(bundle.load(FEATURES), _hash(bundle.sha256(FEATURES)))
    missing = next(part for part in PARTS[wanted] if not bundle.has(part))
    raise UserError(f"optimisation needs a perceptual distance: {bundle.lack(missing)}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
