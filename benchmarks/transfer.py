"""Emotion transfer at 1024² as in the paper, beside PyTorch with the same weights.

    python -m benchmarks.transfer
    python -m benchmarks.transfer --only psp --no-torch

Two faces are inverted, made neutral (Equation 2), synthesised, inverted again and combined
(Equation 4), and the result is synthesised. Weights are random, in the published layouts; PyTorch
runs the published loops and the equations written out. Prints one JSON line for each method:
seconds per pair after a warm-up, their ratio and the relative difference of the results, for codes
relative to the change that the transfer made to the source's. A difference above TOLERANCE is an
error.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from benchmarks import inversion as inversions
from benchmarks import machine
from benchmarks.torch_models import encoders, hyperstyle
from benchmarks.torch_models.encoders import GradualStyleEncoder
from benchmarks.torch_models.stylegan2 import Deltas, Generator
from convert import psp as convert_psp
from emojax.latents import inversion, normalisers
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.models import psp, stylegan2
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError

TOLERANCE = 1e-3
"""Relative difference allowed between the float32 results of both frameworks."""
EMOTIONS = ("neutral", "happiness")
LAYERS, WIDTH = 18, 512


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.transfer`."""

    only: Literal["psp", "hyperstyle", "both"] = "both"
    """Methods to run."""
    passes: int = 5
    """Passes of HyperStyle."""
    k: float = 20.0
    """Step k of Equation 2."""
    alpha: float = 0.8
    """Weight of the target's expression in Equation 4."""
    repeats: int = 1
    """Timed runs after a warm-up, of which the fastest counts; 0: only compare the results."""
    threads: int = os.cpu_count() or 1
    """CPU threads of PyTorch."""
    torch: bool = True
    """Also run PyTorch."""


def main(options: Options) -> None:
    """Run the chosen methods."""
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
            inverter, reference = build()
            figures = _compare(inverter, reference, pictures, directions, options)
            machine.emit(benchmark="transfer", method=name, **figures, **machine.describe())


class Result(NamedTuple):
    """Codes of the source and of the result [1,18,512], and the result's picture, NHWC."""

    source: np.ndarray
    codes: np.ndarray
    picture: np.ndarray


class Reference:
    """The same networks and steps in PyTorch; without `hypernet` the encoder is pSp's."""

    def __init__(
        self,
        generator: Generator,
        encoder: torch.nn.Module,
        hypernet: torch.nn.Module | None,
    ) -> None:
        self.generator, self.encoder, self.hypernet = generator, encoder, hypernet

    def invert(self, x: torch.Tensor, passes: int) -> tuple[torch.Tensor, Deltas | None]:
        """Return codes [B,18,512] and weight offsets (None for pSp) of pictures [B,3,256,256]."""
        if self.hypernet is None:
            return self.encoder(x), None
        average = torch.zeros(LAYERS, WIDTH, device=x.device)
        parts = (self.generator, self.encoder, average, self.hypernet)
        return hyperstyle.invert(*parts, x, passes)[:2]

    def transfer(self, pictures: np.ndarray, neutral: np.ndarray, options: Options) -> Result:
        """Transfer the expression of face 1 to face 0.

        Args:
            pictures: [2,256,256,3] in [-1, 1].
            neutral: [18,512], the neutral direction, of unit norm.
            options: k, alpha and the number of passes.
        """
        direction = torch.from_numpy(neutral).to(inversions.device())
        codes, deltas = self.invert(inversions.nchw(pictures), options.passes)
        along = (codes * direction).sum((1, 2), keepdim=True)
        without = codes - along * direction + options.k * direction
        drawn = self.generator.synthesis(without, deltas)
        shown = functional.adaptive_avg_pool2d(drawn.clamp(-1, 1), 256)
        again, changes = self.invert(shown, options.passes)
        source, target = (codes - again).split(1)
        result = options.alpha * target + (1 - options.alpha) * source + again[:1]
        own = None if changes is None else [None if d is None else d[:1] for d in changes]
        picture = self.generator.synthesis(result, own)
        arrays = (codes[:1], result, picture.permute(0, 2, 3, 1))
        return Result(*(machine.on_host(each) for each in arrays))


def _psp() -> tuple[Inverter, Reference]:
    generator, encoder = _generator(), inversions.settled(GradualStyleEncoder())
    state = {f"encoder.{key}": value for key, value in inversions.arrays(encoder).items()}
    mean, float32 = np.zeros((LAYERS, WIDTH), np.float32), inversions.Options()
    config, table, _ = convert_psp.convert(state, "gradual", LAYERS, mean)
    ours = inversions.loaded(psp.Encoder, config, table, float32)
    inverter = Inverter(inversions.generator_of(generator, mean[0], float32), ours)
    return inverter, Reference(generator, encoder, None)


def _hyperstyle() -> tuple[Inverter, Reference]:
    generator = _generator()
    encoder = inversions.settled(encoders.WEncoder())
    hypernet = inversions.settled(hyperstyle.Hypernet())
    mean = np.zeros((LAYERS, WIDTH), np.float32)
    inverter = inversions.hyperstyle_inverter(
        generator, encoder, hypernet, mean, inversions.Options()
    )
    return inverter, Reference(generator, encoder, hypernet)


def _generator() -> Generator:
    return inversions.settled(Generator(stylegan2.GeneratorConfig.published(1024).channels))


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
        return reference.transfer(pictures, neutral, options)

    calls: dict[str, Callable[[], Result]]
    calls = {"emojax": ours, "torch": theirs} if options.torch else {"emojax": ours}
    results = {name: call() for name, call in calls.items()}  # also the warm-up
    figures: dict[str, float] = {}
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
        raise UserError(f"the results differ from PyTorch's by {found}, wanted below {TOLERANCE}")
    return found


if __name__ == "__main__":
    cli(main)
