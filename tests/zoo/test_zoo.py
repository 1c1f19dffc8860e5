"""Architectures of torchvision, timm, transformers and segmentation-models-pytorch, as they are."""

import warnings

import pytest
import torch

import invariance_probe as ip
from invariance_probe.errors import UnmeasuredLayerWarning
from tests.zoo.architectures import ARCHITECTURES, Architecture

MOVES = [ip.Rotation(30), ip.Rotation(90)]


def test_there_are_forty() -> None:
    """Of four libraries, none twice."""
    assert len({str(each) for each in ARCHITECTURES}) == 40
    assert len({each.library for each in ARCHITECTURES}) == 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_listed_and_probed(architecture: Architecture) -> None:
    """Every map has its true stride or a star; two layers are measured under two rotations."""
    if architecture.missing():
        pytest.skip(f"{architecture.library}, which builds it, is missing")
    torch.manual_seed(0)
    net, side = architecture.build(), architecture.side
    frame = ip.list_layers(net, torch.rand(1, 3, side, side)).set_index("name")
    maps = frame[frame["spatial"]]
    assert len(maps) > 1
    # networks shrink and enlarge by two: what is measured lies a power of two from what is known
    known = next(iter(architecture.layers.values()))
    ratios = torch.tensor(maps[maps["measured"]]["stride"].to_numpy() / known).log2()
    assert torch.equal(ratios, ratios.round()), ratios.unique()
    for layer, stride in architecture.layers.items():
        assert maps.loc[layer, ["stride_y", "stride_x"]].tolist() == [stride, stride], layer
    images = torch.nn.functional.interpolate(
        torch.rand(2, 3, 12, 12), size=round(1.5 * side), mode="bicubic", antialias=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnmeasuredLayerWarning)  # a star is allowed
        result = ip.probe(
            net, images, layers=list(architecture.layers), transforms=MOVES, crop=side, device="cpu"
        )
    rows = result.frame().query("metric == 'fvu' and method in ['oracle', 'affine']")
    assert len(rows) == 2 * 2 * 2 * 2
    assert rows["value"].notna().all()
