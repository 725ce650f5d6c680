"""The demo world as a judge of transfers: the true picture of this person with that expression.

`world.json` of the demo's bundle names `sources` and `drawings`, see
`emojax.evaluation.ground_truth`.
"""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from emojax.demo import batches
from emojax.demo.batches import Params
from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.drawing.factors import FACTORS, express, params, sample, with_emotion
from emojax.demo.photos import JPEG_QUALITY, jpeg, photo_params, photograph
from emojax.evaluation.ground_truth import Truth
from emojax.runtime.errors import UserError

_BATCH = 16  # faces drawn at once; another number would be another program
_STRANGERS = 2**31  # ids from here on are the targets'


class People:
    """People by number, in one of the two worlds; an `emojax.evaluation.ground_truth.World`.

    A person keeps pose, light and camera in every expression, down to the grain, so that a picture
    differs from another by the expression alone. The targets are one stranger an emotion, who
    shows nothing else, and that at full intensity: targets are chosen for what they show.
    """

    attributes = batches.ATTRIBUTES
    identity = tuple(factor.name for factor in FACTORS)

    def __init__(self, resolution: int, seed: int, *, photographed: bool) -> None:
        """Draw nothing yet.

        Args:
            resolution: side of the pictures.
            seed: whose faces.
            photographed: the photo world, JPEG included; else the generator's, as it is drawn.
        """
        self.resolution, self.seed, self.photographed = resolution, seed, photographed
        kind = "photographs" if photographed else "drawings"
        self.fingerprint = f"demo world 2: {kind} of {resolution} px, seed {seed}"

    def people(self, ids: Sequence[int]) -> Truth:
        """Return people as they are."""
        return self._draw(ids, None)

    def target(self, emotion: str) -> np.ndarray:
        """Return the picture uint8 [S,S,3] of the stranger who shows one emotion.

        Raises:
            UserError: unknown emotion.
        """
        who, shown = self._stranger(emotion)
        return self._draw([who], shown).pictures[0]

    def transferred(self, ids: Sequence[int], emotion: str) -> Truth:
        """Return people with the weights and the intensity of a target's expression.

        Raises:
            UserError: unknown emotion.
        """
        return self._draw(ids, self._stranger(emotion)[1])

    def _stranger(self, emotion: str) -> tuple[int, Params]:
        """Return a target's number, and a face with its expression."""
        if emotion not in EMOTIONS:
            raise UserError(
                f"no emotion {emotion!r} in the demo world: it has {', '.join(EMOTIONS)}"
            )
        who = _STRANGERS + EMOTIONS.index(emotion)
        faces = _described(self.seed, _padded([who]), photographed=self.photographed)
        return who, with_emotion(jax.tree.map(lambda a: a[0], faces), emotion)

    def _draw(self, ids: Sequence[int], shown: Params | None) -> Truth:
        """Draw people, with the expression of one face where it is given."""
        parts = [self._batch(ids[i : i + _BATCH], shown) for i in range(0, len(ids), _BATCH)]
        return Truth(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _batch(self, ids: Sequence[int], shown: Params | None) -> Truth:
        padded = _padded(ids)
        faces = _described(self.seed, padded, photographed=self.photographed)
        if shown is not None:
            faces = _expressed(faces, shown)
        pictures = batches.draw(faces, self.resolution)
        if self.photographed:
            pictures = _photographed(self.seed, padded, pictures)
        pixels = np.round(127.5 * (np.asarray(pictures)[: len(ids)] + 1)).astype(np.uint8)
        if self.photographed:
            pixels = np.stack([self._jpeg(*each) for each in zip(ids, pixels, strict=True)])
        return Truth(pixels, np.asarray(batches.attributes(faces))[: len(ids)])

    def _jpeg(self, who: int, pixels: np.ndarray) -> np.ndarray:
        quality = np.random.default_rng((self.seed, int(who))).integers(*JPEG_QUALITY)
        return jpeg(pixels, int(quality))


def sources(resolution: int, seed: int) -> People:
    """Return photographed people: what inverters are tried on."""
    return People(resolution, seed, photographed=True)


def drawings(resolution: int, seed: int) -> People:
    """Return drawn people: what the generator learned from."""
    return People(resolution, seed, photographed=False)


def _padded(ids: Sequence[int]) -> np.ndarray:
    """Fill a batch by going round."""
    return np.resize(np.asarray(ids, np.uint32), _BATCH)


@functools.partial(jax.jit, static_argnames="photographed")
def _described(seed: int, ids: jax.Array, *, photographed: bool) -> Params:
    """Describe the faces of some ids."""

    def describe(who: jax.Array) -> Params:
        key = jax.random.fold_in(jax.random.key(seed), who)
        return photo_params(key) if photographed else params(sample(key))

    return jax.vmap(describe)(ids)


@jax.jit
def _expressed(faces: Params, shown: Params) -> Params:
    """Give all faces the expression of one; their habits stay their own."""
    give = jax.vmap(express, (0, None, None))
    return give(faces.identity, shown.emotion, shown.intensity)


@jax.jit
def _photographed(seed: int, ids: jax.Array, pictures: jax.Array) -> jax.Array:
    """Take a photo of each picture, with the camera of its id."""

    def take(who: jax.Array, picture: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(seed), who)
        return photograph(jax.random.fold_in(key, 1), picture)

    return jax.vmap(take)(ids, pictures)
