"""Train the demo's networks and write them as a bundle.

    python -m emojax.demo.train --profile cpu --work out/demo
    python -m emojax.demo.train --profile gpu --fraction 0.01 --out /tmp/try --work /tmp/try-work

Stages: mapping, coarse, middle, fine and generator (StyleGAN2), features, emotion, attributes,
trunk (pretraining of the encoders), psp, w_encoder, hyperstyle. Then faces of the new generator are
scored and the directions are fitted. A run that was stopped is resumed by the same command from its
last checkpoints, at most two minutes and 50 steps of work earlier. Finished networks are kept in
--work in float16: with that folder the run can go on on another machine.
"""

import dataclasses
import time
from pathlib import Path
from typing import Literal

from emojax.demo.training.schedule import LENGTHS, ProfileName, with_needed
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m emojax.demo.train`."""

    profile: ProfileName = "cpu"
    """How long stages are trained. cpu: for two cores and a night; gpu: for one large GPU."""
    out: Path = Path("checkpoints/demo")
    """Folder of the bundle."""
    work: Path = Path("out/demo")
    """Folder of checkpoints, logs and sample sheets."""
    seed: int = 0
    """Of weights and data."""
    fraction: float = 1.0
    """Share of every stage's steps; less than 1 for a trial."""
    stages: tuple[str, ...] = ()
    """Train only these and what they need, and write no bundle."""
    base: str = ""
    """Bundle whose emotion classifier, attribute regressor and feature network are used, and whose
    pSp encoder's trunk the encoders start from, in place of training them. Such a bundle may be of
    a smaller generator."""
    together: int = 0
    """Stages trained at the same time, each in a process on its share of the cores. 1: one after
    the other, their batches split over all cores or devices. 0: two on a CPU; elsewhere all, each
    of which compiles at once and waits for the networks that it needs."""
    seconds: float = 0.0
    """Time for all stages: each ends at its share of it, with its learning rate at 0. 0: they end
    after their steps."""
    fused: Literal["auto", "yes", "no"] = "auto"
    """Train by programs of 50 steps that draw their own batches; auto: everywhere but on a CPU."""
    scored: int = 60_000
    """Faces of the new generator that the directions are fitted to."""


def main(options: Options) -> None:
    """Train the stages and write the bundle."""
    begun = time.time()
    _check(options)
    import jax

    from emojax.demo.training import adoption
    from emojax.demo.training import run as training
    from emojax.runtime import devices
    from emojax.store import bundle

    devices.use_cores()
    profile = training.shortened(options.profile, options.fraction)
    cpu = jax.default_backend() == "cpu"
    fused = not cpu if options.fused == "auto" else options.fused == "yes"
    end = begun + options.seconds if options.seconds else None
    base = bundle.find(options.base) if options.base else None
    run = training.Run(profile, options.work, options.seed, fused, end, begun, base=base)
    if base:
        adoption.adopt(base, profile, options.work)
    names = options.stages or tuple(profile.lengths)
    together = options.together or (2 if cpu else len(names))
    if together > 1:
        run.train_together(names, together)
    networks = run.train(names)
    if not options.stages:
        training.write_bundle(run, options.out, networks)
        training.fit_bundle_directions(run, options.out, options.scored)


def _check(options: Options) -> None:
    """Refuse what no run could use.

    Raises:
        UserError: a number out of range, or an unknown stage.
    """
    if not 0 < options.fraction <= 1:
        raise UserError(f"--fraction is {options.fraction}, wanted more than 0 and at most 1")
    if options.seconds < 0:
        raise UserError(f"--seconds is {options.seconds:g}, wanted more than 0, or 0 for no limit")
    if options.seconds and options.fused == "no":
        raise UserError("--seconds was given with --fused no: wanted one of them, or --fused yes")
    if options.together < 0:
        raise UserError(f"--together is {options.together}, wanted 1 or more, or 0 for the default")
    if options.scored < 4:
        raise UserError(f"--scored is {options.scored}, wanted 4 or more")
    with_needed(options.stages, LENGTHS[options.profile])


if __name__ == "__main__":
    cli(main)
