"""Picture files, and files of landmarks, as photographs and folders of pictures are read."""

import io
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image, features

from emojax.faces import align, images, landmarks
from tests.fuzz.family import Family, Files
from tests.fuzz.mutations import mutate_one_of, plain
from tests.fuzz.mutations import pictures as damage

SIDE = 24


def seeds() -> list[Files]:
    """Return small pictures of every format and mode that is read."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    rgba = np.dstack([rgb, rgb[..., 0]])
    deep = rng.integers(0, 65_536, (SIDE, SIDE), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain_picture, other = Image.fromarray(rgb), Image.fromarray(255 - rgb)
    moving = {"save_all": True, "append_images": [other]}
    turned = {"exif": exif}
    made = [
        (plain_picture, "PNG", turned),
        (plain_picture, "PNG", moving),
        (Image.fromarray(rgba), "PNG", {}),
        (Image.fromarray(deep), "PNG", {}),
        (plain_picture.quantize(16), "PNG", {"transparency": 3}),
        (plain_picture, "JPEG", turned),
        (plain_picture, "JPEG", {"progressive": True}),
        (plain_picture.convert("CMYK"), "JPEG", {}),
        (plain_picture, "WEBP", moving),
        (Image.fromarray(rgba), "WEBP", {"lossless": True}),
        (plain_picture, "TIFF", {"compression": "tiff_lzw"}),
        (plain_picture, "TIFF", moving),
        (Image.fromarray(deep.astype(np.int32)), "TIFF", {}),
        (Image.fromarray(deep.astype(np.float32)), "TIFF", {}),
        (plain_picture, "GIF", moving),
        (plain_picture, "BMP", {}),
        (plain_picture, "PPM", {}),
    ]
    if features.check("avif"):
        made.append((plain_picture, "AVIF", turned))
    return [{"picture": _saved(*each)} for each in made]


def _saved(picture: Image.Image, kind: str, options: dict) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def mutate(files: Files, rng: random.Random) -> Files:
    """Damage a picture by its structure, now and then by its bytes, and once or several times."""
    data = files["picture"]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = plain.mutate(data, rng) if rng.random() < 0.2 else damage.mutate(data, rng)
    return {"picture": data}


def read(folder: Path) -> object:
    """Read the picture both ways, and cut a face out of it."""
    picture = images.read(folder / "picture")
    assert picture.dtype == np.uint8
    assert picture.shape[2:] == (3,)
    return picture.max(), images.read(folder / "picture", upright=False).max()


def landmark_seeds() -> list[Files]:
    """Return a file of landmarks of five points and of 68."""
    rng = np.random.default_rng(0)
    five = [[8, 9], [16, 9], [12, 13], [9, 17], [15, 17]]
    table = {"picture": [five, rng.uniform(2, 22, (68, 2)).tolist()]}
    return [{"points.json": json.dumps(table).encode()}]


def read_landmarks(folder: Path) -> object:
    """Read the landmarks, and cut out every face that lies in the picture."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    found = landmarks.read_landmarks(folder / "points.json")
    inside = [each for faces in found.values() for each in faces if align.is_within(picture, each)]
    return [align.crop(picture, align.quad_of(each), 64).max() for each in inside]


PICTURES = Family("pictures", seeds, read, mutate, weight=2)
LANDMARKS = Family("landmarks", landmark_seeds, read_landmarks, mutate_one_of)
