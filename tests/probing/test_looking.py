"""What is met in passes is put together over images and transforms."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.data.inputs import as_source
from invariance_probe.network.operations import Kind
from invariance_probe.probing.looking import Looking, Met, titled
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import Inputs

MOVES = [ip.Rotation(90), ip.Scaling(0.5)]


class Resizing(nn.Module):
    """Halves a map, and resizes it by as much as the image is bright, if that is asked for."""

    def __init__(self, *, adaptive: bool) -> None:
        super().__init__()
        self.adaptive = adaptive

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=0.5)
        if self.adaptive:
            side = 4 + int(4 * float(x.mean()))
            x = F.interpolate(x, size=(side, side), mode="bilinear")
        return x


class Sometimes(nn.Module):
    """Samples dark images alone, and one at a time."""

    def forward(self, x: Tensor) -> Tensor:
        if float(x.mean()) > 0.4:
            return x
        theta = torch.eye(2, 3)[None]
        grid = F.affine_grid(theta, [1, *x.shape[1:]], align_corners=False)
        return torch.cat([F.grid_sample(one[None], grid, align_corners=False) for one in x])


def looked(network: nn.Module, images: Tensor) -> tuple[Looking, list[Met]]:
    """All images seen."""
    source = as_source(images)
    looking = Looking(network.eval(), Inputs(source, MOVES, ProbeOptions(fill=0.0)))
    with torch.no_grad():
        for number in range(len(source)):
            looking.look(number)
    return looking, looking.moving()


def test_a_resize_counts_where_its_size_differs() -> None:
    """A fixed one aligns nothing; one whose size follows the image may."""
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert looked(Resizing(adaptive=False), images)[1] == []
    (met,) = looked(Resizing(adaptive=True), images)[1]
    assert met.operation.kind is Kind.INTERPOLATE
    assert met.title == "interpolate#2"
    assert not met.steady


def test_what_does_not_happen_in_every_pass_is_told() -> None:
    """Of two images one is too bright, but for its smaller self: 3 of 6 passes, or 2."""
    images = torch.stack([torch.full((1, 16, 16), 0.9), torch.full((1, 16, 16), 0.1)])
    looking, (met,) = looked(Sometimes(), images)
    assert met.passes == 6
    assert met.absent == 2  # bright, and turned
    assert not met.steady
    assert list(looking.pictures) == ["as it is", "rotation 90", "scaling 0.5"]


def test_transforms_are_titled() -> None:
    """By family and parameter, where there is one."""
    assert titled(ip.Rotation(30)) == "rotation 30"
    assert titled(ip.Affine([[1, 0.1], [0, 1]])) == "affine"
