"""Style codes: the extrinsic codes of artistic portraits, as DualStyleGAN's files hold them."""

import dataclasses
import os
from typing import Any, Self

import numpy as np

from emojax.runtime.errors import UserError, shortened
from emojax.store import array_file
from emojax.store.bundle import Bundle
from emojax.store.reader.contents import Kind, reading

FILE = "styles.npz"
"""Name of the style codes of a bundle, in its folder."""

LONGEST_NAME = 200
"""Characters of a style's name."""

_KIND = Kind("a file of style codes", "give one that 'emojax convert dualstylegan' wrote (.npz)")


@dataclasses.dataclass(frozen=True, eq=False)
class Styles:
    """Extrinsic codes by name.

    Attributes:
        names: N, usually of the pictures that the codes were found for.
        codes: [N,L,D] float32 in Z+.
        metadata: where they come from.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes and names.

        Raises:
            ValueError: there is no style, a name is empty, repeated, or cannot be printed, or the
                codes have another shape or hold NaN or infinity.
        """
        shape = self.codes.shape
        if len(shape) != 3 or shape[0] != len(self.names) or not all(shape):
            raise ValueError(
                f"codes are {list(shape)}, wanted [{len(self.names)}, L, D], N above 0"
            )
        if not np.isfinite(self.codes).all():
            raise ValueError("codes hold NaN or infinity")
        sound = all(each.isprintable() and 0 < len(each) <= LONGEST_NAME for each in self.names)
        if not sound or len(set(self.names)) < len(self.names):
            raise ValueError(
                f"names are {shortened(self.names, 80)}, wanted different ones of 1 to "
                f"{LONGEST_NAME} printable characters"
            )

    def index(self, wanted: str) -> int:
        """Return the number of a style by its number or name, with or without an ending.

        Raises:
            UserError: there is none.
        """
        if wanted.isdecimal() and int(wanted) < len(self.names):
            return int(wanted)
        stems = [os.path.splitext(name)[0] for name in self.names]
        for known in (self.names, stems):
            if wanted in known:
                return known.index(wanted)
        raise UserError(
            f"no style {wanted!r:.60}: wanted a number from 0 to {len(self.names) - 1}, or one of "
            f"the names that --list shows, such as {self.names[0]}"
        )

    def save(self, file: str | os.PathLike) -> None:
        """Write one .npz, aside and then renamed.

        Raises:
            UserError: the file cannot be written.
        """
        arrays = {"names": np.array(self.names), "codes": self.codes.astype(np.float32)}
        array_file.write(file, arrays, self.metadata)

    @classmethod
    def load(cls, file: str | os.PathLike) -> Self:
        """Read a file that `save` wrote.

        Raises:
            UserError: the file is missing, damaged or something else.
        """
        with reading(file, _KIND) as data:
            table, metadata = array_file.parse(data)
            codes = table.numbers("codes", "N", "L", "D").astype(np.float32)
            return cls(table.texts("names", "N"), codes, metadata)


def load(bundle: Bundle) -> Styles:
    """Return the style codes of a bundle.

    Raises:
        UserError: it has none (says how they are made), or the file is damaged.
    """
    if (file := bundle.file(FILE)) is None:
        raise UserError(
            f"bundle {bundle} has no style codes: make them with 'emojax convert dualstylegan "
            f"refined_exstyle_code.npy --name {bundle}'"
        )
    return Styles.load(file)
