"""Files that a visitor takes away: pictures, codes, and the JSON that reproduces them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emojax import Faces, Pipeline
from emojax.film import loops
from emojax.page import pictures
from emojax.page.pair import Pair
from emojax.page.recipes import Edit, Transfer, report
from emojax.page.subject import Subject, at_full_size
from emojax.runtime.errors import UserError
from emojax.runtime.files import write_json


def of_edit(pipe: Pipeline, subject: Subject, recipe: Edit, result: Faces) -> list[str]:
    """Write an edit: the face, the photograph with it, the codes and the JSON.

    Returns:
        The files, in a new folder under the page's own.
    """
    said = {"before": named(pipe, subject.said), "edited": result.scores}
    folder = _folder()
    files = [_picture(folder / "face.png", result.pictures[0])]
    if subject.file is not None:
        whole = at_full_size(pipe, subject, result)
        files.append(_picture(folder / "photograph.png", whole))
    files += _numbers(folder, "edit", recipe, pipe, result, said)
    return files


def of_transfer(pair: Pair, alpha: float, result: Faces) -> list[str]:
    """Write a transfer: the face, the source photograph with it, the codes and the JSON."""
    pipe, folder = pair.pipe, _folder()
    said = {
        name: named(pipe, each.said)
        for name, each in (("source", pair.source), ("target", pair.target))
    }
    said["result"] = result.scores
    files = [_picture(folder / "face.png", result.pictures[0])]
    if pair.source.file is not None:
        files.append(_picture(folder / "photograph.png", at_full_size(pipe, pair.source, result)))
    files += _numbers(folder, "transfer", pair.recipe(alpha), pipe, result, said)
    return files


def of_path(path: Faces) -> list[str]:
    """Write the way from one expression to the other: a strip and a film, MP4 where it can be."""
    folder = _folder()
    strip = pictures.strip([*path.pictures[:: max(len(path) // 6, 1)]])
    files = [_picture(folder / "path.png", strip)]
    there = list(path.pictures)
    frames = there + there[-2:0:-1]
    for suffix in (".webp", ".mp4"):
        try:
            loops.write(folder / f"path{suffix}", frames, fps=12)
        except UserError:  # MP4 needs an extra
            continue
        files.append(str(folder / f"path{suffix}"))
    return files


def of_picture(picture: np.ndarray) -> str:
    """Write one picture."""
    return _picture(_folder() / "face.png", picture)


def named(pipe: Pipeline, scores: np.ndarray) -> dict[str, float]:
    """Return the classifier's scores [S] by name, as they go into a JSON file."""
    numbers = (round(float(each), 6) for each in scores)
    return dict(zip(pipe.score_names, numbers, strict=True))


def _numbers(
    folder: Path,
    name: str,
    recipe: Edit | Transfer,
    pipe: Pipeline,
    result: Faces,
    said: Mapping[str, Any],
) -> list[str]:
    result.codes.save(folder / "codes.npz")
    write_json(folder / f"{name}.json", report(recipe, pipe, said))
    return [str(folder / "codes.npz"), str(folder / f"{name}.json")]


def _picture(file: Path, picture: np.ndarray) -> str:
    Image.fromarray(picture).save(file)
    return str(file)


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="result-"))
