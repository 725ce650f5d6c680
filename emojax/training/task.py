"""What one kind of training adds to a run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emojax.runtime.progress import Progress
from emojax.training.loop import Stage
from emojax.training.photographs import Photographs, Source
from emojax.training.stages import Course


@dataclasses.dataclass(frozen=True)
class Task:
    """What one kind of training adds to a run.

    Attributes:
        side: of a face in pixels.
        source: the photographs.
        notes: sentences about losses that are left out.
        config: of the network, as it is stored.
        stage: (photographs, rows to train on, course) to the stage.
        measure: (network or None, photographs, rows, progress) to measures by name; None: the
            bundle's own network.
        starts: whether the bundle has a network of this kind.
        caption: what the sheet shows.
        sheet: (network, photographs, rows, file) writes a picture of what it does to them.
    """

    side: int
    source: Source
    notes: list[str]
    config: Any
    stage: Callable[[Photographs, np.ndarray, Course], Stage]
    measure: Callable[[Any, Photographs, np.ndarray, Progress], dict[str, float]]
    starts: bool
    caption: str
    sheet: Callable[[Any, Photographs, np.ndarray, Path], None]
