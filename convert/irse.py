"""Rules of the IR-SE-50 trunk, which ArcFace and the encoders of the pSp family have in common."""

import numpy as np

from convert.rules import Rule, conv, norm, pointwise

POOLED = 7
"""Side of the feature map that the published linear layers flatten."""


def flattened(array: np.ndarray) -> np.ndarray:
    """[out, C·7·7] to [7·7·C, out]; the published order is channels, rows, columns."""
    rows = array.reshape(len(array), -1, POOLED, POOLED)
    return rows.transpose(2, 3, 1, 0).reshape(-1, len(array))


def units(target: str, source: str) -> list[Rule]:
    """Return the rules of residual units, with squeeze-excite or without.

    Args:
        target: regular expression for our name of a unit.
        source: template for its published name.
    """
    branch, skip = rf"{source}.res_layer", rf"{source}.shortcut_layer"
    return [
        *norm(rf"{target}\.norm1", rf"{branch}.0"),
        Rule(rf"{target}\.conv1\.kernel", rf"{branch}.1.weight", conv),
        Rule(rf"{target}\.prelu\.weight", rf"{branch}.2.weight"),
        Rule(rf"{target}\.conv2\.kernel", rf"{branch}.3.weight", conv),
        *norm(rf"{target}\.norm2", rf"{branch}.4"),
        Rule(
            rf"{target}\.gate\.(?P<gate>fc1|fc2)\.kernel", rf"{branch}.5.\g<gate>.weight", pointwise
        ),
        Rule(rf"{target}\.shortcut\.conv\.kernel", rf"{skip}.0.weight", conv),
        *norm(rf"{target}\.shortcut\.norm", rf"{skip}.1"),
    ]


def stem(target: str, source: str) -> list[Rule]:
    """Return the rules of an input layer."""
    return [
        Rule(rf"{target}\.conv\.kernel", f"{source}.0.weight", conv),
        *norm(rf"{target}\.norm", f"{source}.1"),
        Rule(rf"{target}\.prelu\.weight", f"{source}.2.weight"),
    ]


TRUNK = [
    *stem("trunk", "input_layer"),
    *units(r"trunk\.body\.(\d+)", r"body.\1"),
]
