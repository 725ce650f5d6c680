"""What a network does to photographs that it was not trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emojax.faces import images
from emojax.latents import inversion
from emojax.latents.inverter import Inverter
from emojax.metrics import comparison
from emojax.models.efficientnet import EmotionNet
from emojax.report import contact_sheet
from emojax.runtime.choices import Crop
from emojax.runtime.progress import Progress
from emojax.scoring import classifier
from emojax.training.photographs import Photographs

BATCH = 8
"""Faces at a time."""
SHOWN = 8
"""Faces of a sheet."""
_LARGEST = 256
"""Side of a face of a sheet, at most."""


def reconstructed(inverter: Inverter, faces: np.ndarray, passes: int) -> np.ndarray:
    """Return what an inverter makes of faces uint8 [N,R,R,3], of the same size."""
    found = inversion.invert(inverter, faces, passes=passes, batch=BATCH)
    drawn = images.to_uint8(inversion.synthesize(inverter, found, batch=BATCH))
    return np.stack([images.resize(each, faces.shape[1]) for each in drawn])


def likeness(
    inverter: Inverter,
    networks: comparison.Networks,
    photographs: Photographs,
    rows: np.ndarray,
    passes: int,
    shown: Progress,
) -> dict[str, float]:
    """Return the mean measures of reconstructions, see `emojax.metrics.comparison`.

    Args:
        inverter: with the network that is measured.
        networks: that compare pictures.
        photographs: aligned, of the encoder's size.
        rows: which.
        passes: of HyperStyle.
        shown: told the number of faces.
    """
    parts = []
    for start in range(0, len(rows), 4 * BATCH):
        faces = photographs.read(rows[start : start + 4 * BATCH])
        drawn = reconstructed(inverter, faces, passes)
        parts.append(comparison.compare(networks, drawn, faces, batch=BATCH))
        shown.advance(len(faces))
    means = {
        name: float(np.nanmean(np.concatenate([part[name] for part in parts]))) for name in parts[0]
    }
    return {name: round(mean, 6) for name, mean in means.items() if np.isfinite(mean)}


def accuracy(
    model: EmotionNet,
    photographs: Photographs,
    rows: np.ndarray,
    crop: Crop,
    shown: Progress,
) -> dict[str, float]:
    """Return how often the most probable class is the label, of all, and the mean over classes.

    Args:
        model: the classifier.
        photographs: with labels.
        rows: which.
        crop: what the classifier sees.
        shown: told the number of faces.
    """
    found = []
    for start in range(0, len(rows), 4 * BATCH):
        faces = photographs.read(rows[start : start + 4 * BATCH])
        found.append(classifier.classify(model, faces, crop=crop).logits.argmax(-1))
        shown.advance(len(faces))
    assert photographs.labels is not None  # read with labels
    labels = photographs.labels[rows]
    right = np.concatenate(found) == labels
    classes = [float(right[labels == label].mean()) for label in np.unique(labels)]
    return {"accuracy": float(right.mean()), "mean_class_accuracy": float(np.mean(classes))}


def write_sheet(file: Path, pictures: np.ndarray, labels: Sequence[str], *, columns: int) -> None:
    """Write captioned pictures uint8 [N,R,R,3] in rows."""
    side = min(pictures.shape[1], _LARGEST)
    images.write(file, contact_sheet.grid(list(pictures), labels, columns=columns, side=side))
