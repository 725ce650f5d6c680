"""Generate and classify side by side with PyTorch: one process, same weights, pictures a second.

    python -m benchmarks.scoring                              1024², EfficientNet-B0, batch 2
    python -m benchmarks.scoring --cases 256x8 --no-compile
    python -m benchmarks.scoring --cases 1024x32 1024x64 --dtypes bfloat16 --bfloat16-from 8   on a GPU

Both go from z to w, picture, crop, resize and probabilities without leaving the device: emojax by
the program of `python -m emojax.score`, torch in the originals' form and in the best one we know
(see `benchmarks.stylegan2`), both also compiled whole. One JSON line a case and dtype;
`error_of_spread` is the largest difference of a probability over its deviation from face to face.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.machine import describe, emit, seconds_in_turns
from benchmarks.torch_models.hsemotion import EfficientNet
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
"""Pictures a second an H200 could do as XLA fuses today (design.md, cost of one picture)."""

SIDE = EmotionConfig.b0().size


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m benchmarks.scoring`."""

    cases: tuple[str, ...] = ("1024x2",)
    """Resolution x batch."""
    dtypes: tuple[str, ...] = ("float32",)
    """float32, bfloat16 (the generator from `bfloat16_from` upwards)."""
    bfloat16_from: int = 64
    """Resolution from which a bfloat16 generator is one; 8 on a GPU, whose kernels start there."""
    repeats: int = 5
    """Timed rounds after two to warm up; the versions take turns."""
    compile: bool = True
    """Also time torch.compile, in both forms."""


class TorchPipeline(nn.Module):
    """z [B, 512] to probabilities [B, 8], as HSEmotion prepares its pictures."""

    def __init__(self, generator: TorchGenerator, classifier: EfficientNet) -> None:
        super().__init__()
        self.generator, self.classifier = generator, classifier
        self.register_buffer("mean", torch.tensor(emotions.MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(emotions.DEVIATION)[:, None, None])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
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
    """Time emojax and torch on one case and print the line."""
    config = GeneratorConfig.published(size)
    states = random_states(config)
    half_from = options.bfloat16_from if dtype == "bfloat16" else None
    ids = range(batch)
    z = np.asarray(draw_z(jax.random.key(0), jnp.arange(batch, dtype=jnp.uint32), config.z_dim))
    ours = emojax_call(config, states, ids, half_from)
    calls = {"emojax": ours}
    for form in ("original", "best"):
        for compiled in (False, True) if options.compile else (False,):
            name = f"torch {form}" + (", compiled" if compiled else "")
            calls[name] = torch_call(config, states, z, form, half_from, compiled)
    exact, figures = ours(), seconds_in_turns(calls, repeats=options.repeats)
    spread = float(exact.std(0).mean())  # between faces: random weights tell them apart a little
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


def random_states(config: GeneratorConfig) -> tuple[dict, dict]:
    """Draw published-layout weights of generator and classifier, as NumPy."""
    torch.manual_seed(0)
    generator, classifier = TorchGenerator(config.size, config.channels), EfficientNet()
    for module in classifier.modules():  # torch's own start says the same of every face
        if isinstance(module, nn.BatchNorm2d):
            module.weight.fill_(0.9)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return tuple(
        {name: array.numpy() for name, array in model.state_dict().items()}
        for model in (generator, classifier)
    )


def emojax_call(
    config: GeneratorConfig, states: tuple[dict, dict], ids: range, half_from: int | None
):
    """Return the timed call of emojax; it returns the probabilities as NumPy."""
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
    states: tuple[dict, dict],
    z: np.ndarray,
    form: str,
    half_from: int | None,
    compiled: bool,
):
    """Return the timed call of a torch form; it returns the probabilities as NumPy."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator, classifier = TorchGenerator(config.size, config.channels, form=form), EfficientNet()
    for model, state in zip((generator, classifier), states, strict=True):
        model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    generator.half_from = half_from
    if form == "best":
        generator.memory_format = torch.channels_last
        classifier.to(memory_format=torch.channels_last)
    pipeline = TorchPipeline(generator, classifier).eval().to(device)
    run = torch.compile(pipeline) if compiled else pipeline
    codes = torch.from_numpy(z.copy()).to(device)

    def call() -> np.ndarray:
        with torch.inference_mode():
            return run(codes).cpu().numpy()

    return call


if __name__ == "__main__":
    cli(main)
