"""An inverter: the networks of one way to find a photograph's code, and the functions of that way.

A new way is a file with a `Method`, and a line in `METHODS` of `emojax.latents.inversion` and in
`INVERTERS` of `emojax.store.parts`; nothing else asks which one it is.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from emojax.metrics.perceptual import Perceptual
from emojax.models.hfgi import HFGI
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator

Changes = dict[str, jax.Array]
"""What one face or each of N faces changes in the generator, arrays [1 or N,...] by name."""

_static = functools.partial(dataclasses.field, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inverter:
    """The networks of one method; a pytree.

    Attributes:
        generator: draws the pictures; StyleGAN2, but for the method "none", which has any.
        encoder: gives the codes: pSp or e4e, or HyperStyle's W encoder; None where codes are
            optimised.
        hypernet: HyperStyle's.
        consultant: HFGI's aligner and consultation encoder.
        distances: what optimisation makes small, by its stage.
        method: name of the method, see `emojax.latents.inversion.METHODS`.
        steps: of an optimisation.
        made_with: SHA-256 over the hashes of the networks' weights.
    """

    generator: Generator
    encoder: Encoder | None = None
    hypernet: Hypernet | None = None
    consultant: HFGI | None = None
    distances: dict[str, Perceptual] = dataclasses.field(default_factory=dict)
    method: str = _static(default="psp")
    steps: int = _static(default=0)
    made_with: str = _static(default="")

    @property
    def resolution(self) -> int:
        """Side of the pictures that `invert` takes."""
        encoder = self.encoder
        return self.generator.config.size if encoder is None else encoder.config.resolution


class Run(NamedTuple):
    """How an inversion runs.

    Attributes:
        batch: faces at a time, on all devices together.
        devices: most of the local devices to use; None: all.
        advance: told the number of faces whenever some are done.
        describe: told how far the faces at hand are, in words.
        show: given now and then what the faces at hand should become and what an optimisation has
            reached, both [B,s,s,3] in about [-1, 1].
    """

    batch: int
    devices: int | None = None
    advance: Callable[[int], object] | None = None
    describe: Callable[[str], object] | None = None
    show: Callable[[np.ndarray, np.ndarray], object] | None = None


class Method(NamedTuple):
    """One way to invert.

    Attributes:
        find: (inverter, pictures [N,R,R,3] in [-1, 1], passes, run) to codes [N,L,D] and changes.
        passes: (inverter, passes asked for) to those that are made; an inversion keeps them.
        shapes: (inverter) to the shape of each change of one face.
        expand: (inverter, changes of one face, passes) to a generator, and kernel changes that it
            takes, for any codes of this face; None where they depend on the code as well.
        draw: (inverter, codes [B,L,D], changes [B,...], passes, resolution) to pictures; traced.
    """

    find: Callable[[Inverter, np.ndarray, int, Run], tuple[np.ndarray, Changes | None]]
    passes: Callable[[Inverter, int], int] = lambda _inverter, _passes: 0
    shapes: Callable[[Inverter], dict[str, tuple[int, ...]]] = lambda _inverter: {}
    expand: (
        Callable[[Inverter, Changes, int], tuple[Generator, Sequence[jax.Array | None] | None]]
        | None
    ) = None
    draw: Callable[[Inverter, jax.Array, Changes, Any, int | None], jax.Array] | None = None

    @property
    def changes_kernels(self) -> bool:
        """Whether each face has a generator of its own."""
        return self.draw is not None
