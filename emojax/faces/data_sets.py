"""Pictures of prepared TensorFlow Datasets (TFDS), read without TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emojax.faces import images
from emojax.runtime.errors import UserError

TFDS = "tfds:"
"""How a data set is named where a folder may be given: tfds:NAME:SPLIT."""


class DataSet(NamedTuple):
    """The pictures of one split of a data set.

    Attributes:
        fingerprint: names data set, version, split and number of pictures.
        size: number of pictures N.
        read: maps a number, 0 ... N-1, to uint8 [H,W,3].
        classes: names of its labels; empty: it has none.
        label: maps a number to that of its class.
    """

    fingerprint: str
    size: int
    read: Callable[[int], np.ndarray]
    classes: tuple[str, ...] = ()
    label: Callable[[int], int] = lambda _: 0


def split_name(place: str) -> tuple[str, str]:
    """Return name and split of tfds:NAME:SPLIT; NAME may contain colons.

    Raises:
        UserError: the text has another form.
    """
    name, _, split = place.removeprefix(TFDS).rpartition(":")
    if not name or not split:
        raise UserError(f"{place} is not tfds:NAME:SPLIT, for example tfds:celeb_a:test")
    return name, split


def open_data_set(name: str, split: str, data_dir: Path | None = None) -> DataSet:
    """Open a data set that was prepared as array_record and whose examples have an "image".

    Args:
        name: of the data set, such as "celeb_a".
        split: such as "test".
        data_dir: where data sets are prepared; None: TFDS's default.

    Raises:
        UserError: there is no such data set as array_record.
    """
    import tensorflow_datasets as tfds  # late: it takes seconds to import

    try:
        builder = tfds.builder(name, data_dir=data_dir)
        # its decorator hides the signature from type checkers
        data = builder.as_data_source(split=split)  # pyright: ignore[reportCallIssue]
    except Exception as error:  # each data set raises its own when it is not prepared
        raise UserError(
            f"tfds:{name}:{split} cannot be opened ({str(error).partition(chr(10))[0]}): prepare "
            "it with tfds as array_record first"
        ) from error
    features: Any = builder.info.features
    return DataSet(
        f"{builder.info.full_name}:{split}:{len(data)}",
        len(data),
        lambda number: images.over_white(np.asarray(data[number]["image"])),
        tuple(getattr(features["label"], "names", ())) if "label" in features else (),
        lambda number: int(data[number]["label"]),
    )
