"""Data sets are looked up by name."""

import pytest

import invariance_probe as ip
from invariance_probe.data import catalogue, datasets


def test_unknown_data_sets_are_refused() -> None:
    """A misspelt name is met with the one it resembles, and with all there are."""
    with pytest.raises(ip.InvalidInputError, match=r"mean mnist-5k\? choose from mnist-5k, mni"):
        datasets.open_dataset("mnist-5")
    with pytest.raises(ip.InvalidInputError, match="only plankton and folder can be resized"):
        datasets.open_dataset("mnist-5k", side=32)
    assert set(catalogue.SOURCES) >= {"mnist-5k", "mnist", "svhn", "svhn-cropped", "plankton"}
