"""Films of a drawn face whose pose and light move, with the truth beside them.

The truth is what no video of a person has: where the face is in every frame, and how the same film
would look with another expression.
"""

import dataclasses
import tempfile
import wave as wave_file
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.drawing.factors import Params, express, params, sample
from emojax.demo.drawing.render import render_batch
from emojax.demo.photos import to_pixels
from emojax.film import writing
from emojax.film.reading import Video

_BATCH = 8
"""Frames drawn at once; fixed, since each number of frames is another compiled program."""
SAMPLES = 44_100
"""Sound samples a second."""
ALIGNED_ZOOM = 1.14
"""Zoom at which a drawn face fills the picture as an aligned face does."""
MIDDLE = -0.02
"""Height of an aligned face's middle above that of the drawn head's coordinates."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a film shows.

    Attributes:
        person: number of the person.
        emotion: the expression at its height.
        rises: whether the expression rises from neutral and falls again, every two seconds; else it
            stays as it is.
        intensity: of the expression, 0 to 1.
        width: of the frames, in pixels.
        height: of the frames, at most the width.
        rate: frames a second.
        zoom: size of the head; 1.14 fills the picture as an aligned face does.
        noise: standard deviation of the camera's noise, in grey levels.
    """

    person: int = 3
    emotion: str = "neutral"
    rises: bool = False
    intensity: float = 1.0
    width: int = 320
    height: int = 240
    rate: int = 25
    zoom: float = 0.62
    noise: float = 2.0


def faces(scene: Scene, frames: np.ndarray) -> Params:
    """Return the faces of some frames, a `Params` of arrays [N, ...].

    Pose and light follow slow waves of different periods, so that no two seconds are alike.

    Args:
        scene: what is shown.
        frames: their numbers [N].
    """
    t = jnp.asarray(frames, jnp.float32) / scene.rate
    who = params(sample(jax.random.key(scene.person))).identity

    def wave(period: float, phase: float = 0.0) -> jax.Array:
        return jnp.sin(2 * jnp.pi * (t / period + phase))

    moving = {
        "yaw": 0.07 * wave(3.1),
        "pitch": 0.04 * wave(2.3, 0.2),
        "roll": 0.08 * wave(4.7, 0.4),
        "zoom": scene.zoom * (1 + 0.06 * wave(5.3, 0.1)),
        "light_x": 0.8 * wave(3.7, 0.3),
        "light_y": 0.5 + 0.3 * wave(4.1),
        "light_warmth": 0.05 * wave(6.1),
        "gaze_x": 0.02 * wave(2.9, 0.5),
    }
    still = {name: jnp.broadcast_to(value, t.shape) for name, value in who._asdict().items()}
    height = 0.5 - 0.5 * jnp.cos(jnp.pi * t) if scene.rises else jnp.ones_like(t)
    shown = jax.nn.one_hot(EMOTIONS.index(scene.emotion), len(EMOTIONS))
    return jax.vmap(express, (0, None, 0))(
        type(who)(**{**still, **moving}), shown, scene.intensity * height
    )


def pictures(scene: Scene, count: int, start: int = 0) -> Iterator[np.ndarray]:
    """Yield the frames of a film, uint8 [H,W,3]."""
    rng = np.random.default_rng(scene.person)
    top = (scene.width - scene.height) // 2
    for first in range(start, start + count, _BATCH):
        drawn = render_batch(faces(scene, np.arange(first, first + _BATCH)), resolution=scene.width)
        for row, picture in enumerate(to_pixels(drawn)[:, top : top + scene.height]):
            if first + row < start + count:
                noise = scene.noise * rng.standard_normal(picture.shape)
                yield np.rint(picture + noise).clip(0, 255).astype(np.uint8)


def quads(scene: Scene, frames: np.ndarray) -> np.ndarray:
    """Return where the aligned face truly is in some frames: corners [N,4,2] in pixels."""
    corners = np.array([[-1, 1], [-1, -1], [1, -1], [1, 1]]) / ALIGNED_ZOOM  # x, y upwards
    return _pixels(scene, frames, corners[:, 0], corners[:, 1] + MIDDLE)


def surface(scene: Scene, frames: np.ndarray, side: int) -> np.ndarray:
    """Return where fixed points of the face truly are in some frames: its motion, turns included.

    Args:
        scene: what is shown.
        frames: their numbers [N].
        side: number of points across, and down.

    Returns:
        [N,side,side,2], x and y in pixels; pixel i spans [i, i + 1].
    """
    who = faces(scene, frames).identity
    yaw, pitch = (np.asarray(each)[:, None, None] for each in (who.yaw, who.pitch))
    u, v = np.meshgrid(np.linspace(-0.42, 0.42, side), np.linspace(0.4, -0.7, side))
    x, y = u + 0 * yaw, v + 0 * pitch
    for _ in range(30):  # the inverse of `undo_pose`, by repetition
        depth = 1 / (1 + 2.2 * (x * x + y * y) ** 2)
        x, y = u + yaw * depth, v + pitch * depth
    flat = (len(frames), side * side)
    return _pixels(scene, frames, x.reshape(flat), y.reshape(flat)).reshape(-1, side, side, 2)


def _pixels(scene: Scene, frames: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the pixels [N,P,2] of points in the plane of the head, [P] or [N,P], y upwards."""
    who = faces(scene, frames).identity
    roll, zoom, yaw = (np.asarray(each)[:, None] for each in (who.roll, who.zoom, who.yaw))
    across = zoom * (np.cos(roll) * x - np.sin(roll) * y) + 0.6 * yaw
    up = zoom * (np.sin(roll) * x + np.cos(roll) * y) - 0.02
    half = scene.width / 2
    top = (scene.width - scene.height) // 2
    return np.stack([half * (1 + across), half * (1 - up) - top], -1)


def write(
    scene: Scene, count: int, out: str | Path, *, advance: Callable[[], object] = lambda: None
) -> None:
    """Write a film, with a soft tone as its sound.

    Args:
        scene: what is shown.
        count: number of frames.
        out: see `writing.check_name`; a GIF or WebP has no sound.
        advance: called after each frame.

    Raises:
        UserError: it cannot be written.
    """
    out = Path(out)
    writing.check_name(out, "out")
    with tempfile.TemporaryDirectory() as folder:
        tone, chunk = Path(folder) / "tone.wav", Path(folder) / f"all{writing.CHUNK_SUFFIX}"
        _write_tone(tone, count / scene.rate)
        base, rate = Fraction(1, 512 * scene.rate), Fraction(scene.rate)
        film = Video(tone, scene.width, scene.height, base, rate, count, 0.0, sounds=1, colour={})
        again = writing.is_encoded_again(out)
        with writing.chunk_writer(chunk, film, lossless=again) as put:
            for index, picture in enumerate(pictures(scene, count)):
                put(512 * index, picture)
                advance()
        writing.join([chunk], film, out)


def _write_tone(file: Path, seconds: float) -> None:
    """Write a soft chord of one channel as WAV."""
    t = np.arange(round(seconds * SAMPLES)) / SAMPLES
    tones = sum(np.sin(2 * np.pi * pitch * t) for pitch in (220.0, 277.2, 329.6))
    with wave_file.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLES)
        out.writeframes(np.rint(900 * tones).astype("<i2").tobytes())
