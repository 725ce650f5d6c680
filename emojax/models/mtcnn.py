"""MTCNN: face boxes and five points in a photograph, by a cascade of three small networks.

Pictures are NHWC, points are (x, y) in pixels.

Source: Zhang et al. 2016; numerical conventions of the `mtcnn` package 1.0.0 (MIT).
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from scipy import sparse

from emojax.models.irse import PReLU

CELL, STRIDE = 12, 2
"""Window and step of the proposal network, in pixels of the scaled picture."""
BUCKET = 64
"""Scaled pictures are padded to multiples of this side, to limit the number of compiled shapes."""
MOST_BOXES = 2000
"""Most probable candidates that are compared with each other; a photograph has a few hundred."""
POINTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
"""Left and right as seen in the picture."""


@dataclasses.dataclass(frozen=True)
class NetConfig:
    """One network of the cascade.

    Attributes:
        convs: (kernel, channels, pooling window or 0, padding of the pooling) of each convolution.
        flat: inputs of the hidden layer; 0 for a fully convolutional network.
        hidden: outputs of the hidden layer; 0 for none.
        heads: outputs of each head; the last head holds the two logits of no face and face.
    """

    convs: tuple[tuple[int, int, int, str], ...]
    flat: int
    hidden: int
    heads: tuple[int, ...]


PROPOSAL = NetConfig(((3, 10, 2, "SAME"), (3, 16, 0, ""), (3, 32, 0, "")), 0, 0, (4, 2))
REFINEMENT = NetConfig(((3, 28, 3, "SAME"), (3, 48, 3, "VALID"), (2, 64, 0, "")), 576, 128, (4, 2))
OUTPUT = NetConfig(
    ((3, 32, 3, "SAME"), (3, 64, 3, "VALID"), (3, 64, 2, "SAME"), (2, 128, 0, "")),
    1152,
    256,
    (4, 10, 2),
)


class Net(nnx.Module):
    """Convolutions with PReLU and max pooling, an optional hidden layer, and linear heads."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.convs, self.prelus = nnx.List([]), nnx.List([])
        inputs = 3
        for size, channels, _, _ in config.convs:
            conv = nnx.Conv(inputs, channels, (size, size), padding="VALID", rngs=rngs)
            self.convs.append(conv)
            self.prelus.append(PReLU(channels))
            inputs = channels
        wide = config.hidden
        self.hidden = nnx.Linear(config.flat, wide, rngs=rngs) if wide else None
        self.prelu = PReLU(wide) if wide else None
        inputs = wide or inputs
        self.heads = nnx.List(nnx.Linear(inputs, outputs, rngs=rngs) for outputs in config.heads)

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Map [B,H,W,3] to the outputs of the heads; the last is the probability of a face."""
        for conv, prelu, (_, _, pool, padding) in zip(
            self.convs, self.prelus, self.config.convs, strict=True
        ):
            x = prelu(conv(x))
            if pool:
                x = nnx.max_pool(x, (pool, pool), (2, 2), padding)
        if self.hidden is not None and self.prelu is not None:
            x = x.transpose(0, 2, 1, 3).reshape(len(x), -1)  # columns first: Caffe's weight order
            x = self.prelu(self.hidden(x))
        *outputs, face = [head(x) for head in self.heads]
        return [*outputs, jax.nn.softmax(face)[..., 1]]


class Cascade(NamedTuple):
    """The three networks, in the order they run: P-Net, R-Net and O-Net."""

    proposal: Net
    refinement: Net
    output: Net


class Face(NamedTuple):
    """One face: its box (left, top, right, bottom), probability and the five `POINTS` [5,2]."""

    box: np.ndarray
    probability: float
    points: np.ndarray


def detect(
    cascade: Cascade,
    picture: np.ndarray,
    *,
    smallest: int = 20,
    factor: float = 0.709,
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
) -> list[Face]:
    """Find the faces of a photograph.

    Args:
        cascade: the networks with their weights, see `emojax.faces.detector.load`.
        picture: uint8 [H,W,3].
        smallest: side of the smallest face to find, in pixels.
        factor: ratio of the scales of neighbouring pyramid levels.
        thresholds: lowest probability that each network lets pass.

    Returns:
        The faces, most probable first.
    """
    x = (picture.astype(np.float32) - 127.5) / 128
    boxes = _propose(cascade.proposal, x, smallest, factor, thresholds[0])
    boxes, scores, _ = _examine(cascade.refinement, x, boxes, 24, thresholds[1])
    boxes = _square(boxes[_suppress(boxes, scores, 0.7)])
    boxes, scores, points = _examine(cascade.output, x, boxes, 48, thresholds[2])
    kept = _suppress(boxes, scores, 0.7, smaller=True)
    return [Face(boxes[i], float(scores[i]), points[i].reshape(2, 5).T) for i in kept]


def follow(
    cascade: Cascade, picture: np.ndarray, boxes: np.ndarray, *, threshold: float = 0.8
) -> list[Face]:
    """Find faces again near where they were in the frame before, with the output network alone.

    Args:
        cascade: see `detect`.
        picture: uint8 [H,W,3].
        boxes: [N,4] of the faces in the frame before.
        threshold: lowest probability of a face.

    Returns:
        The faces that are still there, most probable first; others are not looked for.
    """
    if not len(boxes):
        return []
    x = (picture.astype(np.float32) - 127.5) / 128
    found, scores, points = _examine(cascade.output, x, _square(boxes), 48, threshold)
    kept = _suppress(found, scores, 0.7, smaller=True)
    return [Face(found[i], float(scores[i]), points[i].reshape(2, 5).T) for i in kept]


def _propose(net: Net, x: np.ndarray, smallest: int, factor: float, threshold: float) -> np.ndarray:
    """Return square candidate boxes [N,4] from all levels of the pyramid."""
    levels = round(-(np.log(min(x.shape[:2]) / CELL) / np.log(factor) + 1))
    boxes, scores = [np.empty((0, 4))], [np.empty(0)]
    for scale in CELL / smallest * factor ** np.arange(max(levels, 0)):
        found, probability = _scan(net, x, scale, threshold)
        kept = _suppress(found, probability, 0.5)
        boxes.append(found[kept])
        scores.append(probability[kept])
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    return _square(boxes[_suppress(boxes, scores, 0.7)])


def _scan(net: Net, x: np.ndarray, scale: float, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes [N,4], in pixels of the unscaled picture, and probabilities [N] of a level."""
    height, width = (int(side * scale) for side in x.shape[:2])
    small = _area_resize(x, height, width)
    small = np.pad(small, ((0, -height % BUCKET), (0, -width % BUCKET), (0, 0)))
    shift, face = (np.asarray(each[0]) for each in _apply(net, small[None]))
    rows, columns = (-(-(side - 2) // STRIDE) - 4 for side in (height, width))  # without padding
    row, column = np.nonzero(face[:rows, :columns] > threshold)
    corners = np.stack([column, row, column, row], 1) * STRIDE + np.array([1, 1, CELL, CELL])
    return (corners + shift[row, column] * (CELL - 1)) / scale, face[row, column]


def _examine(
    net: Net, x: np.ndarray, boxes: np.ndarray, side: int, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classify and refine square boxes [N,4], each resampled to side x side pixels.

    Returns:
        For the M boxes above the threshold: refined boxes [M,4], probabilities [M] and, from the
        output network, five x and five y [M,10] (zeros from the refinement network).
    """
    padded = 1 << max(len(boxes) - 1, 0).bit_length()  # powers of two: few shapes to compile
    patches = np.zeros((padded, side, side, 3), np.float32)
    for patch, box in zip(patches, boxes, strict=False):
        patch[:] = _patch(x, box, side)
    shift, *points, face = (np.asarray(each)[: len(boxes)] for each in _apply(net, patches))
    kept = face > threshold
    size = boxes[:, 2:] - boxes[:, :2] + 1  # [N,2]
    moved = boxes + shift * np.tile(size, 2)
    landmarks = np.zeros((len(boxes), 10))
    if points:
        landmarks = points[0] * np.repeat(size, 5, 1) + np.repeat(boxes[:, :2], 5, 1) - 1
    return moved[kept], face[kept], landmarks[kept]


@jax.jit
def _apply(net: Net, x: jax.Array) -> list[jax.Array]:
    return net(x)


def _suppress(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, *, smaller: bool = False
) -> np.ndarray:
    """Non-maximum suppression: return the indices of the boxes kept, best first.

    As in the `mtcnn` package, a suppressed box still suppresses others. Overlap is relative to the
    union, or with `smaller` to the smaller of the two boxes.
    """
    order = np.argsort(-scores, kind="stable")[:MOST_BOXES]  # memory grows with the square
    boxes = boxes[order]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), 2)  # [N,N]
    least = np.minimum(area[:, None], area[None])
    against = least if smaller else area[:, None] + area[None] - common
    return order[~np.triu(common > threshold * against, k=1).any(0)]


def _square(boxes: np.ndarray) -> np.ndarray:
    """Widen boxes [N,4] to squares about their centres."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], 1)


def _area_resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize [H,W,C] by the mean over each target pixel's area, with fractional pixel weights."""
    full, across, channels = x.shape
    rows = _area_matrix(full, height) @ x.reshape(full, -1)  # [height,W·C]
    turned = rows.reshape(height, across, channels).transpose(1, 0, 2).reshape(across, -1)
    small = (_area_matrix(across, width) @ turned).reshape(width, height, channels)
    return np.ascontiguousarray(small.transpose(1, 0, 2))


def _area_matrix(size: int, target: int) -> sparse.csr_array:
    """Return the weights [target,size] of the pixels that each target pixel covers."""
    edges = np.arange(target + 1) * (size / target)
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.floor(low) + np.arange(int(np.ceil(size / target)) + 1)
    covered = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    row, column = np.nonzero((covered > 0) & (pixels < size))
    weights = (covered / (high - low)).astype(np.float32)[row, column]
    places = row, pixels[row, column].astype(int)
    return sparse.csr_array((weights, places), shape=(target, size))


def _patch(x: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """Sample a box bilinearly to [side,side,3], zeros outside (TensorFlow's `crop_and_resize`).

    The `mtcnn` package divides corners by the size, where `crop_and_resize` expects a division by
    size − 1; the factor (size − 1) / size reproduces that.
    """
    limits = np.array(x.shape[1::-1])  # width, height
    start, stop = (corner * (limits - 1) / limits for corner in (box[:2], box[2:]))
    column, row = (_between(np.linspace(start[i], stop[i], side), int(limits[i])) for i in (0, 1))

    def rows(at: np.ndarray) -> np.ndarray:
        upper, lower = x[row.below[:, None], at], x[row.above[:, None], at]
        return upper + (lower - upper) * row.share[:, None, None].astype(x.dtype)

    left, right = rows(column.below), rows(column.above)
    values = left + (right - left) * column.share[:, None].astype(x.dtype)
    return np.where((row.inside[:, None] & column.inside)[..., None], values, 0)


class _Between(NamedTuple):
    """Where positions along an axis lie between its pixels.

    Attributes:
        below: [P] the pixel before each position.
        above: [P] the one after it.
        share: [P] of the one after it, 0 to 1.
        inside: [P] whether the position lies within the axis.
    """

    below: np.ndarray
    above: np.ndarray
    share: np.ndarray
    inside: np.ndarray


def _between(position: np.ndarray, size: int) -> _Between:
    """Return the pixels, of `size` along an axis, that positions [P] lie between."""
    inside = (position >= 0) & (position <= size - 1)
    below = np.clip(np.floor(position), 0, size - 1).astype(int)
    share = np.where(inside, position - below, 0)
    return _Between(below, np.minimum(below + 1, size - 1), share, inside)
