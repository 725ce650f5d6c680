"""Two faces made ready for transfers from one to the other."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Self

import jax
import jax.numpy as jnp
import numpy as np

from emojax import Faces, Pipeline
from emojax.page.recipes import Transfer
from emojax.page.subject import Subject
from emojax.runtime.choices import NORMALISERS, Normaliser

if TYPE_CHECKING:
    from emojax import Prepared


@dataclasses.dataclass(frozen=True)
class Pair:
    """A source and a target whose expressions were separated from the persons.

    Attributes:
        pipe: with which networks.
        source: whose face.
        target: whose expression.
        normaliser: how the face without expression was found.
        bases: source and target as `Pipeline.prepare` returns them.
        stages: source and target by name: "inverted", "neutral" and, with re-inversion,
            "re-inverted"; drawn.
    """

    pipe: Pipeline
    source: Subject
    target: Subject
    normaliser: Normaliser
    bases: tuple["Prepared", "Prepared"]
    stages: dict[str, list[Faces]]

    @classmethod
    def prepare(
        cls, pipe: Pipeline, source: Subject, target: Subject, normaliser: Normaliser
    ) -> Self:
        """Find both faces without their expressions, and draw the stages on the way there."""
        bases = (pipe.prepare(source.face, normaliser), pipe.prepare(target.face, normaliser))
        stages = {"neutral": [Faces(pipe, base.neutral) for base in bases]}
        if NORMALISERS[normaliser].inverts:
            stages["re-inverted"] = [Faces(pipe, base.base) for base in bases]
        pipe.render([face for both in stages.values() for face in both])
        drawn = {"inverted": [source.face, target.face], **stages}
        return cls(pipe, source, target, normaliser, bases, drawn)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes beside its subjects."""
        pictures = [face.pictures for both in self.stages.values() for face in both]
        return sum(each.nbytes for each in [*pictures, *jax.tree.leaves(list(self.bases))])

    def at(self, alpha: float) -> Faces:
        """Return the result for one alpha, drawn and classified."""
        return self._drawn([alpha])

    def path(self, count: int) -> Faces:
        """Return so many results from the source's own expression to the target's, drawn."""
        return self._drawn(list(np.linspace(0, 1, count)))

    def recipe(self, alpha: float) -> Transfer:
        """Return what makes the result for one alpha again."""
        return Transfer(self.source.origin, self.target.origin, alpha, self.normaliser)

    @functools.cached_property
    def _ends(self) -> Faces:
        """The results for alpha 0 and 1; those between are on the line from one to the other."""
        return self.pipe.combine(*self.bases, [0.0, 1.0])

    def _drawn(self, alphas: list[float]) -> Faces:
        ends, share = self._ends.codes, jnp.asarray(alphas, jnp.float32).reshape(-1, 1, 1)
        codes = (1 - share) * ends.w_plus[0] + share * ends.w_plus[1]
        found = Faces(self.pipe, ends[0].with_codes(codes))
        self.pipe.render([found])
        return found
