"""Training of the emotion classifier on labelled faces."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from emojax.models.efficientnet import EmotionConfig, EmotionNet
from emojax.runtime.choices import Crop
from emojax.runtime.progress import Progress
from emojax.scoring import classifier
from emojax.store.bundle import Bundle
from emojax.store.parts import EMOTION, GENERATOR
from emojax.training import held_out, stages
from emojax.training.loop import Stage
from emojax.training.options import Emotion
from emojax.training.photographs import Photographs
from emojax.training.sources import open_source
from emojax.training.stages import Course, Labels
from emojax.training.task import Task

_STEP = 16
"""Sides of faces are multiples of this."""


def task(options: Emotion, base: Bundle) -> Task:
    """Return what training a classifier adds to a run.

    Raises:
        UserError: the classifier is damaged, or photographs or their labels cannot be read.
    """
    own, config = base.load(EMOTION), base.config(EMOTION)
    side = _side(config, options.crop)
    sizes = [side, *([base.config(GENERATOR).size] if base.has(GENERATOR) else [])]
    return Task(
        side,
        open_source(options, sizes, config.classes),
        [],
        config,
        functools.partial(_stage, options, base),
        functools.partial(_measure, own, options.crop),
        True,
        "Photographs that were not trained on: the label, what the classifier saw before, and now.",
        functools.partial(_sheet, own, options.crop),
    )


def _side(config: EmotionConfig, crop: Crop) -> int:
    """Return the side of a face of which the classifier's crop is about as large as its input."""
    if crop == "full":
        return config.size
    top, bottom, _, _ = classifier.FACE
    return -(-round(config.size / (bottom - top)) // _STEP) * _STEP


def _stage(
    options: Emotion, base: Bundle, photographs: Photographs, rows: np.ndarray, course: Course
) -> Stage:
    """Return the stage of a run, see `Task`."""
    model = base.load(EMOTION)
    assert photographs.labels is not None  # read with labels
    labels = photographs.labels[rows]
    weights = stages.class_weights(labels, len(model.config.classes))
    return stages.emotion(
        course,
        model,
        Labels(labels.astype(np.int32), weights),
        crop=options.crop,
        whole=options.whole,
        bfloat16=options.bfloat16,
    )


def _measure(
    own: EmotionNet,
    crop: Crop,
    network: Any,
    photographs: Photographs,
    rows: np.ndarray,
    shown: Progress,
) -> dict[str, float]:
    """Return accuracies, see `Task`."""
    model = own if network is None else network
    return held_out.accuracy(model, photographs, rows, crop, shown)


def _sheet(
    own: EmotionNet,
    crop: Crop,
    network: Any,
    photographs: Photographs,
    rows: np.ndarray,
    file: Path,
) -> None:
    """Write photographs with labels, and answers before and after; see `Task`."""
    faces = photographs.read(rows)
    names = [name.lower() for name in own.config.classes]
    assert photographs.labels is not None  # read with labels
    answers = [
        classifier.classify(each, faces, crop=crop).logits.argmax(-1) for each in (own, network)
    ]
    labels = [
        f"{names[label]}: {names[before]}, {names[after]}"
        for label, before, after in zip(photographs.labels[rows], *answers, strict=True)
    ]
    held_out.write_sheet(file, faces, labels, columns=4)
