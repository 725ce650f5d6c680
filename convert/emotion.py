"""Convert a published HSEmotion classifier to the emotion part of a bundle.

    emojax convert emotion enet_b0_8_best_vgaf.pt --name ffhq

Takes enet_b0_8_best_vgaf.pt, _afew.pt, enet_b2_8.pt, the 7-class and the valence-arousal files:
whole pickled timm networks, read without timm or torch. Nothing in a file is executed. `python -m
convert.emotion` does the same, but not in a folder that has a convert.py of its own.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from convert import systems
from convert.options import Options as Common
from convert.reader import checkpoint_file, schema
from convert.report import file_source, save
from convert.rules import COUNTER, Ignored, Rule, apply, conv, expected, linear, norm, pointwise
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store.parts import EMOTION

if TYPE_CHECKING:
    from emojax.models.efficientnet import EmotionConfig
    from emojax.store.weights import Array


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Flags of the command."""

    size: int | None = None
    """Side of the input in pixels; default: 224 for b0, 260 for b2."""


IGNORED = [Ignored(r".*\.num_batches_tracked", COUNTER)]

BLOCK = r"stages\.(\d+)\.(\d+)"
FIRST = r"stages\.(0)\.(\d+)"  # has no expanding layer, so that layers are counted from the filter
RULES = [
    Rule(r"stem\.kernel", "conv_stem.weight", conv),
    *norm("stem", "bn1"),
    Rule(rf"{FIRST}\.project\.kernel", r"blocks.\1.\2.conv_pw.weight", conv),
    *norm(rf"{FIRST}\.filter", r"blocks.\1.\2.bn1"),
    *norm(rf"{FIRST}\.project", r"blocks.\1.\2.bn2"),
    Rule(rf"{BLOCK}\.expand\.kernel", r"blocks.\1.\2.conv_pw.weight", conv),
    Rule(rf"{BLOCK}\.filter\.kernel", r"blocks.\1.\2.conv_dw.weight", conv),
    Rule(rf"{BLOCK}\.project\.kernel", r"blocks.\1.\2.conv_pwl.weight", conv),
    *norm(rf"{BLOCK}\.expand", r"blocks.\1.\2.bn1"),
    *norm(rf"{BLOCK}\.filter", r"blocks.\1.\2.bn2"),
    *norm(rf"{BLOCK}\.project", r"blocks.\1.\2.bn3"),
    Rule(rf"{BLOCK}\.gate\.(reduce|expand)\.kernel", r"blocks.\1.\2.se.conv_\3.weight", pointwise),
    Rule(rf"{BLOCK}\.gate\.(reduce|expand)\.bias", r"blocks.\1.\2.se.conv_\3.bias"),
    Rule(r"head\.kernel", "conv_head.weight", conv),
    *norm("head", "bn2"),
    Rule(r"classifier\.kernel", "classifier.weight", linear),
    Rule(r"classifier\.bias", "classifier.bias"),
]


def recognise(source: Mapping[str, np.ndarray]) -> "EmotionConfig":
    """Return the config that the tensors have by their shapes: width, depth and classes.

    Raises:
        UserError: this is no EfficientNet of this family, or its number of outputs is another than
            that of the published files.
    """
    from emojax.models import efficientnet as network  # late: imports JAX

    eight, seven = network.EIGHT, network.SEVEN
    heads = {8: (eight, False), 7: (seven, False), 10: (eight, True)}  # True: valence and arousal
    try:
        features, outputs = source["conv_head.weight"].shape[0], source["classifier.bias"].shape[0]
    except (KeyError, IndexError) as error:
        missing = error if isinstance(error, KeyError) else "classifier of the right shape"
        raise UserError(
            f"the file has no {missing}: wanted an HSEmotion enet_b0 or enet_b2 file"
        ) from error
    if outputs not in heads:
        raise UserError(
            f"the classifier has {outputs} outputs: wanted 8 or 7 emotions, or 8 with valence "
            "and arousal"
        )
    classes, valence_arousal = heads[outputs]
    base = network.EmotionConfig(classes=classes, valence_arousal=valence_arousal)
    counts = tuple(_blocks(source, stage) for stage in range(len(network.STAGES)))
    wanted = {
        depth: tuple(math.ceil(stage[-1] * depth) for stage in network.STAGES)
        for depth in (step / 20 for step in range(2, 81))
    }
    b2 = network.EmotionConfig.b2()
    for known in (base, dataclasses.replace(base, width=b2.width, depth=b2.depth, size=b2.size)):
        if features == known.channels(1280) and counts == wanted[known.depth]:
            return known
    for depth, blocks in wanted.items():
        if counts == blocks:
            return dataclasses.replace(base, width=features / 1280, depth=depth)
    raise UserError(
        f"the file has {counts} blocks in its stages: wanted {wanted[1.0]} (b0), {wanted[1.2]} "
        "(b2) or another multiple of b0"
    )


def convert(
    source: Mapping[str, np.ndarray], *, size: int | None = None
) -> "tuple[EmotionConfig, dict[str, Array], dict[str, str]]":
    """Return config, table and {ignored key: reason} of a published state dict.

    Args:
        source: the state dict under timm's names.
        size: side of the input in pixels where it is not the architecture's own.

    Raises:
        UserError: see `recognise` and `convert.rules.apply`.
    """
    source = {
        re.sub(r"^classifier\.0\.", "classifier.", key): value for key, value in source.items()
    }
    config = recognise(source)
    if size is not None:
        config = dataclasses.replace(config, size=size)
    table, left = apply(RULES, IGNORED, expected(EMOTION, config), source)
    return config, table, left


def main(options: Options) -> None:
    """Convert one file and print a summary."""
    folder = options.folder
    state = schema.table(
        checkpoint_file.state_dict(systems.load(options.file, "emotion")), str(options.file)
    )
    config, table, ignored = convert(state, size=options.size)
    source = file_source(options.file, "timm", "the whole network", ignored)
    source["classifier"] = next(key for key in state if key.startswith("classifier."))
    facts = {"classes": ", ".join(config.classes)}
    save(folder, EMOTION, config, table, source, **facts)


def _blocks(source: Mapping[str, np.ndarray], stage: int) -> int:
    """Return how many blocks a stage has."""
    return next(i for i in itertools.count() if f"blocks.{stage}.{i}.conv_dw.weight" not in source)


if __name__ == "__main__":
    cli(main)
