"""Bundles: metadata, and weights as Orbax stores them."""

import tempfile
from pathlib import Path

import numpy as np

from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.store import bundle, weights
from emojax.store.parts import GENERATOR
from tests.fuzz.family import Family, Files
from tests.fuzz.worker import touch
from tests.support import small_world

CONFIG = GeneratorConfig(channels=(4, 4), style_dim=4, z_dim=4, n_mlp=1)


def seeds() -> list[Files]:
    """A generator in a few kilobytes, in float32 and float16."""
    found = []
    table = small_world.table(Generator, CONFIG, 0)
    for dtype in (np.float32, np.float16):
        arrays = {name: array.astype(dtype) for name, array in table.items()}
        with tempfile.TemporaryDirectory() as folder:
            bundle.save(Path(folder), GENERATOR, CONFIG, arrays, {})
            files = [file for file in sorted(Path(folder).rglob("*")) if file.is_file()]
            found.append({each.relative_to(folder).as_posix(): each.read_bytes() for each in files})
    return found


def read(folder: Path) -> object:
    """Load the generator and look at its weights."""
    model = bundle.find(folder).load(GENERATOR)
    return touch([np.asarray(array) for array in weights.flatten(model).values()])


BUNDLES = Family("bundles", seeds, read)
