"""Digits to perturb."""

import pytest
from torch import Tensor

from invariance_probe.data import datasets


@pytest.fixture(scope="session")
def digits() -> Tensor:
    """Forty digits, bytes."""
    return datasets.open_dataset("mnist-5k", train=40).train.images
