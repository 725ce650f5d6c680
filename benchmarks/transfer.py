"""The paper's whole transfer at 1024², beside PyTorch step by step with the same weights.

    python -m benchmarks.transfer
    python -m benchmarks.transfer --only psp --no-torch

Two faces are inverted, made neutral (Equation 2), drawn, inverted again, combined (Equation 4) and
the result is drawn. Weights are random, laid out as published; torch runs the published loops with
the arithmetic of the equations written out. Prints one JSON line a method: seconds a pair after a
warm-up, the ratio, and how far the results differ: the codes relative to how far the transfer moved
the source's, the pictures relative to torch's. A difference above TOLERANCE ends in an error.
"""

import dataclasses
import os
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmarks import inversion as inversions
from benchmarks import machine
from convert import psp as convert_psp
from emojax.latents import inversion, normalisers
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.models import psp, stylegan2
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError

TOLERANCE = 1e-3
"""Relative difference of float32 through two encoders and a generator, or through HyperStyle's
passes twice."""
EMOTIONS = ("neutral", "happiness")
LAYERS, WIDTH = 18, 512


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.transfer`."""

    only: Literal["psp", "hyperstyle", "both"] = "both"
    """Which method to run."""
    passes: int = 5
    """HyperStyle's passes."""
    k: float = 20.0
    """Equation 2's step."""
    alpha: float = 0.8
    """Share of the target's expression, Equation 4's."""
    repeats: int = 1
    """Timed runs after a warm-up; the fastest counts. 0: only compare."""
    threads: int = os.cpu_count() or 1
    """Torch's CPU threads."""
    torch: bool = True
    """Run torch too."""


def main(options: Options) -> None:
    """Run what was asked for."""
    import torch

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    pictures = coarse.repeat(16, 1).repeat(16, 2)  # [2,256,256,3]
    directions = Directions(
        EMOTIONS,
        rng.standard_normal((len(EMOTIONS), WIDTH)),
        np.zeros(len(EMOTIONS)),
        np.zeros(WIDTH),
        np.ones(len(EMOTIONS)),
    )
    for name, build in (("psp", _psp), ("hyperstyle", _hyperstyle)):
        if options.only in (name, "both"):
            inverter, reference = build(options)
            figures = _compare(inverter, reference, pictures, directions, options)
            machine.emit(benchmark="transfer", method=name, **figures, **machine.describe())


class Result(NamedTuple):
    """The source's code and the result's [1,18,512], and its picture [1,1024,1024,3]."""

    source: np.ndarray
    codes: np.ndarray
    picture: np.ndarray


class Reference:
    """The same networks in torch: what the steps need of them."""

    def __init__(self, generator, encoder, hypernet, passes: int) -> None:
        self.generator, self.encoder, self.hypernet = generator, encoder, hypernet
        self.passes = passes

    def invert(self, x) -> tuple[Any, Any]:
        """Return codes [B,18,512] and kernel changes (None for pSp) of pictures [B,3,256,256]."""
        import torch

        from benchmarks.torch_models import hyperstyle

        if self.hypernet is None:
            return self.encoder(x), None
        parts = (self.generator, self.encoder, torch.zeros(LAYERS, WIDTH), self.hypernet)
        return hyperstyle.invert(*parts, x, self.passes)[:2]

    def transfer(self, pictures: np.ndarray, neutral: np.ndarray, k: float, alpha: float) -> Result:
        """Return face 0 with face 1's expression.

        Args:
            pictures: [2,256,256,3] in [-1, 1].
            neutral: [18,512], the neutral direction, of unit norm.
            k: Equation 2's.
            alpha: Equation 4's.
        """
        import torch
        from torch.nn import functional

        direction = torch.from_numpy(neutral)
        codes, deltas = self.invert(inversions.nchw(pictures))
        along = (codes * direction).sum((1, 2), keepdim=True)
        without = codes - along * direction + k * direction
        drawn = self.generator.synthesis(without, deltas)
        again, changes = self.invert(functional.adaptive_avg_pool2d(drawn.clamp(-1, 1), 256))
        source, target = (codes - again).split(1)
        result = alpha * target + (1 - alpha) * source + again[:1]
        own = None if changes is None else [None if d is None else d[:1] for d in changes]
        picture = self.generator.synthesis(result, own)
        drawn = picture.numpy().transpose(0, 2, 3, 1)
        return Result(codes[:1].numpy(), result.numpy(), drawn)


def _psp(options: Options) -> tuple[Inverter, Reference]:
    from benchmarks.torch_models.encoders import GradualStyleEncoder

    generator, encoder = _generator(), inversions.settled(GradualStyleEncoder())
    state = {f"encoder.{key}": value for key, value in inversions.arrays(encoder).items()}
    mean, float32 = np.zeros((LAYERS, WIDTH), np.float32), inversions.Options()
    config, table, _ = convert_psp.convert(state, "gradual", LAYERS, mean)
    ours = inversions.loaded(psp.Encoder, config, table, float32)
    inverter = Inverter(inversions.generator_of(generator, mean[0], float32), ours)
    return inverter, Reference(generator, encoder, None, 0)


def _hyperstyle(options: Options) -> tuple[Inverter, Reference]:
    from benchmarks.torch_models import encoders, hyperstyle

    generator = _generator()
    encoder = inversions.settled(encoders.WEncoder())
    hypernet = inversions.settled(hyperstyle.Hypernet())
    mean = np.zeros((LAYERS, WIDTH), np.float32)
    inverter = inversions.hyperstyle_inverter(
        generator, encoder, hypernet, mean, inversions.Options()
    )
    return inverter, Reference(generator, encoder, hypernet, options.passes)


def _generator():
    from benchmarks.torch_models.stylegan2 import Generator

    return inversions.settled(Generator(1024, stylegan2.GeneratorConfig.published(1024).channels))


def _compare(
    inverter: Inverter,
    reference: Reference,
    pictures: np.ndarray,
    directions: Directions,
    options: Options,
) -> dict[str, Any]:
    neutral = directions.tiled(LAYERS)[directions.index("neutral")].astype(np.float32)

    def ours() -> Result:
        found = inversion.invert(inverter, pictures, passes=options.passes, batch=2)
        ready = normalisers.Transferrer(inverter, directions, k=options.k, batch=2)
        both = ready.prepare(found)
        result = normalisers.combine(both[0], both[1], options.alpha)
        picture = inversion.synthesize(inverter, result)
        return Result(np.asarray(found.w_plus[:1]), np.asarray(result.w_plus), picture)

    def theirs() -> Result:
        return reference.transfer(pictures, neutral, options.k, options.alpha)

    calls = {"emojax": ours, "torch": theirs} if options.torch else {"emojax": ours}
    results = {name: call() for name, call in calls.items()}  # a warm-up for the times
    figures = {}
    if options.repeats:
        times = machine.seconds_in_turns(calls, warmup=0, repeats=options.repeats)
        figures = {f"{name}_s": taken["best_s"] for name, taken in times.items()}
    if options.torch:
        figures |= _differences(results["emojax"], results["torch"])
    if options.torch and options.repeats:
        figures["ratio"] = round(figures["torch_s"] / figures["emojax_s"], 3)
    return figures


def _differences(ours: Result, theirs: Result) -> dict[str, float]:
    norm = np.linalg.norm
    found = {
        "codes_difference": norm(ours.codes - theirs.codes) / norm(theirs.codes - theirs.source),
        "picture_difference": norm(ours.picture - theirs.picture) / norm(theirs.picture),
    }
    found = {name: float(value) for name, value in found.items()}
    if not max(found.values()) < TOLERANCE:
        raise UserError(f"the transfer is not torch's: {found}, wanted below {TOLERANCE}")
    return found


if __name__ == "__main__":
    cli(main)
