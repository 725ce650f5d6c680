"""Converters on loaded files: everything up to the arrays of the network's table."""

import copy
import io
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np

from convert import (
    arcface,
    dcgan,
    directions,
    dualstylegan,
    emotion,
    hfgi,
    lpips,
    pggan,
    psp,
    stylegan,
    stylegan1,
    systems,
)
from convert.reader import checkpoint_file, schema
from emojax.models.stylegan2 import GeneratorConfig
from emojax.runtime.errors import UserError
from tests.data import recipe
from tests.fuzz.family import Family, Files
from tests.fuzz.mutations import mutate, plain
from tests.support import older_generators, published_set, style_set
from tests.support.oracles import DATA
from tests.support.score_world import GENERATOR as TINY

TENSORS = recipe.state_dict(recipe.load_manifest(DATA / "files/ros_tiny.manifest.json"))
MEAN = np.zeros(32, np.float32)
HFGI = {
    entry["key"]: np.ones(entry["shape"], np.float32)
    for entry in recipe.load_manifest(DATA / "hfgi_ffhq/manifest.json")["entries"]
    if entry["key"].startswith(hfgi.PREFIXES) and "condition" not in entry["key"]
}
"""HFGI's small tensors under their published names; the large ones are missing."""


def seeds() -> list[Files]:
    """A generator, a pSp file with a decoder, a classifier and others, as pickles."""
    opts = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": False, "input_nc": 3}
    state = {f"decoder.{name}": array for name, array in TENSORS.items()}
    classifier = checkpoint_file.state_dict(
        checkpoint_file.load(DATA / "files" / "hsemotion_tiny.pt")
    )
    contents = [
        {"g_ema": TENSORS, "latent_avg": MEAN},
        {"g_ema": style_set.generator()},
        {"state_dict": state, "opts": opts, "latent_avg": MEAN},
        {"state_dict": HFGI | state, "opts": opts | {"encoder_type": "Encoder4Editing"}},
        {name: np.array(array) for name, array in classifier.items()},
        {"lat_comp": np.ones((2, 1, 16), np.float32)},
        published_set.lpips_weights(192),
        {f"{key}.weight": np.ones(2, np.float32) for key in ("input_layer.0", "output_layer.3")},
        {f"features.{i}.weight": np.ones((8, 3, 3, 3), np.float32) for i in (0, 3, 6, 8, 10)},
    ]
    for case in older_generators.CASES:
        state = older_generators.small_state(case, resolutions=3)
        contents.append(older_generators.saved(case, state))
    files = [{"file": pickle.dumps(each)} for each in contents]
    stream = io.BytesIO()
    np.save(stream, np.ones(16, np.float32))
    nvlabs = {"nvlabs.pkl": (DATA / "nvlabs_tiny" / "nvlabs_tiny.pkl").read_bytes()}
    return [*files, {"age.npy": stream.getvalue()}, nvlabs]


def damaged(files: Files, rng: random.Random) -> Files:
    """Change values of the loaded object where it is a plain pickle, else the file."""
    ((name, data),) = files.items()
    if name != "file" or rng.random() < 0.2:
        return {name: mutate(data, rng)}
    contents = copy.copy(pickle.loads(data))  # of our own making, see `seeds`
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change(contents, rng)
    return {name: pickle.dumps(contents)}


def _change(table: dict, rng: random.Random) -> None:
    key = rng.choice(list(table))
    value = table[key]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        table[key] = value = dict(value)
        _change(value, rng)
        return
    match rng.randrange(5):
        case 0 if len(table) > 1:
            del table[key]
        case 1:
            table[rng.choice((1, None, ("a", 2), *plain.TEXTS))] = value
        case _:
            table[key] = _other(value, rng)


def _other(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, np.ndarray) or rng.random() < 0.4:
        number = rng.choice(plain.NUMBERS)
        items: list[Any] = ["x"]
        for _ in range(50):
            items = [items, items]
        strange = (None, True, number, [number], items, {"a": number}, 0.5, float("nan"))
        return rng.choice((*strange, rng.choice(plain.TEXTS), b"\0", np.array(number % 256)))
    match rng.randrange(5):
        case 0:
            kinds = ("f8", "f2", "i4", "c8", "U3", "S2", "?", "u1")
            kind = rng.choice(kinds)
            # text of an earlier change is no number
            return value.astype(kind) if value.dtype.kind not in "US" else value.astype("U3")
        case 1:
            changed = np.array(value, np.float32)
            changed.reshape(-1)[:1] = rng.choice((np.nan, np.inf, -np.inf, 3e38))
            return changed
        case 2:
            return value.reshape(rng.choice(((-1,), (1, *value.shape), (*value.shape, 1))))
        case 3:
            return value[:0] if value.ndim else value
        case _:
            return value[..., : rng.choice((1, 3))] if value.ndim else np.ones((2, 2))


def read(folder: Path) -> None:
    """Convert as the command of the system would, without a bundle."""
    (file,) = folder.iterdir()
    if file.suffix == ".npy":
        directions.stacked(directions.read(file), TINY)
        return
    saved = checkpoint_file.load(file)
    system = systems.system_of(saved)
    if system is systems.EMOTION:
        table = schema.table(checkpoint_file.state_dict(saved), str(file))
        _use(emotion.convert(table)[1])
    elif system is systems.DIRECTIONS:
        directions.stacked(directions.read(file), TINY)
    elif system is systems.IDENTITY:
        _use(arcface.convert(schema.table(checkpoint_file.state_dict(saved), str(file)))[1])
    elif system is not None and system.converter == "lpips":
        table = schema.table(checkpoint_file.state_dict(saved), str(file))
        _use(lpips.convert(lpips.PARTS[system.parts[0]], table)[1])
    elif system is systems.STYLEGAN1:
        older = stylegan1.find(saved, file)
        if older.latent_avg is None:
            raise UserError("it would be averaged, which takes a second")
        _use(stylegan1.convert(older)[1])
    elif system is systems.PGGAN:
        _use(pggan.convert(pggan.find(saved, file))[1])
    elif system is systems.DUALSTYLEGAN:
        _use(dualstylegan.convert(schema.table(saved.get("g_ema", saved), str(file)))[1])
    elif system is systems.STYLE_SAMPLER:
        _use(dualstylegan.convert_sampler(saved)[1])
    elif system is systems.DCGAN:
        _use(dcgan.convert(schema.table(saved, str(file)))[1])
    elif system in (systems.PSP, systems.PSP_W, systems.E4E):
        checked = psp.checked(saved, file)
        if checked.decoder is None:
            raise UserError("no decoder")
        n_styles = stylegan.config_of(checked.decoder).n_latent
        architecture = psp.ARCHITECTURES[checked.encoder_type]
        psp.convert(checked.tensors, architecture, n_styles, checked.latent_avg)
    elif system is systems.HFGI:
        hfgi.convert(psp.checked(saved, file).tensors, GeneratorConfig.published(1024))
    else:
        found = stylegan.find(saved, file)
        if found.latent_avg is None and found.layout == "rosinality":
            raise UserError("it would be averaged, which takes a second")
        _use(stylegan.convert(found)[1])


def _use(table: Any) -> None:
    for array in table.values():
        np.asarray(array)


CONVERTERS = Family("converters", seeds, read, damaged, at_least=0.05)
