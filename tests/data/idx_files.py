"""IDX files, written for the tests."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

MNIST = Path(os.environ.get("INVARIANCE_PROBE_MNIST") or "not named")


needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(),
    reason="the published MNIST files are not at hand; INVARIANCE_PROBE_MNIST names their folder",
)


def idx_bytes(array: np.ndarray) -> bytes:
    """Write an IDX file of bytes."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.astype(np.uint8).tobytes()


def random_images(count: int, side: int = 5) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, side, side))
