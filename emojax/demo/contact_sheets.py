"""Contact sheets of drawn faces."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.drawing.factors import Params, params, sample, with_emotion
from emojax.demo.drawing.render import render_batch
from emojax.demo.photos import photo_params, photograph, to_pixels
from emojax.faces import images
from emojax.runtime.batching import in_batches
from emojax.runtime.files import make_folder
from emojax.runtime.progress import progress

_GAP = 2
"""White pixels between the pictures."""
_BATCH = 8
"""Pictures drawn at once."""


def write_sheets(out: Path, resolution: int, seed: int) -> list[Path]:
    """Write emotions.png, identities.png, zoom.png and photos.png.

    Args:
        out: folder, made where missing.
        resolution: side of a picture; twice that in zoom.png.
        seed: of the people.

    Returns:
        The files written.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    make_folder(out)
    keys = jax.random.split(jax.random.key(seed), 60)
    people = jax.jit(jax.vmap(lambda key: params(sample(key))))(keys)
    first = jax.tree.map(lambda a: a[:6], people)
    one = jax.tree.map(lambda a: a[:1], people)
    photographed = jax.jit(jax.vmap(photo_params))(keys)
    sheets = {
        "emotions": (_every_emotion(first), resolution, 8, False),
        "identities": (people, resolution, 12, False),
        "zoom": (_every_emotion(one), 2 * resolution, 4, False),
        "photos": (photographed, resolution, 12, True),
    }
    files = []
    with progress("drawing", len(sheets), "sheets") as shown:
        for name, (faces, side, columns, camera) in sheets.items():
            images.write(out / f"{name}.png", _tile(_draw(faces, side, camera), columns))
            files.append(out / f"{name}.png")
            shown.advance()
    return files


def write_pairs(file: Path, rows: list[jax.Array]) -> None:
    """Write pictures [N, R, R, 3] in [-1, 1] as rows of one sheet, first row on top."""
    count = len(rows[0])
    pictures = np.concatenate([np.asarray(row).clip(-1, 1) for row in rows])
    images.write(file, _tile(to_pixels(pictures), count))


def _every_emotion(people: Params) -> Params:
    """Return N people with each emotion at full intensity, 8 N faces."""
    rows = [jax.vmap(lambda face, name=name: with_emotion(face, name))(people) for name in EMOTIONS]
    return jax.tree.map(lambda *a: jnp.stack(a, 1).reshape(-1, *a[0].shape[1:]), *rows)


def _draw(faces: Params, resolution: int, camera: bool) -> np.ndarray:
    """Return pictures uint8 [N, R, R, 3] of N faces, photographed if `camera` is set."""
    count = len(faces.intensity)
    keys = jax.random.split(jax.random.key(count), count)
    take = jax.jit(jax.vmap(photograph))

    def draw(rows: tuple[Params, jax.Array]) -> jax.Array:
        pictures = render_batch(rows[0], resolution=resolution)
        return take(rows[1], pictures) if camera else pictures

    return to_pixels(in_batches(draw, (faces, keys), _BATCH))


def _tile(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Arrange pictures uint8 [N, R, R, 3] in rows on white."""
    count, side = pictures.shape[:2]
    step, rows = side + _GAP, -(-count // columns)
    sheet = np.full((rows * step + _GAP, columns * step + _GAP, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = _GAP + step * (i // columns), _GAP + step * (i % columns)
        sheet[top : top + side, left : left + side] = picture
    return sheet
