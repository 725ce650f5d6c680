"""Synthesis and classification beside PyTorch: pictures per second with the same weights.

    python -m benchmarks.scoring                     1024², EfficientNet-B0, batch 2
    python -m benchmarks.scoring --cases 256x8 --no-compile
    python -m benchmarks.scoring --cases 1024x64 --dtypes bfloat16 --bfloat16-from 8    on a GPU

Both frameworks compute z, w, pictures, crop, resizing and probabilities on the device in one
process. emojax runs the program of `python -m emojax.score`; PyTorch runs in the published form and
in the fastest form known to us (see `benchmarks.stylegan2`), each also under torch.compile. Prints
one JSON line for each case and dtype. `error_of_spread` is the largest difference of a probability
divided by the standard deviation of probabilities between faces.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.machine import describe, emit, seconds_in_turns
from benchmarks.torch_models import channels_last
from benchmarks.torch_models.hsemotion import EfficientNet
from benchmarks.torch_models.stylegan2 import Form
from benchmarks.torch_models.stylegan2 import Generator as TorchGenerator
from convert import emotion as convert_emotion
from convert import stylegan as convert_stylegan
from emojax.models.efficientnet import EmotionConfig, EmotionNet
from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime import devices
from emojax.runtime.cli import cli
from emojax.scoring import classifier as emotions
from emojax.scoring import scorer as scoring
from emojax.scoring.sampling import draw_z
from emojax.store import weights
from emojax.store.score_table import ScoreSettings

GPU_BOUND = 2700
"""Upper bound of pictures per second on an H200, from memory traffic and arithmetic at 1024²."""

State = dict[str, np.ndarray]

SIDE = EmotionConfig.b0().size


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.scoring`."""

    cases: tuple[str, ...] = ("1024x2",)
    """Cases as RESOLUTIONxBATCH."""
    dtypes: tuple[str, ...] = ("float32",)
    """float32, or bfloat16 (convolutions of the generator from --bfloat16-from on)."""
    bfloat16_from: int = 64
    """Resolution from which on the generator is bfloat16; a GPU's own kernels start at 8."""
    repeats: int = 5
    """Timed rounds, after two untimed ones."""
    forms: tuple[Form, ...] = ("original", "best", "shifted")
    """Forms of the PyTorch generator (see `benchmarks.torch_models.stylegan2`)."""
    compile: bool = True
    """Also time both forms under torch.compile."""


class TorchPipeline(nn.Module):
    """Generator, HSEmotion's preprocessing and classifier."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, generator: TorchGenerator, classifier: EfficientNet) -> None:
        super().__init__()
        self.generator, self.classifier = generator, classifier
        self.register_buffer("mean", torch.tensor(emotions.MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(emotions.DEVIATION)[:, None, None])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map z [B, 512] to probabilities [B, 8]."""
        pictures = self.generator(z).float()
        size = pictures.shape[-1]
        top, bottom, left, right = (round(part * size) for part in emotions.FACE)
        levels = ((pictures.clamp(-1, 1) + 1) * 127.5).round()[..., top:bottom, left:right]
        face = F.interpolate(levels, (SIDE, SIDE), mode="bilinear", antialias=True).round()
        x = (face / 255 - self.mean) / self.deviation
        if self.generator.memory_format == torch.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.classifier(x).softmax(1)


def main(options: Options) -> None:
    """Run every case in every dtype."""
    devices.use_cores()
    torch.backends.cudnn.benchmark = True
    torch.set_grad_enabled(False)
    for case in options.cases:
        size, batch = map(int, case.split("x"))
        for dtype in options.dtypes:
            compare(size, batch, dtype, options)


def compare(size: int, batch: int, dtype: str, options: Options) -> None:
    """Time emojax and PyTorch on one case and print the line."""
    config = GeneratorConfig.published(size)
    states = random_states(config)
    half_from = options.bfloat16_from if dtype == "bfloat16" else None
    ids = range(batch)
    z = np.asarray(draw_z(jax.random.key(0), jnp.arange(batch, dtype=jnp.uint32), config.z_dim))
    ours = emojax_call(config, states, ids, half_from)
    calls = {"emojax": ours}
    forms: tuple[Form, ...] = options.forms
    for form in forms:
        for compiled in (False, True) if options.compile else (False,):
            name = f"torch {form}" + (", compiled" if compiled else "")
            calls[name] = torch_call(config, states, z, form, half_from, compiled)
    exact, figures = ours(), seconds_in_turns(calls, repeats=options.repeats)
    spread = float(exact.std(0).mean())  # between faces; small with random weights
    for name, call in calls.items():
        if call is not ours:
            figures[name]["error_of_spread"] = float(np.abs(call() - exact).max() / spread)
    rates = {name: batch / figure["median_s"] for name, figure in figures.items()}
    bound = jax.default_backend() == "gpu"
    emit(
        benchmark="scoring",
        size=size,
        batch=batch,
        dtype=dtype,
        pictures_per_second={name: round(rate, 3) for name, rate in rates.items()},
        faster_than={n: round(rates["emojax"] / r, 2) for n, r in rates.items() if n != "emojax"},
        share_of_bound=round(rates["emojax"] / GPU_BOUND, 3) if bound else None,
        probability_spread=spread,
        details=figures,
        **describe(),
    )


def random_states(config: GeneratorConfig) -> tuple[State, State]:
    """Return random weights of generator and classifier in the published layouts."""
    torch.manual_seed(0)
    generator, classifier = TorchGenerator(config.channels), EfficientNet()
    for module in classifier.modules():  # with torch's own, probabilities hardly depend on the face
        if isinstance(module, nn.BatchNorm2d):
            module.weight.fill_(0.9)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return _arrays(generator), _arrays(classifier)


def _arrays(model: nn.Module) -> State:
    return {name: array.numpy() for name, array in model.state_dict().items()}


def emojax_call(
    config: GeneratorConfig, states: tuple[State, State], ids: range, half_from: int | None
) -> Callable[[], np.ndarray]:
    """Return the timed call of emojax; it returns the probabilities on the host."""
    mean = np.zeros(config.style_dim, np.float32)
    found = convert_stylegan.Found("rosinality", "benchmark", states[0], mean)
    _, table, _, _ = convert_stylegan.convert(found)
    config = dataclasses.replace(config, bfloat16_from=half_from)
    generator = weights.load(weights.abstract(Generator, config), table)
    emotion_config, table, _ = convert_emotion.convert(states[1])
    emotion = weights.load(weights.abstract(EmotionNet, emotion_config), table)
    settings = ScoreSettings(
        "", "", emotion_config.classes, config.style_dim, len(ids), bfloat16_from=half_from
    )
    scorer = scoring.Scorer(generator, emotion, settings, batch=len(ids))
    return lambda: np.asarray(scorer(ids)[1])


def torch_call(
    config: GeneratorConfig,
    states: tuple[State, State],
    z: np.ndarray,
    form: Form,
    half_from: int | None,
    compiled: bool,
) -> Callable[[], np.ndarray]:
    """Return the timed call of a PyTorch form; it returns the probabilities on the host."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator, classifier = TorchGenerator(config.channels, form=form), EfficientNet()
    for model, state in zip((generator, classifier), states, strict=True):
        model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    generator.half_from = half_from
    if form != "original":
        generator.memory_format = torch.channels_last
        classifier = channels_last(classifier)
    pipeline = TorchPipeline(generator, classifier).eval().to(device)
    run = torch.compile(pipeline) if compiled else pipeline
    codes = torch.from_numpy(z.copy()).to(device)

    def call() -> np.ndarray:
        with torch.inference_mode():
            return run(codes).cpu().numpy()

    return call


if __name__ == "__main__":
    cli(main)
