"""Architectures of torchvision, timm, transformers and segmentation-models-pytorch, as they are."""

import pytest

from analyses.architectures import ARCHITECTURES, Architecture
from analyses.questions import zoo


@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_listed_and_probed(architecture: Architecture) -> None:
    """Every map has its true stride or a star; two layers are measured under two rotations."""
    if architecture.missing():
        pytest.skip(f"{architecture.library}, which builds it, is missing")
    row = zoo.look(architecture)
    assert row["said"] == ""
    assert row["wrong"] == 0
    assert row["known"] == len(architecture.layers) == 2
    assert row["probed"]
