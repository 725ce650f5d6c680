"""The normalisers of Equation 2: the paper's, which inverts the drawn neutral face, and none.

Write C_neu = f(C, ND) + k·ND for Equation 2's neutral face.

- "none": C_base = C_neu. Then TC − TC_neu = (⟨TC, ND⟩ − k) ND exactly, so whatever the target
  shows, only the source's neutral coordinate moves, to the target's: the result is
  SC + ⟨TC − SC, ND⟩ ND.
- "reinvert", the paper's: C_base = invert(synthesise(C_neu)). The encoder puts the drawn face where
  its own codes lie, and that moves more than one coordinate; but it also loses some of the person.
"""

import jax
import numpy as np

from emojax.latents import arithmetic, inversion
from emojax.latents.bases import Prepared, Resources, equation_4
from emojax.latents.codes import Inversion, concatenate
from emojax.latents.inversion import Inverter
from emojax.nn.pooling import area_mean
from emojax.runtime.batching import batches


class Unchanged:
    """The normaliser "none": the base is Equation 2's neutral face."""

    def __init__(self, given: Resources) -> None:
        """Hold the networks, k and f."""
        self.given = given

    def prepare(self, faces: Inversion, photographs: np.ndarray | None) -> Prepared:
        """Return faces with their neutral codes; runs no network."""
        del photographs
        neutral = self._neutral(faces)
        return Prepared(faces, neutral, neutral, self)

    def combine(self, source: Prepared, target: Prepared, alpha: jax.Array) -> Inversion:
        """Return Equation 4's result."""
        return equation_4(source, target, alpha)

    def _neutral(self, faces: Inversion) -> Inversion:
        given = self.given
        return faces.with_codes(
            arithmetic.neutralise(
                faces.w_plus, given.directions, k=given.k, projection=given.projection
            )
        )


class Reinversion(Unchanged):
    """The normaliser "reinvert": the base is the neutral face, drawn and inverted again."""

    def prepare(self, faces: Inversion, photographs: np.ndarray | None) -> Prepared:
        """Return faces with their neutral codes and bases.

        One picture and one inversion a face, in as many passes as the faces had, in batches of one
        size.
        """
        del photographs
        neutral = self._neutral(faces)
        base = reinvert(self.given.inverter, neutral, batch=self.given.batch)
        return Prepared(faces, neutral, base, self)


def reinvert(inverter: Inverter, faces: Inversion, *, batch: int = 4) -> Inversion:
    """Draw faces and invert the pictures: C' = invert(synthesise(C)).

    The encoder sees what a saved picture would show: colours clipped to [-1, 1], shrunk to its
    input's size by the mean over equal blocks.

    Args:
        inverter: the networks that made the faces.
        faces: N of them; HyperStyle runs as many passes as they had.
        batch: faces at a time; larger pictures than the encoder's are not kept.
    """
    count, found = len(faces), []
    for rows in batches(count, batch):
        drawn = inversion.synthesize(inverter, faces[rows], batch=batch)
        seen = area_mean(np.clip(drawn, -1, 1), inverter.resolution)
        found.append(inversion.invert(inverter, seen, passes=max(faces.passes, 1), batch=batch))
    return concatenate(found)[:count]
