"""Inverted faces: their codes, what HyperStyle adds to them, and the file that keeps them.

HyperStyle's kernel changes are affine in one vector for each refined layer, so an `Inversion` keeps
the sums of these vectors over the passes and the number of passes: 34 KB a face at 1024², where the
kernel changes themselves are 94 MB. They are expanded when a picture is drawn.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from emojax.store import array_file
from emojax.store.reader.contents import Kind, Malformed, reading
from emojax.store.reader.fields import record

_KIND = Kind("an inversion", "wanted a .npz of emojax invert")

_static = functools.partial(dataclasses.field, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inversion:
    """Codes of one or more faces; a pytree.

    Attributes:
        w_plus: [N,L,D] codes in W+.
        vectors: HyperStyle's vectors summed over the passes, [N,T,C], or [1,T,C] where all codes
            are edits of one face; None for pSp.
        passes: number of HyperStyle passes in the sums; 0 for pSp.
        method: "psp" or "hyperstyle".
        made_with: hash of the networks, see `emojax.latents.inversion.Inverter`.
    """

    w_plus: jax.Array
    vectors: jax.Array | None = None
    passes: int = _static(default=0)
    method: str = _static(default="psp")
    made_with: str = _static(default="")

    def __len__(self) -> int:
        return self.w_plus.shape[0]

    def __getitem__(self, faces: int | slice | Sequence[int] | np.ndarray) -> "Inversion":
        """Return some of the faces; the batch axis stays, also for a single index."""
        if isinstance(faces, int | np.integer):
            faces = [faces]
        faces = np.arange(len(self))[faces]  # IndexError where there is no such face
        vectors = self.vectors
        if vectors is not None and not self.is_shared:
            vectors = vectors[faces]
        return dataclasses.replace(self, w_plus=self.w_plus[faces], vectors=vectors)

    @property
    def is_shared(self) -> bool:
        """Whether several codes share the kernels of one face."""
        return self.vectors is not None and self.vectors.shape[0] == 1 < len(self)

    def with_codes(self, w_plus: jax.Array) -> "Inversion":
        """Return the same faces with other codes, HyperStyle's changes of the kernels kept.

        Args:
            w_plus: [N,L,D], one a face, or [F,L,D] when this holds one face: F edits of it.

        Raises:
            ValueError: the number of codes fits neither.
        """
        if len(self) not in (1, w_plus.shape[0]):
            raise ValueError(f"{w_plus.shape[0]} codes for {len(self)} faces: wanted as many")
        return dataclasses.replace(self, w_plus=w_plus)

    def save(self, file: str | os.PathLike) -> None:
        """Write one `.npz` file, aside and then renamed.

        Raises:
            UserError: the file cannot be written.
        """
        arrays = {"w_plus": self.w_plus}
        if self.vectors is not None:
            arrays["vectors"] = self.vectors
        about = {"passes": self.passes, "method": self.method, "made_with": self.made_with}
        array_file.write(file, arrays, about)

    @classmethod
    def load(cls, file: str | os.PathLike) -> "Inversion":
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing, damaged or something else.
        """
        with reading(file, _KIND) as data:
            table, said = array_file.parse(data)
            about = record(_About, said, {"passes": 10_000})
            w_plus = table.numbers("w_plus", "N", "L", "D")
            vectors = None
            if about.passes:
                count = 1 if table.size("vectors") == 1 else "N"
                vectors = table.numbers("vectors", count, "T", "C")
            elif "vectors" in table:
                raise Malformed("it holds vectors of 0 passes")
            return cls(
                jnp.asarray(w_plus, jnp.float32),
                None if vectors is None else jnp.asarray(vectors, jnp.float32),
                **dataclasses.asdict(about),
            )


@dataclasses.dataclass(frozen=True)
class _About:
    """What the file of an inversion says of itself, see `Inversion`."""

    passes: int
    method: Literal["psp", "hyperstyle"]
    made_with: str

    def __post_init__(self) -> None:
        if (self.passes > 0) != (self.method == "hyperstyle") or self.passes < 0:
            raise ValueError(f"{self.method} has {self.passes} passes")


def concatenate(inversions: Sequence[Inversion]) -> Inversion:
    """Join the faces of several inversions that the same networks made in as many passes.

    Raises:
        ValueError: there are none, or they differ in more than their faces.
    """
    kinds = {(each.method, each.made_with, each.passes) for each in inversions}
    if len(kinds) != 1:
        raise ValueError(f"wanted inversions of one kind, got {len(kinds)}: {sorted(kinds)}")
    inversions = [_unshared(each) for each in inversions]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *inversions)


def _unshared(inversion: Inversion) -> Inversion:
    vectors = inversion.vectors
    if vectors is None or not inversion.is_shared:
        return inversion
    shape = (len(inversion), *vectors.shape[1:])
    return dataclasses.replace(inversion, vectors=jnp.broadcast_to(vectors, shape))
