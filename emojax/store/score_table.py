"""The table of scored samples: a folder that several processes fill and any kill leaves whole.

`settings.json`, and two zarr3 arrays whose row i is sample i: `codes` [N, D] and `probabilities`
[N, K]. Rows not yet scored are NaN. A chunk of rows is written at once, codes first, so a chunk
whose probabilities are there is complete; its files appear by rename and carry checksums.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import tensorstore as ts

from emojax.runtime.errors import UserError
from emojax.runtime.files import replacing
from emojax.scoring import classifier


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a row depends on, and the table's layout; another run's table is refused.

    Attributes:
        generator_sha256: `weights_sha256` of the generator.
        emotion_sha256: that of the classifier.
        classes: the classifier's K classes, as it names them.
        width: D, of a code.
        samples: N; ids are 0 ... N-1.
        seed: of the run's key; 0 gives the faces of `python -m emojax.sample`.
        truncation: ψ, of both the picture and the stored code.
        resolution: of the skip generator's picture that is scored; None: the full one.
        crop: see `emojax.scoring.classifier.preprocess`.
        bfloat16_from: blocks of this resolution and above computed in bfloat16.
        codes: type the codes are stored in.
        chunk: rows written at a time.
    """

    generator_sha256: str
    emotion_sha256: str
    classes: tuple[str, ...]
    width: int
    samples: int
    seed: int = 0
    truncation: float = 1.0
    resolution: int | None = None
    crop: classifier.Crop = "face"
    bfloat16_from: int | None = None
    codes: Literal["float32", "float16"] = "float32"
    chunk: int = 256

    @property
    def chunks(self) -> int:
        """Number of chunks; the last may be shorter."""
        return -(-self.samples // self.chunk)

    def rows(self, chunk: int) -> range:
        """Return the ids of a chunk."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, self.samples))

    def count(self, chunks: Iterable[int]) -> int:
        """Return the number of samples in some chunks."""
        return sum(len(self.rows(chunk)) for chunk in chunks)


class Scored(NamedTuple):
    """The complete rows of a table.

    Attributes:
        settings: of the run.
        ids: [n] the samples there are, rising.
        codes: [n, D] float32 or float16.
        probabilities: [n, K] float32.
    """

    settings: Settings
    ids: np.ndarray
    codes: np.ndarray
    probabilities: np.ndarray


class Table:
    """A folder of scores, open for reading and writing; several processes may hold it at once."""

    def __init__(self, folder: Path, settings: Settings, codes: Any, probabilities: Any) -> None:
        """Hold two open tensorstores; `create` and `open` make them."""
        self.folder, self.settings = folder, settings
        self._codes, self._probabilities = codes, probabilities

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> Self:
        """Make the table, or open the one that the same settings made.

        Raises:
            UserError: other settings made it, or the folder cannot be written.
        """
        file = folder / "settings.json"
        if file.exists():
            if found := _differences(_read_settings(file), settings):
                raise UserError(
                    f"{folder} holds scores of another run ({found}): give the same options to "
                    "go on with it, or another --out"
                )
        elif folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} holds something else than scores: choose another --out")
        else:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"cannot write into {folder} ({error}): choose another --out"
                ) from error
            with replacing(file) as aside:
                aside.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
        return cls._opened(folder, settings)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a table that `create` made.

        Raises:
            UserError: there is none, or it is damaged.
        """
        file = folder / "settings.json"
        if not file.is_file():
            raise UserError(
                f"no scores in {folder}: make them with 'python -m emojax.score --out {folder}'"
            )
        return cls._opened(folder, _read_settings(file))

    @classmethod
    def _opened(cls, folder: Path, settings: Settings) -> Self:
        widths = {"codes": settings.width, "probabilities": len(settings.classes)}
        types = {"codes": settings.codes, "probabilities": "float32"}
        with _readable(folder):
            arrays = [
                _array(folder / name, settings.samples, width, settings.chunk, types[name])
                for name, width in widths.items()
            ]
        return cls(folder, settings, *arrays)

    def missing(self) -> list[int]:
        """Return the chunks that are not complete.

        Raises:
            UserError: a file is damaged.
        """
        with _readable(self.folder):
            there = ~np.isnan(self._probabilities.read().result()).any(1)
        rows = self.settings.rows
        return [
            c for c in range(self.settings.chunks) if not there[rows(c).start : rows(c).stop].all()
        ]

    def write(self, chunk: int, codes: np.ndarray, probabilities: np.ndarray) -> None:
        """Write a chunk; on return both parts are on disk.

        Raises:
            UserError: the disk refuses.
        """
        rows = self.settings.rows(chunk)
        try:  # in this order: probabilities that are there vouch for the codes
            self._codes[rows.start : rows.stop].write(codes.astype(self.settings.codes)).result()
            self._probabilities[rows.start : rows.stop].write(probabilities).result()
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot write into {self.folder} ({error}): make room there, then give the same "
                "command again to go on"
            ) from error

    def read(self) -> Scored:
        """Return the complete rows.

        Raises:
            UserError: a file is damaged.
        """
        with _readable(self.folder):
            probabilities = self._probabilities.read().result()
            (ids,) = np.nonzero(~np.isnan(probabilities).any(1))
            codes = self._codes.read().result()
        if len(ids) < len(probabilities):  # else a copy as large as the table
            codes, probabilities = codes[ids], probabilities[ids]
        return Scored(self.settings, ids, codes, probabilities)


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn what tensorstore says of damage into one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the scores in {folder} are damaged ({reason}): delete the file it names to have its "
            "rows scored again, or the folder"
        ) from error


def _read_settings(file: Path) -> Settings:
    try:
        stored = json.loads(file.read_text())
        return Settings(**{**stored, "classes": tuple(stored["classes"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{file} holds no settings of emojax.score ({error}): choose another folder"
        ) from error


def _differences(stored: Settings, wanted: Settings) -> str:
    """Name the settings that differ: "truncation 0.7, now 1.0"."""
    pairs = zip(
        dataclasses.asdict(stored).items(), dataclasses.asdict(wanted).values(), strict=True
    )
    return ", ".join(f"{name} {old}, now {new}" for (name, old), new in pairs if old != new)


def _array(folder: Path, rows: int, width: int, chunk: int, dtype: str) -> ts.TensorStore:
    """Open a zarr3 array [rows, width], made when missing; each chunk carries a checksum."""
    return ts.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(folder.absolute())},
            "metadata": {
                "shape": [rows, width],
                "data_type": dtype,
                "chunk_grid": {
                    "name": "regular",
                    "configuration": {"chunk_shape": [chunk, width]},
                },
                "codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
                "fill_value": "NaN",
            },
        },
        open=True,
        create=True,
    ).result()
