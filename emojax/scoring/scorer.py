"""Emotion scores of generated faces: sample id to z, w, picture and scores, compiled as one.

Sample i draws from `fold_in(key, i)`, so batch size, devices and hosts change its row by float32
rounding only: codes to 1e-5, and scores too, except where rounding moves a pixel to the next
grey level (0.5 % of samples, by up to 5e-3, with tiny random networks at 16²). No picture leaves
the device.

Rows are written into a score table (`emojax.store.score_table`) chunk by chunk, while the next ones
are computed. A run that is killed loses at most the chunk being written and two calls after it.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.models.efficientnet import EmotionNet
from emojax.models.generator import Generator
from emojax.runtime import devices as parallel
from emojax.runtime import xla_options
from emojax.runtime.errors import UserError
from emojax.scoring import classifier
from emojax.scoring.sampling import draw_w
from emojax.store.score_table import ScoreSettings, ScoreTable


def scores_of(
    generator: Generator,
    emotion: EmotionNet,
    codes: jax.Array,
    *,
    resolution: int | None = None,
    crop: classifier.Crop = "face",
) -> jax.Array:
    """Return the scores [B, S] of the pictures of codes [B, D] or [B, L, D].

    Only what the classifier sees is drawn: 54 % of the picture of an aligned face. A pure function
    for use inside a larger program.
    """
    size = resolution or generator.config.size
    pictures = generator.synthesis(
        generator.w_plus(codes), resolution=resolution, window=classifier.window(size, crop)
    )
    return classifier.predict(emotion, pictures, crop="full").scores


def score(
    generator: Generator,
    emotion: EmotionNet,
    key: jax.Array,
    ids: jax.Array,
    truncation: jax.Array,
    *,
    resolution: int | None = None,
    crop: classifier.Crop = "face",
) -> tuple[jax.Array, jax.Array]:
    """Return codes and scores of sample ids; a pure function, meant for `jax.jit`.

    Args:
        generator: with its stored noise.
        emotion: the classifier.
        key: the run's key.
        ids: sample ids [B].
        truncation: ψ, a scalar.
        resolution: side of the generator's intermediate picture to score; None: full size.
        crop: see `emojax.scoring.classifier.preprocess`.

    Returns:
        Truncated codes [B, D] and scores [B, S], float32, see `classifier.Prediction.scores`.
    """
    w = draw_w(generator, key, ids, truncation)
    return w, scores_of(generator, emotion, w, resolution=resolution, crop=crop)


class Scorer:
    """`score` compiled for all local devices, with the weights placed on them once.

    Attributes:
        mesh: the devices.
        batch: samples per call, on all of them together.
    """

    def __init__(
        self,
        generator: Generator,
        emotion: EmotionNet,
        settings: ScoreSettings,
        *,
        batch: int | None = None,
    ) -> None:
        """Place the weights.

        Args:
            generator: the one that the settings name.
            emotion: the classifier that the settings name.
            settings: of the run.
            batch: samples per call, on all local devices together; at most a chunk, rounded down
                to a multiple of their number. Default: see `default_batch`.
        """
        resolution = settings.resolution or generator.config.size
        devices = len(jax.local_devices())
        wanted = batch or devices * default_batch(resolution)
        wanted = min(wanted, settings.chunk, settings.samples)  # a chunk ends with a call
        self.mesh = parallel.local_mesh(most=wanted)
        self.batch = wanted - wanted % self.mesh.size
        self._program = _program(settings.resolution, settings.crop, self.mesh)
        self._models = parallel.everywhere((generator, emotion), self.mesh)
        self._key = jax.random.key(settings.seed)
        self._truncation = jnp.float32(settings.truncation)

    def __call__(self, ids: Iterable[int]) -> tuple[jax.Array, jax.Array]:
        """Dispatch at most `batch` ids; return codes and scores [batch, ...].

        Returns before they are computed. Rows beyond the ids given repeat the last one.
        """
        given = np.fromiter(ids, np.uint32)
        padded = np.pad(given, (0, self.batch - len(given)), "edge")
        return self._program(*self._models, self._key, jnp.asarray(padded), self._truncation)

    def results(
        self, batches: Iterable[Sequence[int]]
    ) -> Iterator[tuple[Sequence[int], np.ndarray, np.ndarray]]:
        """Yield (ids, codes, scores) of each batch while the next is computed."""
        ahead: deque[tuple[Sequence[int], tuple[jax.Array, jax.Array]]] = deque()
        for ids in batches:
            arrays = self(ids)
            for array in arrays:
                array.copy_to_host_async()
            ahead.append((ids, arrays))
            if len(ahead) > 1:
                yield _fetched(*ahead.popleft())
        while ahead:
            yield _fetched(*ahead.popleft())


def run(
    scorer: Scorer,
    table: ScoreTable,
    chunks: Iterable[int],
    *,
    advance: Callable[[int], Any] = lambda _: None,
) -> None:
    """Score chunks of a table; each is written while the next is computed.

    Args:
        scorer: compiled for the table's settings.
        table: takes the rows.
        chunks: those to score, taken one after the other; see `emojax.scoring.sharing`.
        advance: told the number of rows when a chunk is in the table.

    Raises:
        UserError: a result is NaN, or a chunk cannot be written.
    """
    settings = table.settings
    batches = (ids for chunk in chunks for ids in split(settings.rows(chunk), scorer.batch))
    parts: list[list[np.ndarray]] = []

    def write(chunk: int, codes: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> None:
        table.write(chunk, np.concatenate(codes), np.concatenate(scores))
        advance(len(settings.rows(chunk)))

    with ThreadPoolExecutor(1) as writer:  # at its end waits for the last write
        writing: Future[None] | None = None
        for ids, *part in scorer.results(batches):
            _refuse_nan(ids, *part)
            parts.append(part)
            chunk = ids[0] // settings.chunk
            if ids[-1] == settings.rows(chunk)[-1]:
                if writing:
                    writing.result()  # raises what the write raised
                writing = writer.submit(write, chunk, *zip(*parts, strict=True))
                parts = []
        if writing:
            writing.result()


def split(ids: Sequence[int], size: int) -> list[Sequence[int]]:
    """Cut ids into batches of at most `size`."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def default_batch(resolution: int) -> int:
    """Return how many samples a device takes in one call.

    On a CPU core the pixels of 8 pictures of 256², at most 64 samples; elsewhere those of 64
    pictures of 1024² (5 GB in bfloat16), at most 1024 samples.
    """
    pixels, most = (2**19, 64) if jax.default_backend() == "cpu" else (2**26, 1024)
    return max(1, min(pixels // resolution**2, most))


class Deviation(NamedTuple):
    """Difference of the scores at a lower resolution from the full picture's.

    Attributes:
        samples: number of samples compared.
        mean: mean absolute difference of a probability.
        most: largest absolute difference.
        same_top: share of samples whose most probable class is the same.
        correlation: {score: Pearson correlation over the samples}.
    """

    samples: int
    mean: float
    most: float
    same_top: float
    correlation: dict[str, float]


def deviation(scores: np.ndarray, full: np.ndarray, settings: ScoreSettings) -> Deviation:
    """Compare scores [n, S] with the full picture's of the same samples.

    Args:
        scores: at the lower resolution.
        full: at the generator's own.
        settings: of the table; name the columns.
    """
    low, high = scores.astype(np.float64), full.astype(np.float64)
    centred = [a - a.mean(0) for a in (low, high)]
    norms = np.linalg.norm(centred[0], axis=0) * np.linalg.norm(centred[1], axis=0)
    correlation = (centred[0] * centred[1]).sum(0) / np.maximum(norms, np.finfo(np.float64).tiny)
    low, high = (a[:, : len(settings.classes)] for a in (low, high))
    difference = np.abs(low - high)
    return Deviation(
        len(full),
        float(difference.mean()),
        float(difference.max()),
        float((low.argmax(1) == high.argmax(1)).mean()),
        dict(zip((*settings.classes, *settings.regressed), correlation.tolist(), strict=True)),
    )


@functools.cache
def _program(
    resolution: int | None, crop: classifier.Crop, mesh: jax.sharding.Mesh
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Compile `score` for a mesh; once per process and batch size."""
    return parallel.over_samples(
        functools.partial(score, resolution=resolution, crop=crop),
        mesh,
        split=(False, False, False, True, False),
        compiler_options=xla_options.options(dense=True),
    )


def _fetched(
    ids: Sequence[int], results: tuple[jax.Array, jax.Array]
) -> tuple[Sequence[int], np.ndarray, np.ndarray]:
    codes, scores = (np.asarray(array)[: len(ids)] for array in results)
    return ids, codes, scores


def _refuse_nan(ids: Sequence[int], codes: np.ndarray, scores: np.ndarray) -> None:
    bad = ~(np.isfinite(codes).all(1) & np.isfinite(scores).all(1))
    if bad.any():
        raise UserError(
            f"sample {ids[int(bad.argmax())]} has no finite score: the weights are damaged, or "
            "--bfloat16-from is too low for them"
        )
