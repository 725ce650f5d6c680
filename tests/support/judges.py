"""Inputs of the recorded HSEmotion and Inception cases, drawn by the rules in their manifests."""

import zlib

import numpy as np


def planes(seed: int, name: str, size: int, *, batch: int = 2) -> np.ndarray:
    """Draw [B,3,size,size] float64 in [-1, 1]: coarse blocks and fine noise."""
    rng = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    low = rng.uniform(-1, 1, (batch, 3, 8, 8))
    high = rng.uniform(-1, 1, (batch, 3, size, size))
    block = -(-size // 8)
    low = low.repeat(block, 2).repeat(block, 3)[:, :, :size, :size]
    return 0.7 * low + 0.3 * high


def picture(seed: int, name: str, shape: list[int], checksum: int) -> np.ndarray:
    """Draw a uint8 [H,W,3] picture and check its bytes."""
    height, width, _ = shape
    rng = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    low = rng.uniform(-1, 1, (8, 8, 3))
    high = rng.uniform(-1, 1, (height, width, 3))
    low = low.repeat(-(-height // 8), 0).repeat(-(-width // 8), 1)[:height, :width]
    drawn = ((0.7 * low + 0.3 * high + 1) * 127.5).astype(np.uint8)
    assert zlib.crc32(drawn.tobytes()) == checksum
    return drawn
