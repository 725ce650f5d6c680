"""Training of an inverter on photographs: pSp's encoder, or HyperStyle's hypernetwork."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.latents import inversion
from emojax.latents.inverter import Inverter
from emojax.metrics import comparison
from emojax.models.hyperstyle import Hypernet, HypernetConfig
from emojax.models.psp import Encoder, EncoderConfig
from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime.choices import InverterName
from emojax.runtime.progress import Progress
from emojax.store.bundle import Bundle
from emojax.store.parts import FEATURES, HYPERSTYLE, IDENTITY, PSP, STYLEGAN2, W_ENCODER
from emojax.training import held_out, hypernet, stages
from emojax.training.loop import Stage
from emojax.training.losses import Critics, Weights
from emojax.training.options import InverterTraining, Psp
from emojax.training.photographs import Photographs
from emojax.training.sources import open_source
from emojax.training.stages import CodeWeights, Course
from emojax.training.task import Task

_INPUT = 256
"""Side of an encoder's input, unless the generator's pictures are smaller."""
_FEATURES = 0.05
"""Weight of the distance in a bundle's own feature network."""


def task(options: InverterTraining, base: Bundle) -> Task:
    """Return what training an inverter adds to a run.

    Raises:
        UserError: a part of the bundle is damaged or made for another generator, or the
            photographs cannot be read.
    """
    trained: InverterName = "psp" if isinstance(options, Psp) else "hyperstyle"
    started = None if options.scratch else inversion.load(base, trained)
    generator = base.config(STYLEGAN2)
    if isinstance(options, Psp):
        config: Any = _encoder_config(base, generator)
    else:
        config = _hypernet_config(base, generator)
    side = config.resolution
    networks = comparison.load(base)
    critics, weights, notes = _losses(options, base, networks)
    return Task(
        side,
        open_source(options, (side, generator.size)),
        notes,
        config,
        functools.partial(_stage, options, base, config, critics, weights),
        functools.partial(_measure, started or _opened(base, trained), networks),
        started is not None,
        "Photographs that were not trained on, and what becomes of them.",
        functools.partial(_sheet, started or _opened(base, trained), started is not None),
    )


def _opened(base: Bundle, trained: InverterName) -> Inverter:
    """Return an inverter whose trained network is not there yet."""
    encoder = None if trained == "psp" else base.load(W_ENCODER)
    return Inverter(cast(Generator, base.load(STYLEGAN2)), encoder, method=trained)


def _losses(
    options: InverterTraining, base: Bundle, networks: comparison.Networks
) -> tuple[Critics, Weights, list[str]]:
    """Return the networks and weights of the losses, and sentences about those left out."""
    own = networks.lpips is None and base.has(FEATURES)
    features = base.load(FEATURES) if own else None
    perceptual = options.lpips if options.lpips is not None else _FEATURES if own else 0.8
    notes = [
        f"{line}; the distance in the bundle's own feature network stands in for it"
        if own and line.startswith(f"no {comparison.TITLES['lpips']}:")
        else line
        for line in comparison.missing(base)
    ]
    weights = Weights(options.l2, perceptual, options.identity)
    critics = Critics.of(networks, features)
    return (
        Critics(
            critics.perceptual if weights.perceptual else None,
            critics.identity if weights.identity else None,
        ),
        weights,
        notes,
    )


def _encoder_config(base: Bundle, generator: GeneratorConfig) -> EncoderConfig:
    """Return the config of the bundle's encoder, or of a new one."""
    if base.has(PSP):
        return base.config(PSP)
    return EncoderConfig(
        n_styles=generator.n_latent,
        style_dim=generator.style_dim,
        average_rows=generator.n_latent,
        resolution=min(_INPUT, generator.size),
    )


def _hypernet_config(base: Bundle, generator: GeneratorConfig) -> HypernetConfig:
    """Return the config of the bundle's hypernetwork, or of a new one."""
    if base.has(HYPERSTYLE):
        return base.config(HYPERSTYLE)
    count = generator.n_deltas
    published = set(HypernetConfig().layers)
    return HypernetConfig(
        layers=tuple(i for i in range(count) if i in published),
        n_deltas=count,
        channels=generator.channels,
        resolution=base.config(W_ENCODER).resolution,
    )


def _stage(
    options: InverterTraining,
    base: Bundle,
    config: Any,
    critics: Critics,
    weights: Weights,
    photographs: Photographs,
    rows: np.ndarray,
    course: Course,
) -> Stage:
    """Return the stage of a run, see `Task`."""
    half = {"dtype": "bfloat16"} if options.bfloat16 else {}
    generator = base.load(STYLEGAN2, **({"bfloat16_from": 8} if options.bfloat16 else {}))
    config = dataclasses.replace(config, **half)
    if isinstance(options, Psp):
        model = (
            _first_encoder(base, config, generator, options.seed)
            if options.scratch
            else (base.load(PSP, **half))
        )
        frozen = stages.judges(generator, critics)
        codes = CodeWeights(options.average_code, options.code)
        statistics = stages.STATISTICS if options.scratch else 0.0
        return stages.psp(course, model, frozen, weights, codes, statistics=statistics)
    encoder = base.load(W_ENCODER, **half)
    begin = None
    if options.scratch:
        model = hypernet.initial(config, options.seed)
        begin = _calibration(generator, encoder, photographs, rows, course)
    else:
        model = base.load(HYPERSTYLE, **half)
    frozen = hypernet.Frozen(generator, encoder, critics)
    return stages.hyperstyle(course, model, frozen, weights, begin=begin)


def _first_encoder(base: Bundle, config: EncoderConfig, generator: Generator, seed: int) -> Encoder:
    """Return an encoder at its beginning: ArcFace's trunk where the bundle has it, mean code."""
    model = Encoder(config, rngs=nnx.Rngs(seed))
    if base.has(IDENTITY):
        trunk = nnx.state(base.load(IDENTITY).trunk)
        shapes = [jax.tree.map(jnp.shape, each) for each in (trunk, nnx.state(model.trunk))]
        if shapes[0] == shapes[1]:
            nnx.update(model.trunk, trunk)
    if model.latent_avg is not None:
        average = generator.latent_avg[...]
        model.latent_avg[...] = jnp.broadcast_to(average, model.latent_avg.shape)
    return model


def _calibration(
    generator: Generator,
    encoder: Encoder,
    photographs: Photographs,
    rows: np.ndarray,
    course: Course,
) -> Callable[[Hypernet], Hypernet]:
    """Return what sets a new hypernetwork's statistics; the same in every process."""

    def begin(model: Hypernet) -> Hypernet:
        order = itertools.islice(itertools.cycle(rows), hypernet.CALIBRATED * course.real)
        chosen = np.array(list(order)).reshape(hypernet.CALIBRATED, course.real)
        faces = (jnp.asarray(photographs.read(each) / 127.5 - 1, jnp.float32) for each in chosen)
        return hypernet.calibrated(model, generator, encoder, faces)

    return begin


def _replaced(inverter: Inverter, network: Any) -> Inverter:
    """Return an inverter with the trained network in the place of its own."""
    if network is None:
        return inverter
    place = "hypernet" if isinstance(network, Hypernet) else "encoder"
    return dataclasses.replace(inverter, **{place: network})


def _measure(
    inverter: Inverter,
    networks: comparison.Networks,
    network: Any,
    photographs: Photographs,
    rows: np.ndarray,
    shown: Progress,
) -> dict[str, float]:
    """Return measures of reconstructions, see `Task`."""
    inverter = _replaced(inverter, network)
    return held_out.likeness(inverter, networks, photographs, rows, hypernet.PASSES, shown)


def _sheet(
    inverter: Inverter,
    has: bool,
    network: Any,
    photographs: Photographs,
    rows: np.ndarray,
    file: Path,
) -> None:
    """Write photographs and below each what becomes of it, before and after; see `Task`."""
    faces = photographs.read(rows)
    drawn = {"photograph": faces}
    if has:
        drawn["before"] = held_out.reconstructed(inverter, faces, hypernet.PASSES)
    drawn["after"] = held_out.reconstructed(_replaced(inverter, network), faces, hypernet.PASSES)
    labels = [name for name in drawn for _ in rows]
    held_out.write_sheet(file, np.concatenate([*drawn.values()]), labels, columns=len(rows))
