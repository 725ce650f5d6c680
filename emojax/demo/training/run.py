"""Training of the demo's networks, and the bundle that they are written to."""

import dataclasses
import functools
import logging
import math
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from emojax.demo import samples
from emojax.demo.training import adoption, classifiers, encoders, processes
from emojax.demo.training import generator as generating
from emojax.demo.training.recipe import PROFILES, Profile
from emojax.demo.training.schedule import (
    GENERATOR_STAGES,
    NEEDS,
    UNSTORED,
    ProfileName,
    with_needed,
)
from emojax.latents import fit_directions, reconstruction, usable_range
from emojax.latents.directions import FILE
from emojax.latents.fit_config import FitConfig
from emojax.models.efficientnet import EmotionNet
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.runtime import devices
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.runtime.progress import progress
from emojax.scoring import scorer
from emojax.store import bundle, weights
from emojax.store.parts import EMOTION, GENERATOR, PARTS
from emojax.store.score_table import ScoreSettings, ScoreTable
from emojax.training import checkpoints, result
from emojax.training.loop import Loop, Programs, Stage, fit

log = logging.getLogger(__name__)

_INVERTERS = ("psp", "w_encoder", "hyperstyle")
"""Parts of the bundle that belong to its generator."""
_NETWORKS: dict[str, Callable[..., nnx.Module]] = {
    "generator": Generator,
    "trunk": Encoder,
    "psp": Encoder,
    "w_encoder": Encoder,
    "hyperstyle": Hypernet,
    "emotion": EmotionNet,
    "attributes": EmotionNet,
    "features": EmotionNet,
}
"""Results of the stages, by name, but for the supervised generators."""
_STAGES: dict[str, Callable[..., Stage]] = {
    "trunk": encoders.trunk,
    "psp": encoders.psp,
    "w_encoder": encoders.w_encoder,
    "hyperstyle": encoders.hyperstyle,
    "emotion": classifiers.emotion,
    "attributes": classifiers.attributes,
    "features": classifiers.features,
}
"""Stages other than the generator's, called with profile, list of what they need, and seed."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        profile: configs and lengths.
        work: folder of checkpoints and logs.
        seed: of weights and data.
        fused: train by programs of many steps that draw their own batches, for GPUs.
        end: `time.time()` at which all stages have ended; None: after their steps.
        begun: `time.time()` at which the run began.
        plain: report progress as plain lines.
        base: bundle whose networks are used in the place of some stages, see `adoption`.
    """

    profile: Profile
    work: Path
    seed: int
    fused: bool = False
    end: float | None = None
    begun: float = dataclasses.field(default_factory=time.time)
    plain: bool = False
    base: bundle.Bundle | None = None

    def train(self, names: Sequence[str]) -> dict[str, nnx.Module]:
        """Train stages and what they need, each from its last checkpoint.

        Args:
            names: of the stages.

        Returns:
            The networks of these stages that belong in a bundle, by the name of their part.
        """
        for name in self.unfinished(names):
            self.train_one(name)
        return {name: self.finished(name) for name in names if name not in UNSTORED}

    def train_one(self, name: str) -> None:
        """Train a stage, on all devices of this process where its steps run one by one.

        Fused programs are compiled while stages that it needs are trained.

        Raises:
            UserError: a stage that it needs is not finished when this one should be.
        """
        number = self.seed + list(self.profile.lengths).index(name)
        needs = NEEDS.get(name, ())
        length = self.profile.lengths[name]
        until = self.begun + length.until * (self.end - self.begun) if self.end else None
        loop = Loop(until, plain=self.plain)
        if self.fused:
            blank = [_blank(self.profile, each) for each in needs]
            programs = Programs(_stage(self.profile, name, blank, number))
            loop = dataclasses.replace(loop, programs=programs)
            self._wait_for(needs, name)
        elif (count := devices.sharing(length.batch)) > 1:
            loop = dataclasses.replace(loop, mesh=devices.local_mesh(count))
        needed = [self.finished(each) for each in needs]
        fit(_stage(self.profile, name, needed, number), self.work, number, loop)

    def finished(self, name: str) -> Any:
        """Return the network of a finished stage."""
        return checkpoints.load_finished(self.work, name, _skeleton(self.profile, name))

    def is_finished(self, name: str) -> bool:
        """Return whether a stage's network is there."""
        return checkpoints.is_finished(self.work, name, self.profile.lengths[name].steps)

    def unfinished(self, names: Sequence[str]) -> list[str]:
        """Return some stages and what they need, without finished ones and what only these need."""
        found: set[str] = set()

        def add(name: str) -> None:
            if name not in found and not self.is_finished(name):
                found.add(name)
                for each in NEEDS.get(name, ()):
                    add(each)

        with_needed(names, self.profile.lengths)  # refuses unknown names
        for name in names:
            add(name)
        return [name for name in _in_order(tuple(self.profile.lengths)) if name in found]

    def train_together(self, names: Sequence[str], count: int) -> None:
        """Train stages in processes of their own, `count` at a time.

        Fused ones all start at once, and wait by themselves for what they need.
        """
        work = functools.partial(_train_one, dataclasses.replace(self, plain=True))
        if self.fused:
            processes.run_apart(self.unfinished(names), NEEDS, work)
        else:
            processes.run_all(self.unfinished(names), NEEDS, work, count)

    def _wait_for(self, needs: Sequence[str], name: str) -> None:
        while missing := [each for each in needs if not self.is_finished(each)]:
            if self.end and time.time() > self.end:
                raise UserError(
                    f"{name} needs {missing[0]}, which is not finished and the time is over: "
                    "begin the same command again with more --seconds"
                )
            time.sleep(0.2)


def shortened(name: ProfileName, fraction: float) -> Profile:
    """Return a profile with a share of every stage's steps."""
    profile = PROFILES[name]
    lengths = {
        stage: dataclasses.replace(length, steps=math.ceil(length.steps * fraction))
        for stage, length in profile.lengths.items()
    }
    return dataclasses.replace(profile, lengths=lengths)


def write_bundle(run: Run, folder: Path, networks: dict[str, nnx.Module]) -> None:
    """Write the networks in float16, with their provenance, and the sample pictures.

    Args:
        run: that trained them.
        folder: of the bundle.
        networks: by the name of their part.
    """
    tied: dict[str, Any] = {}
    make_folder(folder)
    command = f"python -m emojax.demo.train --profile {run.profile.name} --seed {run.seed}"
    command += f" --base {Path(run.base.name).name}" if run.base else ""
    for name, network in networks.items():
        if run.base and name in adoption.ADOPTED:
            result.copy_part(run.base, PARTS[name], folder)
            continue
        source = {
            "made_by": command,
            "pictures": "drawings",
            "commit": _commit(),
            "seconds": checkpoints.seconds(run.work, name),
            "device": checkpoints.device(run.work, name),
            "last": checkpoints.last_metrics(run.work, name),
            **(tied if name in _INVERTERS else {}),
        }
        arrays: dict[str, Any] = {
            key: np.asarray(value).astype(np.float16)
            for key, value in weights.flatten(network).items()
        }
        stored = bundle.save(folder, PARTS[name], getattr(run.profile, name), arrays, source)
        if name == "generator":
            tied = {"generator_sha256": stored["weights_sha256"]}
        log.info("wrote %s", folder / name)
    samples.write(folder, run.profile.resolution)


def fit_bundle_directions(run: Run, folder: Path, samples: int) -> None:
    """Score faces of a bundle's generator, and write the directions fitted to them.

    Args:
        run: whose work folder takes the scores.
        folder: of the bundle.
        samples: faces to score.
    """
    place = bundle.find(folder)
    generator, emotion = place.load(GENERATOR), place.load(EMOTION)
    settings = ScoreSettings(
        generator_sha256=place.sha256(GENERATOR),
        emotion_sha256=place.sha256(EMOTION),
        classes=emotion.config.classes,
        width=generator.config.style_dim,
        samples=samples,
    )
    scores = run.work / "scores"
    try:
        table = ScoreTable.create(scores, settings)
    except UserError:  # of an earlier generator
        shutil.rmtree(scores, ignore_errors=True)
        table = ScoreTable.create(scores, settings)
    with progress("scoring", samples, "faces") as shown:
        program = scorer.Scorer(generator, emotion, settings)
        scorer.run(program, table, table.missing(), advance=shown.advance)
    found = fit_directions.fit(table.read(), FitConfig())
    with progress("measuring usable ranges", usable_range.STEPS, "steps") as shown:
        found = usable_range.measure_in(place, found, settings, advance=shown.advance)
    found.save(folder / FILE)
    reconstruction.write(folder / reconstruction.FILE, place)
    for name in found.names:
        log.info("%-10s R² %.3f on held-out faces", name, found.metadata["r2"][name])
    log.info("wrote %s", folder / FILE)


def _train_one(run: Run, name: str) -> None:
    devices.use_cores()
    run.train_one(name)


def _in_order(names: Sequence[str]) -> list[str]:
    """Return stages after those that they need, otherwise in the given order."""
    found: list[str] = []

    def add(name: str) -> None:
        for each in NEEDS.get(name, ()):
            add(each)
        if name not in found:
            found.append(name)

    for name in names:
        add(name)
    return found


def _stage(profile: Profile, name: str, needed: list[Any], seed: int) -> Stage:
    """Return a stage; its weights are drawn on the CPU, where each draw compiles fastest."""
    with jax.default_device(jax.devices("cpu")[0]):
        if name in GENERATOR_STAGES:
            return generating.stage(profile, name, needed, seed)
        return _STAGES[name](profile, needed, seed)


def _skeleton(profile: Profile, name: str) -> Any:
    """Return the result of a stage, with shapes in place of arrays."""
    if name in GENERATOR_STAGES[:-1]:
        return weights.abstract(generating.SupervisedGenerator, profile)
    return weights.abstract(_NETWORKS[name], getattr(profile, name))


def _blank(profile: Profile, name: str) -> Any:
    """Return the result of a stage, with zeros in place of what it will be."""
    graph, state = nnx.split(_skeleton(profile, name))
    model = nnx.merge(graph, jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), state))
    model.eval()
    return model


def _commit() -> str | None:
    """Return the commit that this file belongs to, if it lies in a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
