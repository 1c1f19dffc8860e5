"""EfficientNet-Lite0: photographs, and what the network sees of them."""

import torch

from analyses.efficientnet import blocks, normalised, photographs
from invariance_probe.network.preprocessing import LITE_MEAN, LITE_STD


def test_photographs_are_square_and_as_many_as_asked() -> None:
    """Each has its name; pixel values are fractions."""
    images, names = photographs(2, 32)
    assert images.shape == (2, 3, 32, 32)
    assert len(set(names)) == 2
    assert 0 <= images.min() < images.max() <= 1


def test_what_the_network_sees_is_centred_channel_by_channel() -> None:
    """The mean of the training images becomes 0, a standard deviation more becomes 1."""
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (LITE_MEAN, LITE_STD))
    assert torch.equal(normalised(mean), torch.zeros(1, 3, 1, 1))
    torch.testing.assert_close(normalised(mean + std), torch.ones(1, 3, 1, 1))


def test_blocks_are_named_as_the_network_names_them() -> None:
    """Numbers stay in the order given."""
    assert blocks(0, 15) == ("_blocks.0", "_blocks.15")
