"""Stages on photographs: pSp's encoder, HyperStyle's hypernetwork, and the emotion classifier.

Row i of all batches draws what is random about it from `fold_in(key, i)`: a photograph is mirrored
or not, a generated face has its code. Results do therefore not depend on the number of devices, but
for the order of sums.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from emojax.models.efficientnet import EmotionNet
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.nn.pooling import area_mean
from emojax.runtime.choices import Crop
from emojax.scoring import classifier
from emojax.scoring.sampling import draw_w
from emojax.training import hypernet
from emojax.training.loop import Metrics, Stage
from emojax.training.losses import Critics, Weights, likeness

STATISTICS = 0.5
"""Share of the steps with batch statistics, of an encoder that starts from the beginning."""
_SPREAD = 4096
"""Codes that the variance of codes is measured with."""
_NEAR = 1e-12
"""Added to the squared length of a code, whose root has no gradient at 0."""

Sheet = Callable[[Any, Path], None]
Faces = Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]]
"""First step to batches, see `photographs.batches`."""


@dataclasses.dataclass(frozen=True)
class Course:
    """What stages on photographs share.

    Attributes:
        name: of the stage.
        faces: batches of photographs.
        real: photographs of a batch, of all processes together.
        made: generated faces of a batch.
        steps: number of updates.
        rate: peak learning rate.
        average: decay of the moving average that is the result.
        seed: of what is random.
        optimiser: "adam", or "muon" for matrices.
        sheet: see `Stage`.
    """

    name: str
    faces: Faces
    real: int
    steps: int
    rate: float
    average: float
    seed: int
    made: int = 0
    optimiser: Literal["adam", "muon"] = "adam"
    sheet: Sheet | None = None

    def stage(self, model: nnx.Module, loss: Callable[..., Any], frozen: Any, **more: Any) -> Stage:
        """Return the stage of a model; arguments as for `Stage`."""
        return Stage(
            self.name,
            model,
            None,
            loss,
            frozen,
            self.steps,
            self.rate,
            muon=self.optimiser == "muon",
            average=self.average,
            sheet=self.sheet,
            stored="float32",
            rows=self.rows,
            **more,
        )

    def rows(self, start: int) -> "Iterator[Rows]":
        """Yield this process's rows of every batch from a step on."""
        for step, (places, pictures) in enumerate(self.faces(start), start):
            yield Rows(
                places.astype(np.int32),
                pictures,
                _mine(step, self.real),
                _mine(step, self.made),
                np.full(len(pictures), step, np.uint32),
            )


class Rows(NamedTuple):
    """The rows of a batch that one process or device has.

    Attributes:
        places: [P] of photographs, in the rows that are trained on.
        pictures: uint8 [P,R,R,3], their faces.
        real: [P] numbers of these rows among those of all batches.
        made: [G] the same of generated faces.
        step: [P] number of the step, the same in all rows.
    """

    places: Any
    pictures: Any
    real: Any
    made: Any
    step: Any


def _mine(step: int, count: int) -> np.ndarray:
    """Return the numbers of this process's rows of a step, of `count` rows of all processes."""
    each = count // jax.process_count()
    first = (step * count + each * jax.process_index()) % 2**32
    return (np.arange(each, dtype=np.uint64) + first).astype(np.uint32)


def mirrored(key: jax.Array, numbers: jax.Array, pictures: jax.Array) -> jax.Array:
    """Return pictures uint8 [P,R,R,3] in [-1, 1], every second one mirrored at random."""
    found = (pictures.astype(jnp.float32) / 255 - 0.5) / 0.5
    flip = jax.vmap(lambda i: jax.random.bernoulli(jax.random.fold_in(key, i)))(numbers)
    return jnp.where(flip[:, None, None, None], found[:, :, ::-1], found)


class CodeWeights(NamedTuple):
    """Weights of an encoder's losses of codes.

    Attributes:
        average: of the codes' distance from the average code, pSp's w-norm.
        known: of the distance from the codes of generated faces, in variances of codes.
    """

    average: float = 0.0
    known: float = 0.1


class Judges(NamedTuple):
    """What an encoder is trained against; none of it changes.

    Attributes:
        generator: whose codes are found.
        critics: networks of the losses.
        spread: [] mean variance of the generator's codes.
    """

    generator: Generator
    critics: Critics
    spread: np.ndarray


def judges(generator: Generator, critics: Critics) -> Judges:
    """Return what an encoder of a generator is trained against."""
    codes = jax.jit(draw_w)(generator, jax.random.key(0), jnp.arange(_SPREAD, dtype=jnp.uint32))
    return Judges(generator, critics, np.asarray(np.var(codes, axis=0).mean(), np.float32))


def psp(
    course: Course,
    model: Encoder,
    frozen: Judges,
    weights: Weights,
    code_weights: CodeWeights,
    *,
    statistics: float,
) -> Stage:
    """Return the stage of an encoder to W or W+, on photographs and generated faces.

    Args:
        course: of the stage.
        model: the encoder.
        frozen: what it is trained against.
        weights: of the losses of pictures.
        code_weights: of the losses of codes.
        statistics: see `Stage`.
    """
    key = jax.random.key(course.seed)

    def loss(model: Encoder, frozen: Judges, rows: Rows) -> tuple[jax.Array, Metrics]:
        generator, side = frozen.generator, model.config.resolution
        real, drawing = jax.random.split(key)
        pictures = mirrored(real, rows.real, rows.pictures)
        w = jnp.zeros((0, generator.config.style_dim))
        if len(rows.made):
            w = draw_w(generator, drawing, rows.made)
            made = generator.synthesis(generator.w_plus(w)).clip(-1, 1)
            pictures = jnp.concatenate([area_mean(made, side), pictures])
        codes = model(pictures)
        again = area_mean(generator.synthesis(codes), side)
        total, metrics = likeness(frozen.critics, weights, again, pictures)
        if len(rows.made) and code_weights.known:
            missed = jnp.square(codes[: len(w)] - w[:, None])
            metrics["known"] = known = missed.mean() / frozen.spread
            total = total + code_weights.known * known
        if code_weights.average:
            off = jnp.square(codes - generator.latent_avg[...]).sum((1, 2))
            total = total + code_weights.average * jnp.sqrt(off + _NEAR).mean()
        return total, metrics

    return course.stage(
        model,
        loss,
        frozen,
        statistics=statistics,
        rate_factor=lambda name: 0.0 if name.startswith("latent_avg") else 1.0,
    )


def hyperstyle(
    course: Course,
    model: Hypernet,
    frozen: hypernet.Frozen,
    weights: Weights,
    *,
    begin: Callable[[Any], Hypernet] | None = None,
) -> Stage:
    """Return the stage of a hypernetwork, on photographs and generated faces.

    Args:
        course: of the stage.
        model: the hypernetwork.
        frozen: what it is trained with.
        weights: of the losses.
        begin: see `Stage`.
    """
    key = jax.random.key(course.seed)

    def loss(model: Hypernet, frozen: hypernet.Frozen, rows: Rows) -> tuple[jax.Array, Metrics]:
        generator = frozen.generator
        real, drawing, passes = jax.random.split(key, 3)
        pictures = mirrored(real, rows.real, rows.pictures)
        if len(rows.made):
            w = draw_w(generator, drawing, rows.made)
            made = generator.synthesis(generator.w_plus(w)).clip(-1, 1)
            pictures = jnp.concatenate([area_mean(made, model.config.resolution), pictures])
        step = jax.random.fold_in(passes, rows.step[0])
        before = jax.random.randint(step, (), 0, hypernet.PASSES)
        return hypernet.pass_loss(model, frozen, weights, pictures, before)

    return course.stage(model, loss, frozen, begin=begin)


class Labels(NamedTuple):
    """Classes of the photographs that are trained on.

    Attributes:
        classes: [n] of the rows.
        weights: [K] of the classes in the loss.
    """

    classes: np.ndarray
    weights: np.ndarray


def class_weights(labels: np.ndarray, count: int) -> np.ndarray:
    """Return weights [K] by which every class that there is counts alike, 0 for the others."""
    sizes = np.bincount(labels, minlength=count)
    there = sizes > 0
    weights = np.divide(len(labels), there.sum() * sizes, where=there, out=np.zeros(count))
    return weights.astype(np.float32)


def emotion(
    course: Course,
    model: EmotionNet,
    frozen: Labels,
    *,
    crop: Crop,
    whole: bool,
    bfloat16: bool = False,
) -> Stage:
    """Return the stage of an emotion classifier: cross-entropy with weights of the classes.

    Its BatchNorm statistics stay as they are.

    Args:
        course: of the stage.
        model: the classifier.
        frozen: labels of the photographs.
        crop: what the classifier sees.
        whole: train all layers, else the last alone.
        bfloat16: compute the features in bfloat16.
    """
    key, count = jax.random.key(course.seed), len(model.config.classes)

    def loss(model: EmotionNet, frozen: Labels, rows: Rows) -> tuple[jax.Array, Metrics]:
        pictures = mirrored(key, rows.real, rows.pictures)
        x = classifier.preprocess(pictures, model.config.size, crop=crop, as_uint8=False)
        features = (
            _halved(model).features(x.astype(jnp.bfloat16)) if bfloat16 else model.features(x)
        )
        features = features.astype(jnp.float32)
        features = features if whole else jax.lax.stop_gradient(features)
        logits = model.classifier(features)[:, :count]
        labels = jnp.asarray(frozen.classes)[rows.places]
        missed = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]
        right = (logits.argmax(-1) == labels).astype(jnp.float32)
        weighed = jnp.asarray(frozen.weights)[labels] * missed
        return weighed.mean(), {"right": right.mean()}

    return course.stage(
        model,
        loss,
        frozen,
        rate_factor=lambda name: 1.0 if whole or name.startswith("classifier.") else 0.0,
    )


def _halved(model: EmotionNet) -> EmotionNet:
    """Return a network with parameters in bfloat16; gradients reach those in float32."""
    graph, state = nnx.split(model)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), state)
    return nnx.merge(graph, half)
