"""Train the demo world's networks and write them as a bundle.

A run may be stopped at any time, also by kill -9: the same command goes on from the last
checkpoint, at most two minutes back.

Examples:
    python -m emojax.demo.train --profile cpu --work out/demo
    python -m emojax.demo.train --profile gpu --fraction 0.01 --out /tmp/try --work /tmp/try-work
"""

import dataclasses
import functools
import logging
import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from emojax import score
from emojax.demo import samples
from emojax.demo.training import classifiers, encoders, generator, processes
from emojax.demo.training.loop import Stage, fit, last_figures, reached, seconds
from emojax.demo.training.recipe import PROFILES, Profile
from emojax.latents import directions
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store import bundle, weights
from emojax.store.parts import PARTS

log = logging.getLogger(__name__)

_STEPS_TO_GENERATOR = ("mapping", "coarse")
_UNSTORED = (*_STEPS_TO_GENERATOR, "trunk")
_INVERTING = ("trunk", "psp", "w_encoder", "hyperstyle")
_NEEDS = {
    "coarse": ("mapping",),
    "generator": ("coarse",),
    "psp": ("generator", "trunk"),
    "w_encoder": ("generator", "trunk"),
    "hyperstyle": ("generator", "w_encoder"),
}
"""The stages that start from others' networks, and which."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train, and where."""

    profile: Literal["cpu", "gpu"] = "cpu"
    """cpu: 64 px, for two cores; gpu: 128 px, for one large GPU; see recipe.py."""
    out: Path = Path("checkpoints/demo")
    """Folder of the bundle."""
    work: Path = Path("out/demo")
    """Folder of checkpoints, losses and sheets."""
    seed: int = 0
    """Of the weights and the data."""
    fraction: float = 1.0
    """Share of every stage's steps; less than 1 for a trial."""
    stages: tuple[str, ...] = ()
    """Train these and what they need, and write nothing; by default all, and the bundle."""
    together: int = 0
    """Stages trained at the same time, each in a process on its share of the cores; by default
    two on a CPU, one elsewhere."""
    scored: int = 60_000
    """Faces of the new generator that the directions are fitted on."""


def main(options: Options) -> None:
    """Run the stages and write the bundle."""
    if not 0 < options.fraction <= 1:
        raise UserError(f"--fraction is {options.fraction}, wanted more than 0 and at most 1")
    profile = _shortened(PROFILES[options.profile], options.fraction)
    for name in options.stages:
        if name not in profile.lengths:
            known = ", ".join(profile.lengths)
            raise UserError(f"--stages names {name!r}, which is none: choose among {known}")
    if options.together < 0:
        raise UserError(f"--together is {options.together}, wanted 1 or more, or 0 for the default")
    together = options.together or (2 if jax.default_backend() == "cpu" else 1)
    if together > 1:
        one = functools.partial(_train_one, profile, options.work, options.seed)
        processes.run_all(_unfinished(profile, options), _NEEDS, one, together)
    networks = train(profile, options.work, options.seed, options.stages)
    if not options.stages:
        write(profile, options, networks)
        samples.write(options.out, profile.resolution)
        find_directions(options)


def train(
    profile: Profile, work: Path, seed: int, wanted: Sequence[str] = (), line: int = 0
) -> dict[str, nnx.Module]:
    """Train networks, each from where it stands.

    Args:
        profile: see `recipe.PROFILES`.
        work: folder of the checkpoints.
        seed: of weights and data.
        wanted: stages to train, with what they need; empty for all.
        line: of the terminal that the progress is shown on.

    Returns:
        The networks by the name of their part of a bundle, as many as were reached.
    """
    done: dict[str, nnx.Module] = {}
    order = list(profile.lengths)

    def reach(name: str) -> nnx.Module:
        if name not in done:
            needed = [reach(each) for each in _NEEDS.get(name, ())]
            number = seed + order.index(name)
            network = fit(_stage(profile, name, needed, number), work, number, line=line)
            if name == "generator":
                network = generator.finish(network.generator, jax.random.key(seed))
            done[name] = network
        return done[name]

    for name in wanted or order:
        reach(name)
    return {name: network for name, network in done.items() if name not in _UNSTORED}


def _train_one(profile: Profile, work: Path, seed: int, name: str, line: int) -> None:
    train(profile, work, seed, (name,), line)


def _unfinished(profile: Profile, options: Options) -> list[str]:
    """Return the stages to train: all or those wanted and what they need, less what is there."""
    names = set(options.stages or profile.lengths)
    while missing := {need for name in names for need in _NEEDS.get(name, ())} - names:
        names |= missing
    lengths = {name: each.steps for name, each in profile.lengths.items() if name in names}
    return [name for name, steps in lengths.items() if reached(options.work, name) < steps]


def _stage(profile: Profile, name: str, needed: list[nnx.Module], seed: int) -> Stage:
    if name == "generator" or name in _STEPS_TO_GENERATOR:
        return generator.stage(profile, name, needed[0] if needed else None, seed)
    part = encoders if name in _INVERTING else classifiers
    return getattr(part, name)(profile, *needed, seed)


def write(profile: Profile, options: Options, networks: dict[str, nnx.Module]) -> None:
    """Write the networks in float16, each with what made it."""
    tied: dict[str, Any] = {}
    command = f"python -m emojax.demo.train --profile {profile.name} --seed {options.seed}"
    for name, network in networks.items():
        source = {
            "made_by": command,
            "commit": _commit(),
            "seconds": seconds(options.work, name),
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "last": last_figures(options.work, name),
            **(tied if name in ("psp", "w_encoder", "hyperstyle") else {}),
        }
        arrays = {
            key: np.asarray(value).astype(np.float16)
            for key, value in weights.flatten(network).items()
        }
        stored = bundle.save(options.out, PARTS[name], getattr(profile, name), arrays, source)
        if name == "generator":
            tied = {"generator_sha256": stored["weights_sha256"]}
        log.info("wrote %s", options.out / name)


def find_directions(options: Options) -> None:
    """Score the generator's faces and fit the directions, by the same commands as anyone's."""
    scores = options.work / "scores"
    shutil.rmtree(scores, ignore_errors=True)  # of a generator trained before
    score.main(score.Options(str(options.out), options.scored, scores))
    directions.main(directions.Options(scores, str(options.out), plots=False))


def _shortened(profile: Profile, fraction: float) -> Profile:
    lengths = {
        name: dataclasses.replace(length, steps=math.ceil(length.steps * fraction))
        for name, length in profile.lengths.items()
    }
    return dataclasses.replace(profile, lengths=lengths)


def _commit() -> str | None:
    """Return the commit this was run from, if it was run from a checkout."""
    try:
        asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    cli(main)
