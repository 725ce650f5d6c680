"""Score table: codes and emotion probabilities of generated samples, filled by several processes.

A folder with `settings.json` and a file for every chunk of samples, `rows/000003.npz`, with `codes`
[n, D], `probabilities` [n, K] and the chunk's number and settings. Codes and probabilities of a
chunk are one unit: they appear together by rename, their checksums are compared whenever they are
read, and a chunk that is damaged, swapped with another, or of other settings (such as classes in
another order) counts as missing, to be scored again. When a run goes on with a folder is told in
`emojax.store.run_settings`; N may grow. Tables of earlier releases are read, see
`emojax.store.zarr_scores`.
"""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from emojax.runtime.choices import Crop
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.store import array_file, run_settings, zarr_scores
from emojax.store.reader.contents import Kind, Malformed, reading, shown
from emojax.store.reader.fields import record
from emojax.store.zarr_scores import Rows

_ROWS = "rows"
"""Folder of the chunks."""
_LARGEST = {"width": 2**16, "samples": 2**32, "chunk": 2**20}
"""Largest numbers of settings."""
_KIND = Kind("sound", "score its faces again: 'emojax score' with the options it was made with")


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

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is below 1.
        """
        for name in ("width", "samples", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted 1 or more")

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

    def __init__(self, folder: Path, settings: ScoreSettings) -> None:
        """Hold a folder; `create` and `open` check it."""
        self.folder, self.settings = folder, settings
        self._identity = _identity(settings)

    @classmethod
    def create(cls, folder: Path, settings: ScoreSettings) -> Self:
        """Make the table, or open the one that the same settings made, for as many samples or more.

        A chunk that was the last, and is shorter than others, counts as missing once there are more
        samples in it; until it is scored again its rows stay.

        Raises:
            UserError: other settings made it, or the folder cannot be written.
        """
        run_settings.open_folder(folder, dataclasses.asdict(settings), grows=("samples",))
        return cls(folder, settings)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a table that `create` made.

        Raises:
            UserError: there is none, or its settings are damaged.
        """
        if not (folder / run_settings.FILE).is_file():
            raise UserError(
                f"no scores in {shown(folder)}: make them with 'emojax score --out {shown(folder)}'"
            )
        return cls(folder, _settings(folder))

    def missing(self) -> list[int]:
        """Return the chunks that are not complete and sound; reads all that are there."""
        return [c for c in range(self.settings.chunks) if not self._is_complete(c)]

    def write(self, chunk: int, codes: np.ndarray, probabilities: np.ndarray) -> None:
        """Write a chunk; on return it is on disk.

        Raises:
            UserError: the disk refuses.
        """
        arrays = {"codes": codes.astype(self.settings.codes), "probabilities": probabilities}
        about = {"chunk": chunk, "settings": self._identity}
        make_folder(self.folder / _ROWS)
        array_file.write(self._file(chunk), arrays, about)

    def read(self) -> Scored:
        """Return the complete rows.

        Raises:
            UserError: a chunk is damaged; names it and its faces.
        """
        settings, numbers = self.settings, self._there()
        most = sum(map(self._most_rows, numbers))
        ids = np.empty(most, np.int64)
        codes = np.empty((most, settings.width), settings.codes)
        probabilities = np.empty((most, len(settings.classes)), np.float32)
        count = 0
        for chunk in numbers:
            rows = self._read_chunk(chunk)
            if rows is None:
                continue
            stop, first = count + len(rows.codes), settings.rows(chunk).start
            ids[count:stop] = np.arange(first, first + len(rows.codes))
            codes[count:stop], probabilities[count:stop] = rows
            count = stop
        return Scored(settings, ids[:count], codes[:count], probabilities[:count])

    def _is_complete(self, chunk: int) -> bool:
        try:
            rows = self._read_chunk(chunk)
        except UserError:
            return False
        return rows is not None and len(rows.codes) == len(self.settings.rows(chunk))

    def _there(self) -> list[int]:
        """Return the numbers of the chunks that have a file, rising."""
        names = os.listdir(self.folder / _ROWS) if (self.folder / _ROWS).is_dir() else []
        stems = [name.removesuffix(".npz") for name in names if name.endswith(".npz")]
        found = {int(stem) for stem in stems if stem.isascii() and stem.isdigit()}
        found |= zarr_scores.sizes(self.folder).keys()
        return sorted(chunk for chunk in found if chunk < self.settings.chunks)

    def _most_rows(self, chunk: int) -> int:
        """Return a bound of the rows of a chunk, by the size of its file."""
        rows, file = len(self.settings.rows(chunk)), self._file(chunk)
        if file.is_file():
            size = file.stat().st_size
        else:
            size = zarr_scores.sizes(self.folder).get(chunk, 0)
        return min(rows, size // (self.settings.width * np.dtype(self.settings.codes).itemsize))

    def _read_chunk(self, chunk: int) -> Rows | None:
        """Return the rows of a chunk; None where there are none.

        Raises:
            UserError: it is damaged.
        """
        settings, file, rows = self.settings, self._file(chunk), self.settings.rows(chunk)
        name = f"chunk {chunk} (faces {rows.start} to {rows.stop - 1})"
        kind = dataclasses.replace(_KIND, name=f"a sound file of {name}")
        if file.exists():
            with reading(file, kind) as data:
                return self._checked(chunk, data)
        if not zarr_scores.is_there(self.folder):
            return None
        try:
            widths = (settings.width, len(settings.classes))
            return zarr_scores.read(self.folder, rows, settings.chunk, widths, settings.codes)
        except Malformed as error:
            raise UserError(
                f"{name} of the scores in {shown(self.folder)} is damaged ({error}): {_KIND.advice}"
            ) from error

    def _checked(self, chunk: int, data: bytes) -> Rows:
        table, about = array_file.parse(data)
        if about.get("chunk") != chunk:
            raise Malformed("it is the file of another chunk")
        if differ := run_settings.differences(about.get("settings") or {}, self._identity):
            raise Malformed(f"it was scored with {differ}")
        codes = table.numbers("codes", "n", self.settings.width)
        probabilities = table.numbers("probabilities", "n", len(self.settings.classes))
        if codes.dtype != self.settings.codes or probabilities.dtype != np.float32:
            raise Malformed(f"it holds {codes.dtype} and {probabilities.dtype}")
        if not 0 < len(codes) <= len(self.settings.rows(chunk)):
            raise Malformed(f"it holds {len(codes)} faces")
        return Rows(codes, probabilities)

    def _file(self, chunk: int) -> Path:
        return self.folder / _ROWS / f"{chunk:06d}.npz"


def _identity(settings: ScoreSettings) -> dict[str, Any]:
    """Return what a row depends on, as JSON has it."""
    return json.loads(json.dumps({**dataclasses.asdict(settings), "samples": None}))


def _settings(folder: Path) -> ScoreSettings:
    kind = Kind("settings of a score table", "choose another folder", most=2**20)
    with reading(folder / run_settings.FILE, kind) as data:
        return record(ScoreSettings, run_settings.parse_object(data), _LARGEST)
