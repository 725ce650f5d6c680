"""HSEmotion files (`enet_b0_8_best_vgaf.pt` and its siblings) to the "emotion" part of a bundle.

The published files are whole pickled timm networks; `convert.reader.torch_file` reads them
without timm or torch.

    python -m convert.emotion enet_b0_8_best_vgaf.pt --name ffhq
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping

import numpy as np

from convert.options import Options as Common
from convert.reader import torch_file
from convert.report import file_source, save
from convert.rules import Ignored, Rule, apply, conv, linear, norm, pointwise
from emojax.models.efficientnet import EIGHT, SEVEN, STAGES, EmotionConfig, EmotionNet
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store import weights
from emojax.store.parts import EMOTION


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Flags of `python -m convert.emotion`."""

    size: int | None = None
    """Side of the input in pixels; default: 224 for b0, 260 for b2."""


HEADS = {8: (EIGHT, False), 7: (SEVEN, False), 10: (EIGHT, True)}
"""Outputs of the published files: classes, and whether valence and arousal follow."""

IGNORED = [Ignored(r".*\.num_batches_tracked", "counts training steps")]


BLOCK = r"stages\.(\d+)\.(\d+)"
FIRST = r"stages\.(0)\.(\d+)"  # the stage that does not expand counts its layers from the filter
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


def recognise(source: Mapping[str, np.ndarray]) -> EmotionConfig:
    """Read width, depth and head from the tensors' shapes.

    Raises:
        UserError: this is not an EfficientNet of this family, or its head is not one of ours.
    """
    try:
        features, outputs = source["conv_head.weight"].shape[0], source["classifier.bias"].shape[0]
    except KeyError as error:
        raise UserError(
            f"the file has no {error}: wanted an HSEmotion enet_b0 or enet_b2 file"
        ) from error
    if outputs not in HEADS:
        raise UserError(
            f"the classifier has {outputs} outputs: wanted 8 or 7 emotions, or 8 with valence "
            "and arousal"
        )
    classes, valence_arousal = HEADS[outputs]
    head = {"classes": classes, "valence_arousal": valence_arousal}
    counts = tuple(_blocks(source, stage) for stage in range(len(STAGES)))
    for config in (EmotionConfig.b0(**head), EmotionConfig.b2(**head)):
        if features == config.channels(1280) and counts == _counts(config.depth):
            return config
    for depth in (step / 20 for step in range(2, 81)):
        if counts == _counts(depth):
            return EmotionConfig(width=features / 1280, depth=depth, **head)
    raise UserError(
        f"the file has {counts} blocks in its stages: wanted {_counts(1.0)} (b0), "
        f"{_counts(1.2)} (b2) or another multiple of b0"
    )


def convert(
    source: Mapping[str, np.ndarray], *, size: int | None = None
) -> tuple[EmotionConfig, dict[str, weights.Array], dict[str, str]]:
    """Return config, flat table and ignored keys of a published state dict.

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
    expected = weights.flatten(weights.abstract(EmotionNet, config))
    table, left = apply(RULES, IGNORED, expected, source)
    return config, table, left


def main(options: Options) -> None:
    """Convert one file and print what was done."""
    state = torch_file.state_dict(torch_file.load(options.file))
    config, table, ignored = convert(state, size=options.size)
    source = file_source(options.file, "timm", "the whole network", ignored)
    facts = {"classes": ", ".join(config.classes)}
    save(options.folder, EMOTION, config, table, source, **facts)


def _blocks(source: Mapping[str, np.ndarray], stage: int) -> int:
    """How many blocks a stage has."""
    return next(i for i in itertools.count() if f"blocks.{stage}.{i}.conv_dw.weight" not in source)


def _counts(depth: float) -> tuple[int, ...]:
    return tuple(math.ceil(stage[-1] * depth) for stage in STAGES)


if __name__ == "__main__":
    cli(main)
