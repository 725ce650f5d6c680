"""Recorded outputs of the original PyTorch code, and how to hold a port against them.

`tests/data` holds them thinned (see thin_oracles.py); EMOJAX_ORACLES=DIR points the same tests at
the whole recordings.
"""

import functools
import os
from pathlib import Path

import numpy as np

from tests.data import recipe

DATA = Path(__file__).parent.parent / "data"


def case_folder(name: str) -> Path:
    """Return the folder of a case: manifest.json and golden.npz."""
    return Path(os.environ.get("EMOJAX_ORACLES", DATA)) / name


@functools.cache
def manifest(name: str) -> dict:
    """Return a case's manifest."""
    return recipe.load_manifest(case_folder(name) / "manifest.json")


@functools.cache
def golden(name: str) -> dict[str, np.ndarray]:
    """Return a case's recorded arrays."""
    with np.load(case_folder(name) / "golden.npz") as file:
        return {key: file[key] for key in file.files}


def state_dict(name: str) -> dict[str, np.ndarray]:
    """Draw a case's weights under their published names."""
    return recipe.state_dict(manifest(name))


def inputs(name: str) -> dict[str, np.ndarray]:
    """Draw the large inputs of a case."""
    case = manifest(name)
    return {entry["key"]: recipe.draw(entry, case["seed"]) for entry in case.get("inputs", [])}


def rel_err(port: np.ndarray, truth: np.ndarray) -> float:
    """Return the relative L2 error over the whole array, in float64."""
    port, truth = np.asarray(port, np.float64), np.asarray(truth, np.float64)
    assert port.shape == truth.shape, (port.shape, truth.shape)
    return float(np.linalg.norm(port - truth) / np.linalg.norm(truth))
