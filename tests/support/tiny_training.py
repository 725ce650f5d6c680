"""Train a network of four numbers by the demo loop: `python -m tests.support.tiny_training OUT`."""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro
from flax import nnx

from emojax.nn.conv_norm import ConvNorm
from emojax.runtime.cli import cli
from emojax.training.loop import Loop, Stage, fit

STEPS = 300


class Small(nnx.Module):
    """One normalised convolution that learns to double its input."""

    def __init__(self) -> None:
        self.layer = ConvNorm(1, 1, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [B,H,W,1] to the same shape."""
        return self.layer(x)


def stage() -> Stage:
    """Return a stage of `STEPS` steps, slow enough to be killed in between."""

    def draw(key: jax.Array, _: jax.Array) -> jax.Array:
        time.sleep(0.002)
        return jax.random.normal(key, (4, 2, 2, 1))

    def loss(model: Small, frozen: jax.Array, x: jax.Array) -> tuple:
        return jnp.mean(jnp.square(model(x) - frozen * x)), {"twice": 2 * x.mean()}

    return Stage("small", Small(), draw, loss, jnp.float32(2), STEPS, 0.05, statistics=0.5)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags."""

    out: tyro.conf.Positional[Path]
    """Folder of checkpoints and logs."""


def main(options: Options) -> None:
    """Train, with a checkpoint every 50 steps."""
    fit(stage(), options.out, 0, Loop(save_every=0.0))


if __name__ == "__main__":
    cli(main)
