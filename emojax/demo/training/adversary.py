"""Losses of the generator's last stage, which make its pictures as sharp as the drawings.

A perceptual distance to the drawing of the same latent, and StyleGAN2's non-saturating loss with
its R1 penalty. The regression's own loss goes on beside them. Generator and discriminator learn in
the same step, each from its own part of the loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.demo.training.discriminator import Discriminator
from emojax.models.efficientnet import EmotionNet
from emojax.training import feature_losses
from emojax.training.loop import Metrics

AVERAGE = 0.998
"""Decay of the moving average of parameters, StyleGAN2's for stages this short."""
_PERCEPTUAL_WEIGHT = 0.1
_ADVERSARIAL_WEIGHT = 0.035
"""The loss is then about as large as that of the regression, which it takes half a decibel from."""
_RAMP = 100
"""Steps in which the adversarial loss gets its weight, while the discriminator learns to see."""
_R1_WEIGHT = 0.1
_R1_SHARE = 4
"""One of so many pictures gets the R1 penalty."""
_JUDGE_WEIGHT = 0.1
"""Of the discriminator's loss: nothing to Adam, but gradients are clipped by their common norm."""
_RATE_FACTOR = 2.0
"""Of the discriminator, which Adam trains."""


class Adversaries(nnx.Module):
    """A generator with its regression, the discriminator, and how many steps both have learnt."""

    def __init__(self, student: Any, channels: Sequence[int], *, rngs: nnx.Rngs) -> None:
        self.student = student
        self.discriminator = Discriminator(channels, rngs=rngs)
        self.seen = nnx.Variable(jnp.zeros((), jnp.float32))


def losses(
    model: Adversaries, features: EmotionNet, made: jax.Array, drawn: jax.Array
) -> tuple[jax.Array, Metrics]:
    """Return what is added to the regression's loss, and metrics.

    Args:
        model: generator and discriminator; counts the step.
        features: the feature network.
        made: the generator's pictures [N,R,R,3].
        drawn: the drawings of the same latents.
    """
    near = feature_losses.distance(features, made, drawn)
    graph, state = nnx.split(model.discriminator)
    fixed = nnx.merge(graph, jax.lax.stop_gradient(state))
    ramp = jnp.minimum(model.seen[...] / _RAMP, 1.0)
    model.seen[...] = model.seen[...] + 1.0
    fooled = jnp.mean(jax.nn.softplus(-fixed(made)))

    scores = model.discriminator(jnp.concatenate([jax.lax.stop_gradient(made), drawn]))
    false, true = jnp.split(scores, 2)
    told = jnp.mean(jax.nn.softplus(false)) + jnp.mean(jax.nn.softplus(-true))
    few = drawn[: max(1, len(drawn) // _R1_SHARE)]
    slope = jax.grad(lambda x: model.discriminator(x).mean((1, 2)).sum())(few)
    penalty = jnp.mean(jnp.sum(jnp.square(slope), (1, 2, 3)))
    total = _PERCEPTUAL_WEIGHT * near + _ADVERSARIAL_WEIGHT * ramp * fooled
    total = total + _JUDGE_WEIGHT * (told + 0.5 * _R1_WEIGHT * penalty)
    return total, {"perceptual": near, "fooled": fooled, "told": told, "r1": penalty}


def rate_factor(name: str, student: Callable[[str], float]) -> float:
    """Return the factor on the learning rate of a parameter of `Adversaries`."""
    if name.startswith("discriminator."):
        return _RATE_FACTOR
    return student(name.removeprefix("student."))
