"""Images for the controls: real ones, since known answers must hold where they will be used."""

import pytest
import torch
from torch import Tensor

from invariance_probe.data.pictures import open_images


@pytest.fixture(scope="session")
def canvases() -> Tensor:
    """Three photographs on canvases of 121 x 121 pixels, in [0, 1]."""
    images, _ = open_images("photographs", 121)
    return torch.stack([images[i] for i in (0, 2, 7)])


@pytest.fixture(scope="session")
def crops() -> Tensor:
    """Pieces of eight photographs, 32 x 3 x 45 x 45, no two alike."""
    images, _ = open_images("photographs", 90)
    whole = torch.stack([images[i] for i in range(8)])
    return torch.cat([
        whole[:, :, y : y + 45, x : x + 45] for y in (0, 45) for x in (0, 45)
    ]).contiguous()
