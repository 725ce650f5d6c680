"""The result of a training run as a part of a bundle, and the other parts that make it usable."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from emojax.runtime.files import make_folder, replacing, replacing_folder
from emojax.store import bundle_copy, weights
from emojax.store.bundle import SAMPLES, Bundle, look_up, save
from emojax.store.parts import GENERATOR, PARTS, Part

FILES = ("directions.npz", "reconstruction.json", "world.json")
"""Files of a bundle that its parts are used with; what they say of a part bears its hash."""


def write(
    folder: Path,
    base: Bundle,
    part: Part[Any, Any],
    config: Any,
    network: nnx.Module,
    source: Mapping[str, Any],
) -> str:
    """Write a trained network into a bundle, and the parts of another that this bundle lacks.

    The network comes last: a bundle that has it is whole.

    Args:
        folder: of the bundle, see `emojax.store.bundle.destination`.
        base: the bundle whose networks it was trained with.
        part: which part the network is.
        config: of the network, as it is stored.
        network: the result.
        source: where it came from, JSON-able.

    Returns:
        The SHA-256 of the part's weights.

    Raises:
        UserError: the folder cannot be written, or the network holds NaN.
    """
    make_folder(folder)
    _complete(folder, base, part)
    arrays: dict[str, Any] = {
        name: np.asarray(value, np.float32) for name, value in weights.flatten(network).items()
    }
    return save(folder, part, config, arrays, source)["weights_sha256"]


def copy_part(base: Bundle, part: Part[Any, Any], folder: Path) -> None:
    """Copy a part of a bundle as it is, with its provenance, into another bundle's folder.

    Raises:
        UserError: the object store that the bundle lies in refuses, or the folder can't be written.
    """
    source, target = base.folder(part), folder / part.name
    if target.exists() and target.samefile(source):
        return
    if base.address:
        bundle_copy.fetch_weights(base.address, part.name, source.parent)
    with replacing_folder(target) as aside:
        shutil.copytree(source, aside, copy_function=_link, dirs_exist_ok=True)


def _complete(folder: Path, base: Bundle, trained: Part[Any, Any]) -> None:
    """Give a bundle what it lacks of another, but for one part, unless its generator is another."""
    there = look_up(folder.absolute())
    if there.has(GENERATOR) and there.sha256(GENERATOR) != base.sha256(GENERATOR):
        return
    for name, part in PARTS.items():
        if name == trained.name or there.has(part) or not base.has(part):
            continue
        copy_part(base, part, folder)
    samples = (f"{SAMPLES}/{name}.png" for name in ("source", "target"))
    for name in (*FILES, *samples):
        if (file := base.file(name)) and not (folder / name).exists():
            make_folder((folder / name).parent)
            with replacing(folder / name) as aside:
                shutil.copyfile(file, aside)


def _link(source: str, target: str) -> str:
    """Link a file that never changes, or copy it where the disk knows no links; for `copytree`."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target
