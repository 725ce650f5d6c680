"""Training of the demo's networks, and the bundle that they are written to."""

import dataclasses
import functools
import logging
import math
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from emojax.demo import samples
from emojax.demo.training import classifiers, encoders, processes
from emojax.demo.training import generator as generating
from emojax.demo.training.loop import Stage, fit, last_metrics, reached, seconds
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
from emojax.runtime.errors import UserError
from emojax.runtime.progress import progress
from emojax.scoring import scorer
from emojax.store import bundle, weights
from emojax.store.parts import EMOTION, GENERATOR, PARTS
from emojax.store.score_table import ScoreSettings, ScoreTable

log = logging.getLogger(__name__)

_INVERTERS = ("psp", "w_encoder", "hyperstyle")
"""Parts of the bundle that belong to its generator."""
_STAGES: dict[str, Callable[..., Stage]] = {
    "trunk": encoders.trunk,
    "psp": encoders.psp,
    "w_encoder": encoders.w_encoder,
    "hyperstyle": encoders.hyperstyle,
    "emotion": classifiers.emotion,
    "attributes": classifiers.attributes,
    "features": classifiers.features,
}
"""Stages other than the generator's, called with profile, the networks they need, and seed."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        profile: configs and lengths.
        work: folder of checkpoints and logs.
        seed: of weights and data.
        plain: report progress as plain lines.
    """

    profile: Profile
    work: Path
    seed: int
    plain: bool = False

    def train(self, names: Sequence[str]) -> dict[str, nnx.Module]:
        """Train stages and what they need, each from its last checkpoint.

        Args:
            names: of the stages.

        Returns:
            The networks that belong in a bundle, by the name of their part.
        """
        done: dict[str, Any] = {}
        order = list(self.profile.lengths)
        for name in _in_order(with_needed(names, order)):
            needed = [done[each] for each in NEEDS.get(name, ())]
            number = self.seed + order.index(name)
            stage = _stage(self.profile, name, needed, number)
            network: Any = fit(stage, self.work, number, plain=self.plain)
            if name == "generator":
                network = generating.finish(network.generator, jax.random.key(self.seed))
            done[name] = network
        return {name: network for name, network in done.items() if name not in UNSTORED}

    def unfinished(self, names: Sequence[str]) -> list[str]:
        """Return some stages and what they need, without those that are trained."""
        lengths = self.profile.lengths
        wanted = with_needed(names, lengths)
        return [name for name in wanted if reached(self.work, name) < lengths[name].steps]

    def train_together(self, names: Sequence[str], count: int) -> None:
        """Train stages in processes of their own, `count` at a time."""
        processes.run_all(self.unfinished(names), NEEDS, functools.partial(_train_one, self), count)


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
    command = f"python -m emojax.demo.train --profile {run.profile.name} --seed {run.seed}"
    for name, network in networks.items():
        source = {
            "made_by": command,
            "pictures": "drawings",
            "commit": _commit(),
            "seconds": seconds(run.work, name),
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "last": last_metrics(run.work, name),
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
    count = reconstruction.SAMPLES * len(reconstruction.methods(place))
    with progress("inverting own faces", count, "faces") as shown:
        reconstruction.write(folder / reconstruction.FILE, place, shown.advance)
    for name in found.names:
        log.info("%-10s R² %.3f on held-out faces", name, found.metadata["r2"][name])
    log.info("wrote %s", folder / FILE)


def _train_one(run: Run, name: str) -> None:
    dataclasses.replace(run, plain=True).train((name,))


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
    if name in GENERATOR_STAGES:
        return generating.stage(profile, name, needed[0] if needed else None, seed)
    return _STAGES[name](profile, *needed, seed)


def _commit() -> str | None:
    """Return the commit that this file belongs to, if it lies in a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
