"""The compiled search finds what the search in torch finds, whatever the threads."""

import pytest
import torch
from torch import Tensor

import invariance_probe as ip
from invariance_probe.alignment import search


def _maps(channels: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(channels)
    coarse = torch.rand(6, channels, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return smooth, smooth.rot90(1, (2, 3)) if height == width else smooth.flip((2, 3))


@pytest.mark.parametrize("shape", [(2, 9, 9), (3, 1, 8), (5, 20, 12), (8, 60, 60)])
def test_the_same_bits_for_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    """A pair is searched by one thread from beginning to end."""
    reference, moved = _maps(*shape)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 1):
            torch.set_num_threads(threads)
            found.append(ip.align(reference, moved).theta)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], each) for each in found)


@pytest.mark.parametrize("shape", [(2, 9, 9), (3, 1, 8), (5, 20, 12), (8, 60, 60)])
def test_the_same_bits_for_any_split_into_calls(shape: tuple[int, int, int]) -> None:
    """A pair is found the same alone, and whoever is beside it."""
    reference, moved = _maps(*shape)
    mean = torch.zeros(len(reference), shape[0], dtype=torch.float64)
    together = ip.align(reference, moved, channel_mean=mean).theta
    for rows in torch.split(torch.tensor([3, 0, 1, 5, 4, 2]), [1, 2, 3]):
        apart = ip.align(reference[rows], moved[rows], channel_mean=mean[rows]).theta
        assert torch.equal(apart, together[rows])


@pytest.mark.parametrize("shape", [(3, 7, 7), (4, 14, 11), (5, 30, 30), (4, 60, 60)])
def test_no_worse_than_in_torch(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Residuals of both searches are within 0.5 %, or both next to nothing."""
    reference, moved = _maps(*shape)
    reference = reference + 0.05 * torch.randn(reference.shape)
    compiled = ip.align(reference, moved).fvu
    monkeypatch.setattr(search, "_fused", lambda: None)
    assert (compiled <= 1.005 * ip.align(reference, moved).fvu + 1e-6).all()
