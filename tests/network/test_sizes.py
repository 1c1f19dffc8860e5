"""What images a model takes, read from it or tried."""

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.network.sizes import find_image, input_channels


class Strict(nn.Module):
    """Insists on images of 48 pixels, as vision transformers do, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.img_size = (72, 72)
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Refuse, or convolve."""
        if images.shape[-1] != self.img_size[1]:
            raise AssertionError("another size")
        maps: Tensor = self.conv(images)
        return maps


def _lenet(side: int, channels: int) -> nn.Module:
    cells = (side - 4) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 2, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * cells**2, 3)
    )


@pytest.mark.parametrize(
    ("model", "channels", "side"),
    [
        (_lenet(28, 1), 1, 28),
        (_lenet(32, 3), 3, 32),
        (Strict(), 2, 72),
        (nn.Conv2d(1, 2, 3), 1, 224),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), 1, 28),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), 3, 32),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 41 * 41, 2)), 3, 41),
        (nn.ReLU(), 3, 224),
    ],
)
def test_channels_and_size_are_read_or_tried(model: nn.Module, channels: int, side: int) -> None:
    """The first layer tells the channels, a name or a trial the side."""
    assert input_channels(model) in {channels, None}
    assert find_image(model).shape == (1, channels, side, side)


def test_what_is_asked_for_is_tried_first() -> None:
    """A model that takes many sizes gets the caller's, and an unknown one is passed over."""
    assert find_image(nn.Conv2d(3, 2, 3), sides=(None, 50)).shape == (1, 3, 50, 50)
    assert find_image(_lenet(28, 1), sides=(50,)).shape == (1, 1, 28, 28)


def test_a_refusal_says_what_to_give() -> None:
    """The model's own error, what its first layer reads, and the flags."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(7, 2))
    flags = "say what it takes, such as --channels 1 --crop 28"
    with pytest.raises(ip.InvalidInputError, match=rf"1 channels, of 224 .*cannot be m.*{flags}"):
        find_image(net)
    with pytest.raises(ip.InvalidInputError, match=r"of 3 channels, where its first layer reads 1"):
        find_image(net, channels=3)


def test_a_trial_leaves_the_model_as_it_was() -> None:
    """Modes and buffers are not touched."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    find_image(net)
    assert net[1].training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
