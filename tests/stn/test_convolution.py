"""The convolution for images gives what torch's gives."""

import pytest
import torch
from torch import nn

from invariance_probe.stn.convolution import ImageConvolution


@pytest.mark.parametrize(("channels", "padding"), [(1, 0), (1, 2), (3, 2), (3, 0), (6, 1)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_image_convolution_is_torchs(
    channels: int, padding: int, memory: torch.memory_format
) -> None:
    """Maps and all three gradients are those of nn.Conv2d, whatever the memory format."""
    torch.manual_seed(0)
    ours = ImageConvolution(channels, 7, 5, padding=padding).double().to(memory_format=memory)
    theirs = nn.Conv2d(channels, 7, 5, padding=padding).double()
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(70, channels, 9, 11, dtype=torch.float64)
    gradients = []
    for convolution in (ours, theirs):
        leaf = images.clone(memory_format=memory).requires_grad_()
        out = convolution(leaf)
        (out**2).sum().backward()
        gradients.append([out.detach(), leaf.grad, *(p.grad for p in convolution.parameters())])
    for ours_is, theirs_is in zip(*gradients, strict=True):
        torch.testing.assert_close(ours_is, theirs_is, rtol=1e-10, atol=1e-10)


def test_image_convolution_in_half_precision_is_the_same_but_for_noise() -> None:
    """Under autocast maps are bfloat16, and maps and gradients those of single precision to 2 %."""
    torch.manual_seed(0)
    convolution = ImageConvolution(1, 16, 9)
    images = torch.rand(8, 1, 28, 28)
    found = []
    for half in (False, True):
        leaf = images.clone().requires_grad_()
        convolution.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            maps = convolution(leaf)
        assert (maps.dtype == torch.bfloat16) == half
        maps.float().square().sum().backward()
        found.append([maps.detach().float(), leaf.grad, convolution.weight.grad.clone()])
    for single, half_is in zip(*found, strict=True):
        assert float((half_is - single).norm() / single.norm()) < 0.02
