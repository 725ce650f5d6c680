"""One training run on photographs: align, train, measure, write the part and the page."""

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from emojax.latents import reconstruction
from emojax.metrics import comparison
from emojax.report import training_page
from emojax.runtime import devices
from emojax.runtime.cli import warn
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, write_json
from emojax.runtime.progress import progress
from emojax.store import bundle as bundles
from emojax.store import run_settings, weights
from emojax.store.bundle import Bundle
from emojax.training import (
    checkpoints,
    classifier_task,
    held_out,
    inverter_task,
    photographs,
    result,
)
from emojax.training.loop import Loop, fit
from emojax.training.options import Emotion, Hyperstyle, Psp, Training
from emojax.training.photographs import Photographs
from emojax.training.stages import Course
from emojax.training.task import Task

RESULT = "result.json"
PAGE = "page.html"
SHEET = "sheet.png"
_LOOK = 0.5
"""Seconds between two looks for a result that another process writes."""
_UNSAVED = (
    "out",
    "replace",
    "work",
    "bundle",
    "photos",
    "distributed",
    "hosts",
    "data_dir",
    "save_every",
)
"""Flags that a run does not depend on, or on whose contents it depends."""


def train(options: Training) -> None:
    """Train by the flags of `emojax train`; print what was reached and where it is.

    Raises:
        UserError: photographs or networks cannot be used, devices cannot share a batch, or another
            run has used the work folder.
    """
    base = bundles.find(options.bundle)
    match options:
        case Psp() | Hyperstyle():
            task = inverter_task.task(options, base)
        case Emotion():
            task = classifier_task.task(options, base)
        case _:
            raise TypeError(f"{type(options).__name__} is no kind of training")
    mesh = _mesh(options)
    place = make_folder(options.work / options.kind)
    prepared = photographs.prepare(task.source, place / "faces", task.side)
    if jax.process_index() == 0:
        for note in task.notes:
            logging.info("%s", note)
        warn([f"left out: {each}" for each in photographs.left_out(place / "faces")])
    rows, held = photographs.split(prepared, options.held_out, options.seed)
    course = _course(options, photographs.batches(prepared, rows, _real(options), options.seed))
    stage = task.stage(prepared, rows, course)
    stage = dataclasses.replace(stage, sheet=_sheet(task, prepared, held))
    if jax.process_index() == 0:
        run_settings.open_folder(place / "run", _settings(options, base, task), flag="--work")
    network = fit(
        stage, place / "run", options.seed, Loop(save_every=options.save_every, mesh=mesh)
    )
    if jax.process_index():
        while not (place / RESULT).is_file():
            time.sleep(_LOOK)
        return
    _conclude(options, base, task, prepared, held, network, place)


def _real(options: Training) -> int:
    return options.batch - options.made


def _course(options: Training, faces: Any) -> Course:
    return Course(
        options.kind,
        faces,
        _real(options),
        options.steps,
        options.rate,
        options.decay,
        options.seed,
        options.made,
        options.optimiser,
    )


def _mesh(options: Training) -> jax.sharding.Mesh:
    """Return the devices that share a batch: of one process as many as can, of several all.

    Raises:
        UserError: several processes cannot share it evenly.
    """
    share, count = math.gcd(_real(options), options.made), jax.device_count()
    if jax.process_count() > 1:
        if share % count:
            raise UserError(
                f"--batch {options.batch} has {_real(options)} photographs and {options.made} "
                f"generated faces, which {count} devices cannot share evenly: wanted multiples"
            )
        return devices.global_mesh()
    most = devices.sharing(share)
    if most < count:
        logging.info("a batch of %d is split over %d of %d devices", options.batch, most, count)
    return devices.global_mesh(most)


def _settings(options: Training, base: Bundle, task: Task) -> dict[str, Any]:
    """Return all that a run depends on, JSON-able."""
    flags = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in _UNSAVED
    }
    hashes = {part.name: base.sha256(part) for part in options.needed}
    return json.loads(json.dumps({**flags, **hashes, **task.source.settings}, default=str))


def _sheet(task: Task, prepared: Photographs, held: np.ndarray) -> Callable[[Any, Path], None]:
    spread = np.linspace(0, len(held) - 1, min(held_out.SHOWN, len(held)))
    shown = held[spread.astype(int)]

    def write(network: Any, file: Path) -> None:
        task.sheet(network, prepared, shown, file)

    return write


def _conclude(
    options: Training,
    base: Bundle,
    task: Task,
    prepared: Photographs,
    held: np.ndarray,
    network: nnx.Module,
    place: Path,
) -> None:
    """Measure the result, write the page, and the part into its bundle; print where they are."""
    made: type[Any] = options.part.network_class()
    # as it will be loaded: it may have been trained in bfloat16
    arrays: dict[str, Any] = dict(weights.flatten(network))
    network = weights.load(weights.abstract(made, task.config), arrays)
    network.eval()
    with progress("measuring", len(held) * (1 + task.starts), "faces") as shown:
        before = task.measure(None, prepared, held, shown) if task.starts else {}
        after = task.measure(network, prepared, held, shown)
    about = _about(options, len(prepared), len(held), place / "run")
    about |= {"before": before, "after": after}
    log, sheet = checkpoints.logged(place / "run" / options.kind), place / "run" / options.kind
    title = f"emojax train {options.kind}"
    training_page.write(
        place / PAGE, title, _lead(about), log, sheet / SHEET, task.caption, task.notes
    )
    write_json(place / RESULT, about)  # other processes wait for it
    source = {"made_by": title, **about}
    if options.part.goes_with:
        source["generator_sha256"] = base.sha256(options.part.goes_with)
    folder = bundles.destination(options.out)
    result.write(folder, base, options.part, task.config, network, source)
    name = bundles.name_of(folder)
    if not isinstance(options, Emotion):  # photographs that they cannot draw are told by it
        reconstruction.write(folder / reconstruction.FILE, bundles.find(name))
    for line in _lines(about):
        print(line)
    print(f"written: {folder / options.part.name}; page: {place / PAGE}")
    print(f"use it: --bundle {name}")
    if isinstance(options, Emotion) and bundles.find(name).file("directions.npz"):
        again = bundles.directions_command(name)
        print(f"its directions belong to the earlier classifier: {again}")


def _about(options: Training, photos: int, held: int, run: Path) -> dict[str, Any]:
    """Return what is told of a run beside its measures."""
    return {
        "kind": options.kind,
        "photographs": photos,
        "held_out": held,
        "steps": options.steps,
        "batch": options.batch,
        "seconds": checkpoints.seconds(run, options.kind),
        "device": checkpoints.device(run, options.kind),
    }


def _lead(about: dict[str, Any]) -> str:
    return (
        f"{about['steps']} steps of {about['batch']} pictures; {about['photographs']} photographs, "
        f"{about['held_out']} of them held out. On those held out: {'; '.join(_lines(about))}."
    )


def _lines(about: dict[str, Any]) -> list[str]:
    """Return what was measured on held-out photographs, a line for each measure."""
    before, lines = about["before"], []
    for name, value in about["after"].items():
        was = f", was {before[name]:.4g}" if name in before else ""
        title = comparison.TITLES.get(name, name.replace("_", " "))
        lines.append(f"{title} {value:.4g}{was}")
    return lines
