"""The method ``input``: what is left when the image itself is warped back (P2)."""

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.plane import coordinates, sampling
from tests.tolerances import ROUNDED


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1))


def _images(count: int = 3, side: int = 25) -> Tensor:
    rough = torch.rand(count, 3, 7, 7, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(rough, size=(side, side), mode="bicubic")


def _left(result: ip.ProbeResult, method: str, metric: str = "fvu") -> list[float]:
    frame = result.frame()
    return frame[(frame["method"] == method) & (frame["metric"] == metric)]["value"].tolist()


@pytest.mark.parametrize("move", [ip.Rotation(0), ip.Rotation(90), ip.Reflection(0)])
def test_nothing_is_left_where_pixels_only_change_places(move: ip.Transform) -> None:
    """Identity, quarter turn and flip are undone on the lattice, whatever the network."""
    result = ip.probe(_net(), _images(), layers="*", transforms=[move], methods=["input", "oracle"])
    assert max(_left(result, "input")) < ROUNDED**2
    if move != ip.Rotation(0):
        assert min(_left(result, "oracle")) > 0.05  # what the map cannot undo, the input can


def test_the_residual_is_that_of_the_interpolated_image() -> None:
    """`input` equals a naive computation: move, read back bilinearly, run the network (P2)."""
    net, images, move = _net(), _images(), ip.Rotation(30)
    result = ip.probe(net, images, layers="2", transforms=[move], methods=["input"])
    to_index = coordinates.index_from_centred(25, 25)
    theta = coordinates.theta_from_index_matrix(
        to_index @ move.matrix @ to_index.inverse(), 25, 25
    ).expand(3, 2, 3)
    with torch.no_grad():
        reference, back = net(images), net(sampling.warp(move(images), theta))
    (layer,) = ip.network.features.find_layers(net, images, ["2"])
    region = ip.plane.regions.visible(layer.oracle(move.matrix, 25, 25)[None], 25, 25)[0]
    f, g = reference[..., region].double(), back[..., region].double()
    error = (g - f).square().sum((1, 2))
    expected = error / (f - f.mean((0, 2), keepdim=True)).square().sum((1, 2))
    torch.testing.assert_close(
        torch.tensor(_left(result, "input")), expected.float(), rtol=ROUNDED, atol=ROUNDED
    )
    assert expected.min() > 0.001


def test_input_is_not_computed_unless_asked_for() -> None:
    """It costs passes, so it is not among the defaults, and stands in the table's own order."""
    result = ip.probe(_net(), _images(2), layers="0", transforms=[ip.Rotation(20)])
    assert "input" not in set(result.frame()["method"])
    asked = ip.probe(
        _net(),
        _images(2),
        layers="0",
        transforms=[ip.Rotation(20)],
        methods=["oracle", "input", "oracle+permutation"],
    )
    names = [str(name) for name in asked.frame()["method"].cat.categories]
    assert names == ["input", "oracle", "oracle+permutation"]
