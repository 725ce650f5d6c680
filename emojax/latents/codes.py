"""Inverted faces: their codes, what each changes in the generator, and the file that keeps them.

HyperStyle's kernel changes are affine in one vector for each refined layer, so an `Inversion` keeps
the sums of these vectors over the passes and the number of passes: 34 KB a face at 1024², where the
kernel changes themselves are 94 MB. They are expanded when a picture is drawn. Of a generator that
was tuned to a face, the differences of its weights are kept, in float16.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from emojax.store import array_file
from emojax.store.array_file import ABOUT
from emojax.store.parts import INVERTERS, InverterKind
from emojax.store.reader.contents import Kind, Malformed, reading
from emojax.store.reader.fields import record
from emojax.store.reader.tables import Table

VECTORS = "vectors"
"""Name of HyperStyle's sums [N,T,C] among the changes; others are of the shapes of weights."""
KINDS: dict[str, InverterKind] = {str(name): kind for name, kind in INVERTERS.items()}
"""The inverters by any text."""
_KIND = Kind("an inversion", "wanted a .npz of emojax invert")

_static = functools.partial(dataclasses.field, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inversion:
    """Codes of one or more faces; a pytree.

    Attributes:
        w_plus: [N,L,D] codes in W+.
        changes: what the faces change in the generator, arrays [N,...] by name, or [1,...] where
            all codes are edits of one face; None where they change nothing. HyperStyle's are
            "vectors" [N,T,C], summed over the passes.
        passes: number of HyperStyle's passes, or steps of an optimisation; 0 for pSp.
        method: name of the inverter.
        made_with: hash of the networks, see `emojax.latents.inversion.Inverter`.
    """

    w_plus: jax.Array
    changes: dict[str, jax.Array] | None = None
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
        changes = self.changes
        if changes is not None and not self.is_shared:
            changes = {name: array[faces] for name, array in changes.items()}
        return dataclasses.replace(self, w_plus=self.w_plus[faces], changes=changes)

    @property
    def is_shared(self) -> bool:
        """Whether several codes share the generator of one face."""
        changes = self.changes or {}
        return any(array.shape[0] == 1 < len(self) for array in changes.values())

    def with_codes(self, w_plus: jax.Array) -> "Inversion":
        """Return the same faces with other codes, and what they change in the generator.

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
        arrays = {"w_plus": self.w_plus} | (self.changes or {})
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
            changes = {
                name: _change(table, name) for name in table if name not in ("w_plus", ABOUT)
            }
            if bool(changes) != KINDS[about.method].changes:
                held = min(changes) if changes else "no changes of the generator"
                raise Malformed(f"it holds {held}, which does not go with {about.method}")
            return cls(
                jnp.asarray(w_plus, jnp.float32), changes or None, **dataclasses.asdict(about)
            )


def _change(table: Table, name: str) -> jax.Array:
    """Return one array of what faces change: as many rows as faces, or one."""
    count = 1 if table.size(name) == 1 else "N"
    rank = 3 if name == VECTORS else table.rank(name)
    rest = [f"axis {axis} of {name}" for axis in range(1, rank)]
    array = table.numbers(name, count, *rest)
    return jnp.asarray(array, None if array.dtype == np.float16 else jnp.float32)


@dataclasses.dataclass(frozen=True)
class _About:
    """What the file of an inversion says of itself, see `Inversion`."""

    passes: int
    method: str
    made_with: str

    def __post_init__(self) -> None:
        if self.method not in KINDS:
            raise ValueError(f"method is {self.method:.40}, wanted one of {', '.join(KINDS)}")
        if self.passes < 0 or (self.passes > 0) != KINDS[self.method].repeats:
            raise ValueError(f"{self.method} has {self.passes} passes")


def concatenate(inversions: Sequence[Inversion]) -> Inversion:
    """Join the faces of several inversions that the same networks made in as many passes.

    Raises:
        ValueError: there are none, or they differ in more than their faces.
    """
    kinds = {(each.method, each.made_with, each.passes) for each in inversions}
    if len(kinds) != 1:
        raise ValueError(f"wanted inversions of one kind, got {len(kinds)}: {sorted(kinds)}")
    inversions = [unshared(each) for each in inversions]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *inversions)


def unshared(inversion: Inversion) -> Inversion:
    """Return an inversion whose changes have a row for each code, also where one face has all."""
    if inversion.changes is None or not inversion.is_shared:
        return inversion
    changes = {
        name: jnp.broadcast_to(array, (len(inversion), *array.shape[1:]))
        for name, array in inversion.changes.items()
    }
    return dataclasses.replace(inversion, changes=changes)
