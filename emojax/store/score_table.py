"""Score table: codes and the classifier's scores of samples, filled by several processes.

A folder, on a disk or in an object store (`emojax.store.place`), with `settings.json` and a file
for every chunk of samples, `rows/000003.npz`, with `codes` [n, D], `probabilities` [n, K], from a
classifier that regresses V more scores `regressed` [n, V], and the chunk's number and settings. A
sample's scores are both together, in S = K + V columns. Codes and scores of a chunk are one unit:
they appear together, their checksums are compared whenever they are read, and a chunk that is
damaged, swapped with another, or of other settings (such as classes in another order) counts as
missing, to be scored again. When a run goes on with a folder is told in
`emojax.store.run_settings`; N may grow. Tables of earlier releases are read, see
`emojax.store.zarr_scores`.
"""

import dataclasses
import functools
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import numpy as np

from emojax.runtime.choices import Crop
from emojax.runtime.errors import UserError
from emojax.store import array_file, run_settings, zarr_scores
from emojax.store.place import Location, Place, at, reading
from emojax.store.reader.contents import Kind, Malformed, explained, shown
from emojax.store.reader.fields import record
from emojax.store.zarr_scores import Rows

_ROWS = "rows"
"""Folder of the chunks."""
_LARGEST = {"width": 2**16, "samples": 2**32, "chunk": 2**20}
"""Largest numbers of settings."""
_THREADS, _PENDING = 16, 2**28
"""Chunks that are read at a time, at most, and their bytes together."""
_T = TypeVar("_T")
_KIND = Kind("sound", "score its faces again: 'emojax score' with the options it was made with")


@dataclasses.dataclass(frozen=True)
class ScoreSettings:
    """All that a row depends on, and the table's layout.

    Attributes:
        generator_sha256: `weights_sha256` of the generator.
        emotion_sha256: that of the classifier.
        classes: the classifier's K classes, as it names them.
        regressed: V more scores that it tells, valence and arousal; tables of classifiers that tell
            none, and those of earlier releases, lack this setting.
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
    regressed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check numbers and names.

        Raises:
            ValueError: a number is below 1, a chunk takes more bytes than are read of one file,
                or two scores have one name.
        """
        if len(set(self.scores)) < len(self.scores):
            raise ValueError("two scores have one name")
        for name in ("width", "samples", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted 1 or more")
        row = self.width * np.dtype(self.codes).itemsize + 4 * len(self.scores)
        most = (_KIND.most - 2**20) // row
        if min(self.chunk, self.samples) > most:
            raise ValueError(
                f"chunk is {self.chunk:,}, wanted at most {most:,} faces of {row} bytes"
            )

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the S columns of scores, in lower case: classes, then what is regressed."""
        return tuple(name.lower() for name in (*self.classes, *self.regressed))

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

    def record(self) -> dict[str, Any]:
        """Return the settings as they are kept in files."""
        found = dataclasses.asdict(self)
        if not self.regressed:
            del found["regressed"]
        return found


class Scored(NamedTuple):
    """The complete rows of a table.

    Attributes:
        settings: of the run.
        ids: [n] the samples there are, rising.
        codes: [n, D] float32 or float16.
        scores: [n, S] float32, named as in `settings.scores`.
    """

    settings: ScoreSettings
    ids: np.ndarray
    codes: np.ndarray
    scores: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """[n, K]: the scores of the classes."""
        return self.scores[:, : len(self.settings.classes)]


class ScoreTable:
    """A score table, open for reading and writing; several processes may hold it at once.

    Attributes:
        place: where it is.
        settings: of the run.
    """

    def __init__(self, location: Location, settings: ScoreSettings) -> None:
        """Hold a place; `create` and `open` check it."""
        self.place, self.settings = at(location), settings
        self._identity = _identity(settings)

    @classmethod
    def create(cls, location: Location, settings: ScoreSettings) -> Self:
        """Make the table, or open the one that the same settings made, for as many samples or more.

        A chunk that was the last, and is shorter than others, counts as missing once there are more
        samples in it; until it is scored again its rows stay.

        Raises:
            UserError: other settings made it, or the folder cannot be written.
        """
        run_settings.open_folder(location, settings.record(), grows=("samples",))
        return cls(location, settings)

    @classmethod
    def open(cls, location: Location) -> Self:
        """Open a table that `create` made.

        Raises:
            UserError: there is none, or its settings are damaged.
        """
        place = at(location)
        if not run_settings.exists(place):
            raise UserError(
                f"no scores in {shown(place)}: make them with 'emojax score --out {shown(place)}'"
            )
        return cls(place, _settings(place))

    def missing(self) -> list[int]:
        """Return the chunks that are not complete and sound; reads all that are there."""
        sizes = self._sizes()
        sound = {c for c, there in self._ahead(self.has, sorted(sizes), sizes) if there}
        return [chunk for chunk in range(self.settings.chunks) if chunk not in sound]

    def has(self, chunk: int) -> bool:
        """Whether a chunk is complete and sound; reads it."""
        try:
            rows = self._read_chunk(chunk)
        except UserError:
            return False
        return rows is not None and len(rows.codes) == len(self.settings.rows(chunk))

    def listed(self) -> set[int]:
        """Return the chunks that have a file of the size of a complete one; reads none of them."""
        found = self._files()
        return {chunk for chunk, size in found.items() if size == whole_size(self.settings, chunk)}

    def write(self, chunk: int, codes: np.ndarray, scores: np.ndarray) -> None:
        """Write a chunk, codes [n, D] and scores [n, S]; on return it is kept.

        Raises:
            UserError: the disk or the object store refuses.
            ValueError: there are other scores than the settings say.
        """
        if scores.shape[1] != len(self.settings.scores):
            raise ValueError(
                f"{scores.shape[1]} scores a sample, wanted {', '.join(self.settings.scores)}"
            )
        self.place.write(_name(chunk), _encoded(self.settings, chunk, codes, scores))

    def parts(self) -> Iterator[tuple[range, Rows]]:
        """Yield the ids and rows of every chunk that is there, in their order.

        Raises:
            UserError: a chunk is damaged; names it and its faces.
        """
        sizes = self._sizes()
        for chunk, rows in self._ahead(self._read_chunk, sorted(sizes), sizes):
            if rows is not None:
                first = self.settings.rows(chunk).start
                yield range(first, first + len(rows.codes)), rows

    def read(self, most: int | None = None) -> Scored:
        """Return the complete rows, or the first of them.

        Args:
            most: about how many rows; default: all.

        Raises:
            UserError: a chunk is damaged; names it and its faces.
        """
        settings, sizes = self.settings, self._sizes()
        room = sum(self._most_rows(chunk, size) for chunk, size in sizes.items())
        room = room if most is None else min(room, most + settings.chunk)
        ids = np.empty(room, np.int64)
        codes = np.empty((room, settings.width), settings.codes)
        scores = np.empty((room, len(settings.scores)), np.float32)
        count = 0
        for found, rows in self.parts():
            stop = count + len(found)
            ids[count:stop], codes[count:stop], scores[count:stop] = found, *rows
            count = stop
            if most is not None and count >= most:
                break
        return Scored(settings, ids[:count], codes[:count], scores[:count])

    def _files(self) -> dict[int, int]:
        """Return the bytes of the chunks' own files by number."""
        files = {Path(name): size for name, size in self.place.sizes(_ROWS).items()}
        numbered = {
            int(file.stem): size
            for file, size in files.items()
            if file.suffix == ".npz" and file.stem.isascii() and file.stem.isdigit()
        }
        return {chunk: size for chunk, size in numbered.items() if chunk < self.settings.chunks}

    def _sizes(self) -> dict[int, int]:
        """Return the bytes of the chunks that have a file of either kind by number."""
        folder = self.place.path
        old = zarr_scores.sizes(folder) if folder else {}
        return {c: size for c, size in old.items() if c < self.settings.chunks} | self._files()

    def _most_rows(self, chunk: int, size: int) -> int:
        """Return a bound of the rows of a chunk, by the size of its file."""
        row = self.settings.width * np.dtype(self.settings.codes).itemsize
        return min(len(self.settings.rows(chunk)), size // row)

    def _ahead(
        self, function: Callable[[int], _T], chunks: Sequence[int], sizes: Mapping[int, int]
    ) -> Iterator[tuple[int, _T]]:
        """Yield chunks with what a function gives for them; threads work on the next ones."""
        most = max(1, min(_THREADS, _PENDING // max([1, *sizes.values()])))
        waiting: deque[tuple[int, Future[_T]]] = deque()
        with ThreadPoolExecutor(most) as pool:
            for chunk in chunks:
                waiting.append((chunk, pool.submit(function, chunk)))
                if len(waiting) > most:
                    first, found = waiting.popleft()
                    yield first, found.result()
            while waiting:
                first, found = waiting.popleft()
                yield first, found.result()

    def _read_chunk(self, chunk: int) -> Rows | None:
        """Return the rows of a chunk; None where there are none.

        Raises:
            UserError: it is damaged.
        """
        settings, rows = self.settings, self.settings.rows(chunk)
        name = f"chunk {chunk} (faces {rows.start} to {rows.stop - 1})"
        kind = dataclasses.replace(_KIND, name=f"a sound file of {name}")
        with explained(f"{self.place}/{_name(chunk)}", kind):
            try:
                return self._checked(chunk, self.place.read(_name(chunk), kind.most))
            except FileNotFoundError:
                pass
        folder = self.place.path
        if folder is None or not zarr_scores.is_there(folder):
            return None
        try:
            widths = (settings.width, len(settings.scores))
            return zarr_scores.read(folder, rows, settings.chunk, widths, settings.codes)
        except Malformed as error:
            raise UserError(
                f"{name} of the scores in {shown(folder)} is damaged ({error}): {_KIND.advice}"
            ) from error

    def _checked(self, chunk: int, data: bytes) -> Rows:
        table, about = array_file.parse(data)
        if about.get("chunk") != chunk:
            raise Malformed("it is the file of another chunk")
        if differ := run_settings.differences(about.get("settings") or {}, self._identity):
            raise Malformed(f"it was scored with {differ}")
        codes = table.numbers("codes", "n", self.settings.width)
        widths = _widths(self.settings)
        parts = [table.numbers(name, "n", width) for name, width in widths.items()]
        types = [part.dtype.name for part in (codes, *parts)]
        if types != [self.settings.codes, *["float32"] * len(parts)]:
            raise Malformed(f"it holds {' and '.join(types)}")
        if not 0 < len(codes) <= len(self.settings.rows(chunk)):
            raise Malformed(f"it holds {len(codes)} faces")
        return Rows(codes, np.concatenate(parts, axis=1))


def whole_size(settings: ScoreSettings, chunk: int) -> int:
    """Return the bytes of a complete chunk's file, which depend on shapes alone."""
    return _size(settings, len(settings.rows(chunk)), len(str(chunk)))


@functools.lru_cache(maxsize=64)
def _size(settings: ScoreSettings, rows: int, digits: int) -> int:
    """Return the bytes of a file of so many rows of a chunk whose number has so many digits."""
    codes = np.broadcast_to(np.float32(0), (rows, settings.width))
    scores = np.zeros((rows, len(settings.scores)), np.float32)
    return len(_encoded(settings, 10 ** (digits - 1), codes, scores))


def _encoded(settings: ScoreSettings, chunk: int, codes: np.ndarray, scores: np.ndarray) -> bytes:
    arrays, start = {"codes": codes.astype(settings.codes)}, 0
    for name, width in _widths(settings).items():
        arrays[name] = scores[:, start : start + width]
        start += width
    return array_file.encode(arrays, {"chunk": chunk, "settings": _identity(settings)})


def _widths(settings: ScoreSettings) -> dict[str, int]:
    """Return the columns of scores in each array of a chunk's file."""
    found = {"probabilities": len(settings.classes), "regressed": len(settings.regressed)}
    return {name: width for name, width in found.items() if width}


def _name(chunk: int) -> str:
    return f"{_ROWS}/{chunk:06d}.npz"


def _identity(settings: ScoreSettings) -> dict[str, Any]:
    """Return what a row depends on, as JSON has it."""
    return json.loads(json.dumps({**settings.record(), "samples": None}))


def _settings(place: Place) -> ScoreSettings:
    kind = Kind("settings of a score table", "choose another folder", most=2**20)
    with reading(place, run_settings.FILE, kind) as data:
        return record(ScoreSettings, run_settings.parse_object(data), _LARGEST)
