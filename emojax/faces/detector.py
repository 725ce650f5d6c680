"""MTCNN with the weights that the installed `mtcnn` wheel carries.

The weight files are read; the package's own code, which needs TensorFlow, is never imported.
"""

import functools
import importlib.util
import pickle
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np

from emojax.models import mtcnn
from emojax.runtime.errors import UserError
from emojax.store import weights

FILES = {
    "pnet.lz4": mtcnn.PROPOSAL,
    "rnet.lz4": mtcnn.REFINEMENT,
    "onet.lz4": mtcnn.OUTPUT,
}
"""Weight files of mtcnn 1.0.0, in the order of the cascade."""

_DAMAGE = (OSError, ValueError, EOFError, RuntimeError, pickle.UnpicklingError)
"""What joblib and lz4 raise for a file that is missing, truncated or something else."""


def detect(picture: np.ndarray, *, smallest: int = 20) -> list[mtcnn.Face]:
    """Find the faces of a photograph with the installed weights.

    Args:
        picture: uint8 [H,W,3].
        smallest: side of the smallest face to find, in pixels.

    Returns:
        The faces, most probable first.

    Raises:
        UserError: the weights are not installed or cannot be read.
    """
    return mtcnn.detect(load(), picture, smallest=smallest)


def follow(picture: np.ndarray, boxes: np.ndarray, *, threshold: float = 0.8) -> list[mtcnn.Face]:
    """Find faces of the frame before again, with the installed weights; see `mtcnn.follow`.

    Raises:
        UserError: see `detect`.
    """
    return mtcnn.follow(load(), picture, boxes, threshold=threshold)


@functools.cache
def load() -> mtcnn.Cascade:
    """Return the cascade with the installed weights.

    Raises:
        UserError: the mtcnn package, or lz4 which its files are compressed with, is not installed;
            a file is damaged or of another version.
    """
    folder = _weights_folder()
    return mtcnn.Cascade(*(_read(folder / file, config) for file, config in FILES.items()))


def _weights_folder() -> Path:
    spec = importlib.util.find_spec("mtcnn")  # finds the folder without running the package
    folders = spec.submodule_search_locations if spec else None
    missing = [] if folders else ["mtcnn"]
    if importlib.util.find_spec("lz4") is None:
        missing.append("lz4")
    if missing or not folders:
        raise UserError(
            f"finding faces needs the detector's weights (missing: {', '.join(missing)}): run "
            "'pip install mtcnn lz4', or give --landmarks, or aligned pictures with --align never"
        )
    return Path(folders[0]) / "assets" / "weights"


def _read(file: Path, config: mtcnn.NetConfig) -> mtcnn.Net:
    names = list(_published_order(config))
    try:
        arrays = joblib.load(file)
    except _DAMAGE as error:
        raise UserError(f"{file} cannot be read ({error}): install mtcnn 1.0.0 again") from error
    if len(arrays) != len(names):
        raise UserError(
            f"{file} holds {len(arrays)} arrays, wanted {len(names)}: install mtcnn 1.0.0"
        )
    model = weights.abstract(mtcnn.Net, config)
    expected = weights.flatten(model)
    table = {
        name: array.reshape(expected[name].shape) if array.ndim > 1 else array
        for name, array in zip(names, arrays, strict=True)
    }
    return weights.load(model, table, what=str(file))


def _published_order(config: mtcnn.NetConfig) -> Iterator[str]:
    """Yield our names of a file's arrays, which it holds without names, layer by layer."""
    for index in range(len(config.convs)):
        yield from (f"convs.{index}.kernel", f"convs.{index}.bias", f"prelus.{index}.weight")
    if config.hidden:
        yield from ("hidden.kernel", "hidden.bias", "prelu.weight")
    for index in range(len(config.heads)):
        yield from (f"heads.{index}.kernel", f"heads.{index}.bias")
