"""A folder of IDX files."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.data.idx_files import idx_bytes, random_images


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Four sound IDX files: 12 and 4 images of 5 x 5 in three classes, two of them gzipped."""
    labels = np.arange(12) % 3
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(random_images(12)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(random_images(4))))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels[:4]))
    return tmp_path
