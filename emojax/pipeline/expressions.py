"""What a pipeline does with two faces: the expression of one on the other."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.faces.photo_reader import Photo
from emojax.latents import normalisers
from emojax.latents.bases import Prepared
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.latents.normalisers import Transferrer, combine
from emojax.models.efficientnet import EmotionNet
from emojax.pipeline.faces import Faces
from emojax.runtime.choices import K, Normaliser, Projection
from emojax.runtime.flags import PipelineFlags


class Expressions:
    """The part of a pipeline that transfers expressions between faces."""

    settings: PipelineFlags
    inverter: Inverter
    directions: Directions
    classifier: EmotionNet
    size: int

    def invert(self, *photos: Any, face: str = "only") -> Faces:
        """Find the codes of the faces in some photographs; see `Pipeline`."""
        raise NotImplementedError

    @property
    def normalisers(self) -> tuple[Normaliser, ...]:
        """The normalisers that the directions have everything for."""
        return tuple(normalisers.available(self.directions))

    def prepare(
        self,
        faces: Faces,
        normaliser: Normaliser = "reinvert",
        *,
        k: float = K,
        projection: Projection = "plain",
    ) -> Prepared:
        """Return faces with their neutral codes and what Equation 3 subtracts and adds.

        Args:
            faces: from `invert`.
            normaliser: see `emojax.latents.normalisers`.
            k: Equation 2's step.
            projection: Equation 2's f.
        """
        return self._transferrer(normaliser, k, projection).prepare(
            faces.codes, self._photographs(faces)
        )

    def transfer(
        self,
        source: Faces | Photo,
        target: Faces | Photo,
        *,
        alpha: float | Sequence[float] = 1.0,
        normaliser: Normaliser = "reinvert",
        k: float = K,
        projection: Projection = "plain",
    ) -> Faces:
        """Give the sources the targets' expressions: the paper's Equations 3 and 4.

        Args:
            source: whose faces; N of them, or one.
            target: whose expressions; N, or one.
            alpha: 1: the target's expression, 0: the source's own; one number, or N. One source
                and one target with several numbers give as many results.
            normaliser: "reinvert", the paper's; "none"; "subspace" and "subspace-scores", which
                keep the source's other traits better; "means", which also shows more of the
                target's expression. See `emojax.latents.normalisers`.
            k: Equation 2's step, for "reinvert" and "none".
            projection: Equation 2's f.

        Raises:
            UserError: a direction is missing, or the projection does not go with the normaliser.
            ValueError: the numbers of sources, targets and alphas do not go together.
        """
        source, target = self._faces(source), self._faces(target)
        both = [
            self.prepare(each, normaliser, k=k, projection=projection) for each in (source, target)
        ]
        return source.with_codes(combine(both[0], both[1], jnp.asarray(alpha)))

    @functools.lru_cache(maxsize=8)  # noqa: B019 - a subspace is worth keeping as long as the pipeline
    def _transferrer(self, normaliser: Normaliser, k: float, projection: Projection) -> Transferrer:
        return Transferrer(
            self.inverter,
            self.directions,
            normaliser,
            k,
            projection,
            self.settings.batch,
            self.classifier,
            self.settings.crop,
        )

    def _photographs(self, faces: Faces) -> np.ndarray | None:
        """Return the photographs uint8 [N,S,S,3] of faces; None where they show something else."""
        if faces.inverted is not None or len(faces.portraits) != len(faces):
            return None
        return np.stack([images.resize(each.face, self.size) for each in faces.portraits])

    def _faces(self, faces: Faces | Photo) -> Faces:
        return faces if isinstance(faces, Faces) else self.invert(faces)
