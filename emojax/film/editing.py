"""A face's expression edited over a whole film: `edit_video`.

The film is read three times, a few frames at a time. First its faces are found and followed; then
every frame's code is found; then codes are smoothed and edited, the change is drawn, and the frames
are written. Each step keeps what it finished, in chunks of frames, in the folder `OUT.parts`, so
that a run that was interrupted goes on; the folder is deleted when the film is written.
"""

import contextlib
import dataclasses
import itertools
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.film import following, inverting, writing
from emojax.film.changes import Changer, Driver, VideoEdit, strength
from emojax.film.chunk_store import ChunkStore
from emojax.film.following import CHUNK, Followed
from emojax.film.inverting import chunks_of, crop_side, padded, read_codes, with_kernels
from emojax.film.pasting import put_back
from emojax.film.reading import Frame, Video, describe, steps
from emojax.film.smoothing import window_of
from emojax.film.tracks import NoSuchFace, Track
from emojax.latents.codes import Inversion
from emojax.pipeline import Pipeline
from emojax.runtime import locks
from emojax.runtime.choices import PasteForm
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256
from emojax.runtime.progress import Progress, progress
from emojax.store import run_settings


@dataclasses.dataclass(frozen=True)
class EditedVideo:
    """What `edit_video` wrote, and of what.

    Attributes:
        file: the edited film.
        preview: the film before and after side by side; None where it was not asked for.
        frames: number of frames.
        edited: number of those with an edited face; the others are as they were.
        rate: frames a second, on average.
        faces: of every face that was followed, from the left: "first" and "last" frame, mean "x"
            and "y" of its points in pixels, and whether it was "edited".
        warnings: a sentence for each film or photograph whose face the bundle cannot draw well.
    """

    file: Path
    preview: Path | None
    frames: int
    edited: int
    rate: float
    faces: list[dict[str, Any]]
    warnings: list[str]


class _Shown(NamedTuple):
    """A finished frame beside the one it was made of."""

    pts: int
    picture: np.ndarray
    original: np.ndarray


def edit_video(
    pipe: Pipeline,
    film: str | Path,
    out: str | Path,
    edit: VideoEdit | None = None,
    *,
    preview: str | Path | None = None,
    shown: Progress | None = None,
    chunk: int = CHUNK,
    **emotions: float,
) -> EditedVideo:
    """Edit the expression of a face in a film, frame by frame and as one person.

        emojax.edit_video(pipe, "in.mp4", "out.mp4", happiness=4)

    Args:
        pipe: an open bundle, see `emojax.load`.
        film: a video file (what FFmpeg reads), a GIF or an animated WebP.
        out: .mp4, .mov, .mkv, .gif or .webp; replaced when it is there.
        edit: what is done; default: `VideoEdit(emotions)`.
        preview: also write the film before and after, side by side, to this file.
        shown: told of the work; its total is three times the number of frames, where that is known.
            Default: a progress bar of its own.
        chunk: frames that are finished together: what an interrupted run loses at most.
        **emotions: how far along which direction, in place of `edit`.

    Raises:
        UserError: a file cannot be read or written, no face is in it, the driver is shorter than
            the film, `out.parts` holds another run's work, or see `VideoEdit.check`.
    """
    out, preview = Path(out), None if preview is None else Path(preview)
    edit = VideoEdit(emotions) if edit is None else edit
    video = describe(film)
    for file, name in ((out, "out"), (preview, "preview")):
        if file is not None:
            writing.check_name(file, name)
            if file.exists() and file.samefile(film):
                raise UserError(f"{name} is the film itself, {file}: choose another name")
    edit.check(pipe)
    run = _Run(pipe, video, edit, out, preview, chunk)
    if shown is not None:
        return run(shown)
    total = steps(video, run.driver_video)
    with progress("following the face", total, "frames") as bar:
        return run(bar)


class _Run:
    """One film on its way."""

    def __init__(
        self,
        pipe: Pipeline,
        video: Video,
        edit: VideoEdit,
        out: Path,
        preview: Path | None,
        chunk: int,
    ) -> None:
        """Open the folder of finished chunks.

        Raises:
            UserError: see `edit_video`.
        """
        self.pipe, self.video, self.edit = pipe, video, edit
        self.out, self.preview = out, preview
        self.driver_video = None if edit.driver is None else describe(edit.driver)
        if self.driver_video is not None:
            _check_length(self.driver_video, video)
        self.target = None
        if edit.target is not None:
            self.target = pipe.read(edit.target, face=edit.target_face, flag="--target-face")
        self.work = out.with_name(f"{out.name}.parts")
        self.store = ChunkStore(self.work, chunk)
        self.warnings: list[str] = []
        run_settings.open_folder(self.work, self._settings())

    @property
    def outs(self) -> list[Path]:
        """The files wanted: the film, and the preview where it is."""
        return [self.out] if self.preview is None else [self.out, self.preview]

    def __call__(self, shown: Progress) -> EditedVideo:
        """Do all steps and write the film, alone in the folder of finished chunks."""
        with locks.alone(self.work, "editing a film"):
            # once more: another process may have finished meanwhile, and removed the folder
            run_settings.open_folder(self.work, self._settings())
            return self._made(shown)

    def _made(self, shown: Progress) -> EditedVideo:
        changer = self._changer(shown)
        film = self._prepared(self.video, self.store, shown, self.edit.face, "face")
        shown.describe("editing")
        files = {block: self._chunk_files(block) for block in range(film.chunks)}
        wanted = [block for block, names in files.items() if not all(f.is_file() for f in names)]
        shown.advance(film.frames - sum(len(film.frames_of(block)) for block in wanted))
        with ThreadPoolExecutor(1) as pool:
            for block, frames in chunks_of(film, wanted):
                moves = _moves(self, film, changer, block)
                self._write(_edited(self, moves, frames, pool, shown), files[block])
        shown.describe("joining")
        self._join(list(files.values()))
        shutil.rmtree(self.work, ignore_errors=True)
        return _report(film, self.out, self.preview, self.warnings)

    def _settings(self) -> dict[str, Any]:
        """Return all that the finished chunks depend on."""
        return {
            "film": sha256(self.video.file),
            **self.edit.fingerprint(),
            **self.pipe.about(),
            "chunk": self.store.chunk,
            "suffix": self.out.suffix.lower(),
            "preview": None if self.preview is None else self.preview.suffix.lower(),
        }

    def _prepared(
        self, video: Video, store: ChunkStore, shown: Progress, face: str, flag: str
    ) -> Followed:
        """Follow and invert the faces of a film."""
        shown.describe(f"following the face in {video.file.name}")
        smoothing = self.edit.smoothing
        try:
            film = following.follow(
                video, store, shown, face=face, smoothing=smoothing, flag=f"--{flag}"
            )
        except NoSuchFace:  # nothing to go on with
            shutil.rmtree(self.work, ignore_errors=True)
            raise
        shown.describe(f"inverting {video.file.name}")
        inverting.invert(self.pipe, film, store, shown)
        self.warnings += inverting.doubts(self.pipe, film)
        return film

    def _changer(self, shown: Progress) -> Changer:
        """Return what moves the codes; a driver is followed and inverted first."""
        edit, driver = self.edit, None
        target = None if self.target is None else self.pipe.invert(self.target)
        self.warnings += [] if target is None else target.doubts
        if self.driver_video is not None:
            store = ChunkStore(self.work / "driver", self.store.chunk)
            other = self._prepared(self.driver_video, store, shown, edit.driver_face, "driver-face")
            driver = Driver(self.pipe, other, store, window_of(edit.smoothing, other.rate))
        return Changer(self.pipe, edit, target, driver)

    def _chunk_files(self, block: int) -> list[Path]:
        """Return the files of a finished chunk: of the film, and of the preview where wanted."""
        names = ["frames", "preview"][: len(self.outs)]
        return [self.work / name / f"{block:05d}{writing.CHUNK_SUFFIX}" for name in names]

    def _write(self, frames: Iterator[_Shown], files: list[Path]) -> None:
        """Encode one chunk, and its preview beside it."""
        for file in files:
            file.parent.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            writers = [
                stack.enter_context(
                    writing.chunk_writer(file, self.video, lossless=writing.is_encoded_again(out))
                )
                for file, out in zip(files, self.outs, strict=True)
            ]
            for frame in frames:
                writers[0](frame.pts, frame.picture)
                if self.preview is not None:
                    writers[1](frame.pts, np.concatenate([frame.original, frame.picture], axis=1))

    def _join(self, files: list[list[Path]]) -> None:
        for out, chunks in zip(self.outs, zip(*files, strict=True), strict=True):
            writing.join(list(chunks), self.video, out)


def _check_length(driver: Video, film: Video) -> None:
    """Refuse a driver that is shorter than the film, by more than a frame, where both say.

    Raises:
        UserError: it is shorter.
    """
    missing = film.seconds - driver.seconds
    if driver.seconds and missing > 1 / float(driver.rate):
        raise UserError(
            f"{driver.file} runs for {driver.seconds:.2f} s, shorter than the film's "
            f"{film.seconds:.2f} s: give a longer driver, or cut the film"
        )


class _Move(NamedTuple):
    """The codes of one face in one chunk.

    Attributes:
        track: of the face.
        frames: [n] numbers of the frames in which it is.
        source: n codes as they were found, smoothed, with kernels where there are any.
        result: [n,L,D] the edited codes.
    """

    track: Track
    frames: np.ndarray
    source: Inversion
    result: np.ndarray


def _moves(run: _Run, film: Followed, changer: Changer, block: int) -> list[_Move]:
    """Return what is done to the faces of a chunk."""
    moves = []
    for number, track in enumerate(film.tracks):
        frames = film.rows_of(track, block)
        if not len(frames):
            continue
        window = window_of(run.edit.smoothing, film.rate)
        found = read_codes(film, run.store, number, frames, window)
        codes = Inversion(jnp.asarray(found), made_with=run.pipe.inverter.made_with)
        codes = with_kernels(codes, run.store, number)
        share = np.ones(len(frames), np.float32)
        if run.edit.smoothing:
            share = strength(track, frames, film.rate)
        moved = changer(codes, film.seconds[frames])
        moves.append(_Move(track, frames, codes, found + share[:, None, None] * (moved - found)))
    return moves


def _edited(
    run: _Run,
    moves: list[_Move],
    frames: Iterator[Frame],
    pool: ThreadPoolExecutor,
    shown: Progress,
) -> Iterator[_Shown]:
    """Yield the finished frames of a chunk; faces are drawn while earlier frames are pasted."""
    ahead: deque[Future[list[_Shown]]] = deque()
    batch: Sequence[Frame]
    while batch := list(itertools.islice(frames, run.pipe.settings.batch)):
        drawn = [_drawn(run.pipe, move, batch) for move in moves]
        ahead.append(pool.submit(_pasted, batch, drawn, run.edit.paste_form))
        if len(ahead) > 1:
            yield from _shown(ahead.popleft(), shown)
    while ahead:
        yield from _shown(ahead.popleft(), shown)


def _shown(future: "Future[list[_Shown]]", shown: Progress) -> Iterator[_Shown]:
    done = future.result()
    yield from done
    shown.advance(len(done))


class _Drawn(NamedTuple):
    """One face of one frame.

    Attributes:
        source: grey levels [S,S,3], as the generator draws it; in a film their rounding flickers.
        result: the same edited.
        points: [5,2] in the frame.
        size: side at which the face was cut out.
    """

    source: np.ndarray
    result: np.ndarray
    points: np.ndarray
    size: int


def _drawn(pipe: Pipeline, move: _Move, batch: Sequence[Frame]) -> dict[int, _Drawn]:
    """Draw a face before and after in some frames; by the number of the frame."""
    rows = np.flatnonzero(np.isin(move.frames, [frame.number for frame in batch]))
    if not len(rows):
        return {}
    source = np.asarray(move.source.w_plus)[rows]
    count = pipe.settings.batch
    both = np.concatenate([padded(source, count), padded(move.result[rows], count)])
    pictures = images.to_levels(pipe.synthesize(_like(move.source, both)))
    size = crop_side(move.track, pipe.inverter.resolution)
    return {
        int(frame): _Drawn(
            pictures[row],
            pictures[len(pictures) // 2 + row],
            move.track.points_at(frame),
            size,
        )
        for row, frame in enumerate(move.frames[rows])
    }


def _like(codes: Inversion, w_plus: np.ndarray) -> Inversion:
    """Return codes [M,L,D] with the kernels of some others, which share one face's."""
    return dataclasses.replace(codes, w_plus=jnp.asarray(w_plus))


def _pasted(
    batch: Sequence[Frame], drawn: list[dict[int, _Drawn]], form: PasteForm
) -> list[_Shown]:
    """Put the faces back into some frames; one without a face stays as it is."""
    finished = []
    for frame in batch:
        picture = frame.picture
        for faces in drawn:
            if (face := faces.get(frame.number)) is not None:
                picture = put_back(
                    *(picture, face.result, face.source, face.points), size=face.size, form=form
                )
        finished.append(_Shown(frame.pts, picture, frame.picture))
    return finished


def _report(film: Followed, out: Path, preview: Path | None, warnings: list[str]) -> EditedVideo:
    covered = np.zeros(film.frames, bool)
    for track in film.tracks:
        covered[track.start : track.stop] = True
    chosen = {track.number for track in film.tracks}
    faces = [
        {
            "first": track.start,
            "last": track.stop - 1,
            "x": round(float(track.points[..., 0].mean()), 1),
            "y": round(float(track.points[..., 1].mean()), 1),
            "edited": track.number in chosen,
        }
        for track in film.every
    ]
    edited = int(covered.sum())
    return EditedVideo(out, preview, film.frames, edited, film.rate, faces, warnings)
