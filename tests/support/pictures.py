"""Pictures that the recorded cases and the tests of the inverters start from."""

import importlib.util
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def noise(name: str, batch: int, side: int, *, seed: int = 11) -> np.ndarray:
    """Draw an encoder input by the rule in the cases' `config`: float32 [B,S,S,3] in [-1, 1]."""
    rng = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    low = rng.uniform(-1, 1, (batch, 3, 8, 8))
    high = rng.uniform(-1, 1, (batch, 3, side, side))
    low = low.repeat(-(-side // 8), 2).repeat(-(-side // 8), 3)[:, :, :side, :side]
    return (0.7 * low + 0.3 * high).astype(np.float32).transpose(0, 2, 3, 1)


def packaged(name: str) -> np.ndarray:
    """Return a photograph that scikit-image ships, uint8; skip where it is not installed."""
    spec = importlib.util.find_spec("skimage")
    file = Path(spec.submodule_search_locations[0]) / "data" / name if spec else Path("none")
    if not file.is_file():
        pytest.skip("scikit-image, whose photographs this needs, is not installed")
    return np.asarray(Image.open(file).convert("RGB"))


def claimed_png(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")
