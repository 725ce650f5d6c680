"""Score table: codes and emotion probabilities of generated samples, filled by several processes.

A folder with `settings.json` and two zarr3 arrays whose row i is sample i: `codes` [N, D] and
`probabilities` [N, K]. Rows not yet scored are NaN. A chunk of rows is written at once, codes
first, so a chunk whose probabilities are there is complete; its files appear by rename and carry
checksums. When a run goes on with a folder is told in `emojax.store.run_settings`; N may grow.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import tensorstore as ts

from emojax.runtime.choices import Crop
from emojax.runtime.errors import UserError
from emojax.store import run_settings


@dataclasses.dataclass(frozen=True)
class ScoreSettings:
    """All that a row depends on, and the table's layout.

    Attributes:
        generator_sha256: `weights_sha256` of the generator.
        emotion_sha256: that of the classifier.
        classes: the classifier's K classes, as it names them.
        width: D, of a code.
        samples: N; ids are 0 ... N-1. The one setting that may grow in a later run.
        seed: of the random key; 0 gives the faces of `emojax sample`.
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
    crop: Crop = "face"
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

    settings: ScoreSettings
    ids: np.ndarray
    codes: np.ndarray
    probabilities: np.ndarray


class ScoreTable:
    """A score table, open for reading and writing; several processes may hold it at once.

    Attributes:
        folder: where it is.
        settings: of the run.
    """

    def __init__(
        self, folder: Path, settings: ScoreSettings, codes: Any, probabilities: Any
    ) -> None:
        """Hold two open tensorstores; `create` and `open` make them."""
        self.folder, self.settings = folder, settings
        self._codes, self._probabilities = codes, probabilities

    @classmethod
    def create(cls, folder: Path, settings: ScoreSettings) -> Self:
        """Make the table, or open the one that the same settings made, for as many samples or more.

        A chunk that was the last, and is shorter than others, counts as missing once there are more
        samples in it; until it is scored again its rows stay.

        Raises:
            UserError: other settings made it, or the folder cannot be written.
        """
        run_settings.open_folder(folder, dataclasses.asdict(settings), grows=("samples",))
        return cls._opened(folder, settings)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a table that `create` made.

        Raises:
            UserError: there is none, or it is damaged.
        """
        if not (folder / run_settings.FILE).is_file():
            raise UserError(f"no scores in {folder}: make them with 'emojax score --out {folder}'")
        return cls._opened(folder, _settings(folder))

    @classmethod
    def _opened(cls, folder: Path, settings: ScoreSettings) -> Self:
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
    """Turn tensorstore's errors over damaged files into one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the scores in {folder} are damaged ({reason}): delete the file it names to have its "
            "rows scored again, or the folder"
        ) from error


def _settings(folder: Path) -> ScoreSettings:
    stored = run_settings.read(folder)
    try:
        return ScoreSettings(**{**stored, "classes": tuple(stored["classes"])})
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{folder / run_settings.FILE} holds no settings of a score table ({error}): choose "
            "another folder"
        ) from error


def _array(folder: Path, rows: int, width: int, chunk: int, dtype: str) -> ts.TensorStore:
    """Open a zarr3 array [rows, width], made when missing and lengthened when it has fewer rows.

    Raises:
        ValueError: an array of another kind, or a longer one, is there.
    """
    if not (folder / "zarr.json").exists():
        spec = _spec(folder, width, chunk, dtype)
        spec["metadata"]["shape"] = [rows, width]
        return ts.open(spec, open=True, create=True).result()
    array = ts.open(_spec(folder, width, chunk, dtype), open=True).result()
    if array.shape[0] < rows:
        array = array.resize(exclusive_max=[rows, None], expand_only=True).result()
    if array.shape != (rows, width):
        raise ValueError(f"{folder} is {list(array.shape)}, wanted {[rows, width]}")
    return array


def _spec(folder: Path, width: int, chunk: int, dtype: str) -> dict[str, Any]:
    """Say where an array is and how it is laid out; each chunk carries a checksum."""
    grid = {"name": "regular", "configuration": {"chunk_shape": [chunk, width]}}
    bytes_ = {"name": "bytes", "configuration": {"endian": "little"}}
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(folder.absolute())},
        "metadata": {
            "data_type": dtype,
            "chunk_grid": grid,
            "codecs": [bytes_, {"name": "crc32c"}],
            "fill_value": "NaN",
        },
    }
