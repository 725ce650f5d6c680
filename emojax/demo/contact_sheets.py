"""Contact sheets of the demo world, for people to look at."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from tqdm import tqdm

from emojax.demo.drawing.expressions import EMOTIONS
from emojax.demo.drawing.factors import Params, params, sample, with_emotion
from emojax.demo.drawing.render import render_batch
from emojax.demo.photos import photo_params, photograph
from emojax.runtime.files import replacing

_GAP = 2  # white pixels between the pictures
_BATCH = 8  # pictures drawn at once


def write_sheets(out: Path, resolution: int, seed: int) -> list[Path]:
    """Write emotions × identities, identities, one face large and the photo world as PNG files.

    Args:
        out: folder, made where missing.
        resolution: side of a picture; the large face has twice that.
        seed: whose faces.

    Returns:
        The files written.
    """
    out.mkdir(parents=True, exist_ok=True)
    keys = jax.random.split(jax.random.key(seed), 60)
    people = jax.jit(jax.vmap(lambda key: params(sample(key))))(keys)
    first = jax.tree.map(lambda a: a[:6], people)
    one = jax.tree.map(lambda a: a[:1], people)
    strangers = jax.jit(jax.vmap(photo_params))(keys)
    sheets = {
        "emotions": (_every_emotion(first), resolution, 8, False),
        "identities": (people, resolution, 12, False),
        "zoom": (_every_emotion(one), 2 * resolution, 4, False),
        "photos": (strangers, resolution, 12, True),
    }
    files = []
    for name, (faces, side, columns, camera) in tqdm(sheets.items(), desc="sheets"):
        file = out / f"{name}.png"
        sheet = _tile(_draw(faces, side, camera), columns)
        with replacing(file) as aside:
            Image.fromarray(sheet).save(aside, "PNG")
        files.append(file)
    return files


def write_pairs(file: Path, rows: list[jax.Array]) -> None:
    """Write pictures [N, R, R, 3] in [-1, 1] as rows of one sheet, first row on top."""
    count = len(rows[0])
    pictures = np.concatenate([np.asarray(row).clip(-1, 1) for row in rows])
    sheet = _tile(np.round(127.5 * (pictures + 1)).astype(np.uint8), count)
    with replacing(file) as aside:
        Image.fromarray(sheet).save(aside, "PNG")


def _every_emotion(people: Params) -> Params:
    """Each of N people with each emotion at full intensity, as 8 N faces."""
    rows = [jax.vmap(lambda face, name=name: with_emotion(face, name))(people) for name in EMOTIONS]
    return jax.tree.map(lambda *a: jnp.stack(a, 1).reshape(-1, *a[0].shape[1:]), *rows)


def _draw(faces: Params, resolution: int, camera: bool) -> np.ndarray:
    """Pictures uint8 [N, R, R, 3] of N faces, photographed where `camera` says so."""
    count = len(faces.intensity)
    keys = jax.random.split(jax.random.key(count), count)
    take = jax.jit(jax.vmap(photograph))
    pictures = []
    for start in range(0, count, _BATCH):
        chosen = np.arange(start, start + _BATCH) % count
        batch = render_batch(jax.tree.map(lambda a, i=chosen: a[i], faces), resolution=resolution)
        pictures.append(np.asarray(take(keys[chosen], batch) if camera else batch))
    return np.round(127.5 * (np.concatenate(pictures)[:count] + 1)).astype(np.uint8)


def _tile(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Lay pictures uint8 [N, R, R, 3] out in rows on white."""
    count, side = pictures.shape[:2]
    step, rows = side + _GAP, -(-count // columns)
    sheet = np.full((rows * step + _GAP, columns * step + _GAP, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = _GAP + step * (i // columns), _GAP + step * (i % columns)
        sheet[top : top + side, left : left + side] = picture
    return sheet
