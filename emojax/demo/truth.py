"""The demo's ground truth: the true picture of a person with another's expression.

`world.json` in the demo's bundle names `sources` and `drawings`, see
`emojax.evaluation.ground_truth`.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo import batches
from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.drawing.factors import FACTORS, Params, express, params, sample, with_emotion
from emojax.demo.photos import photo_params, photograph, random_jpeg, to_pixels
from emojax.evaluation.ground_truth import LabelledFaces
from emojax.runtime.batching import batches as index_batches
from emojax.runtime.errors import UserError

_BATCH = 16
"""Faces drawn at once; fixed, since each number of faces is another compiled program."""
_FIRST_TARGET = 2**31
"""Ids from here on are those of the targets."""


class Drawn(NamedTuple):
    """Faces with their pictures.

    Attributes:
        faces: `Params` of arrays [N, ...].
        pictures: uint8 [N, S, S, 3].
    """

    faces: Params
    pictures: np.ndarray


class DrawnPeople:
    """Drawn people by number; an `emojax.evaluation.ground_truth.GroundTruth`.

    A person keeps pose, light and camera noise in every expression, so that two pictures of a
    person differ by the expression alone. The targets of an emotion are other people, each of
    whom shows that emotion alone, at full intensity.

    Attributes:
        attributes: names of the attributes of a face.
        identity: those that do not depend on the expression.
        resolution: side of the pictures.
        seed: of the people.
        photographed: whether they are of the photo domain.
        fingerprint: names everything that the pictures depend on.
    """

    attributes = batches.ATTRIBUTES
    identity = tuple(factor.name for factor in FACTORS)

    def __init__(self, resolution: int, seed: int, *, photographed: bool) -> None:
        """Hold the settings; pictures are drawn by the methods.

        Args:
            resolution: side of the pictures.
            seed: of the people.
            photographed: the photo domain, JPEG included; else plain drawings.
        """
        self.resolution, self.seed, self.photographed = resolution, seed, photographed
        kind = "photographs" if photographed else "drawings"
        self.fingerprint = f"drawn people 2: {kind} of {resolution} px, seed {seed}"

    def people(self, ids: Sequence[int] | np.ndarray) -> LabelledFaces:
        """Return people with their own expressions."""
        return _labelled(self.draw(ids))

    def targets(self, emotion: str, count: int = 1) -> np.ndarray:
        """Return the pictures uint8 [P, S, S, 3] of the first P targets of one emotion.

        Raises:
            UserError: unknown emotion.
        """
        first, shown = self._target(emotion)
        return self.draw(first + len(EMOTIONS) * np.arange(count), shown).pictures

    def transferred(self, ids: Sequence[int] | np.ndarray, emotion: str) -> LabelledFaces:
        """Return people with the expression of the targets: its emotion weights and intensity.

        Raises:
            UserError: unknown emotion.
        """
        return _labelled(self.draw(ids, self._target(emotion)[1]))

    def draw(self, ids: Sequence[int] | np.ndarray, shown: Params | None = None) -> Drawn:
        """Draw people, with the expression of one face where it is given."""
        ids = np.asarray(ids, np.uint32)
        parts = [self._batch(ids[rows], shown) for rows in index_batches(len(ids), _BATCH)]
        return jax.tree.map(lambda *each: np.concatenate(each)[: len(ids)], *parts)

    def faces(self, ids: Sequence[int] | np.ndarray, emotion: str | None = None) -> Params:
        """Return the faces [N, ...] of people, with the expression of a target where one is named.

        Raises:
            UserError: unknown emotion.
        """
        faces = _faces(self.seed, np.asarray(ids, np.uint32), photographed=self.photographed)
        return faces if emotion is None else _expressed(faces, self._target(emotion)[1])

    def _target(self, emotion: str) -> tuple[int, Params]:
        """Return the number of an emotion's first target, and a face with its expression."""
        if emotion not in EMOTIONS:
            raise UserError(
                f"no emotion {emotion!r} among the demo's faces: choose among {', '.join(EMOTIONS)}"
            )
        person = _FIRST_TARGET + EMOTIONS.index(emotion)
        ids = np.full(_BATCH, person, np.uint32)
        faces = _faces(self.seed, ids, photographed=self.photographed)
        return person, with_emotion(jax.tree.map(lambda a: a[0], faces), emotion)

    def _batch(self, ids: np.ndarray, shown: Params | None) -> Drawn:
        count, ids = len(ids), np.resize(ids, _BATCH)
        faces = _faces(self.seed, ids, photographed=self.photographed)
        if shown is not None:
            faces = _expressed(faces, shown)
        pictures = batches.draw(faces, self.resolution)
        if self.photographed:
            pictures = photographed(self.seed, ids, pictures)
        pixels = to_pixels(pictures)[:count]
        if self.photographed:
            rows = zip(ids.tolist(), pixels, strict=False)
            pixels = np.stack([random_jpeg(each, self.seed, person) for person, each in rows])
        return Drawn(jax.tree.map(lambda a: np.asarray(a)[:count], faces), pixels)


def sources(resolution: int, seed: int) -> DrawnPeople:
    """Return people of the photo domain, on which inverters are evaluated."""
    return DrawnPeople(resolution, seed, photographed=True)


def drawings(resolution: int, seed: int) -> DrawnPeople:
    """Return plainly drawn people, of the distribution that the generator is trained on."""
    return DrawnPeople(resolution, seed, photographed=False)


def _labelled(drawn: Drawn) -> LabelledFaces:
    faces = jax.tree.map(jnp.asarray, drawn.faces)  # NumPy divides with other last bits than XLA
    return LabelledFaces(drawn.pictures, np.asarray(batches.attributes(faces)))


@functools.partial(jax.jit, static_argnames="photographed")
def _faces(seed: int, ids: jax.Array, *, photographed: bool) -> Params:
    """Return the faces of some ids."""

    def face(person: jax.Array) -> Params:
        key = jax.random.fold_in(jax.random.key(seed), person)
        return photo_params(key) if photographed else params(sample(key))

    return jax.vmap(face)(ids)


@jax.jit
def _expressed(faces: Params, shown: Params) -> Params:
    """Give all faces the expression of one; each keeps its person's own activations."""
    give = jax.vmap(express, (0, None, None))
    return give(faces.identity, shown.emotion, shown.intensity)


@jax.jit
def photographed(seed: int, ids: jax.Array, pictures: jax.Array) -> jax.Array:
    """Apply the camera of each id [N] to its picture [N, R, R, 3] in [-1, 1]."""

    def take(person: jax.Array, picture: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(seed), person)
        return photograph(jax.random.fold_in(key, 1), picture)

    return jax.vmap(take)(ids, pictures)
