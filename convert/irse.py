"""Rules of the IR-SE-50 trunk, which ArcFace and the encoders of the pSp family have in common."""

import numpy as np

from convert.rules import Rule, conv, norm, pointwise

POOLED = 7
"""Side of the feature map that the published linear layers flatten."""


def flattened(array: np.ndarray) -> np.ndarray:
    """[out, C·7·7] to [7·7·C, out]; the published order is channels, rows, columns."""
    rows = array.reshape(len(array), -1, POOLED, POOLED)
    return rows.transpose(2, 3, 1, 0).reshape(-1, len(array))


TRUNK = [
    Rule(r"trunk\.conv\.kernel", "input_layer.0.weight", conv),
    *norm(r"trunk\.norm", "input_layer.1"),
    Rule(r"trunk\.prelu\.weight", "input_layer.2.weight"),
    *norm(r"trunk\.body\.(\d+)\.norm1", r"body.\1.res_layer.0"),
    Rule(r"trunk\.body\.(\d+)\.conv1\.kernel", r"body.\1.res_layer.1.weight", conv),
    Rule(r"trunk\.body\.(\d+)\.prelu\.weight", r"body.\1.res_layer.2.weight"),
    Rule(r"trunk\.body\.(\d+)\.conv2\.kernel", r"body.\1.res_layer.3.weight", conv),
    *norm(r"trunk\.body\.(\d+)\.norm2", r"body.\1.res_layer.4"),
    Rule(
        r"trunk\.body\.(\d+)\.gate\.(fc1|fc2)\.kernel", r"body.\1.res_layer.5.\2.weight", pointwise
    ),
    Rule(r"trunk\.body\.(\d+)\.shortcut\.conv\.kernel", r"body.\1.shortcut_layer.0.weight", conv),
    *norm(r"trunk\.body\.(\d+)\.shortcut\.norm", r"body.\1.shortcut_layer.1"),
]
