"""Maps put back into a network: known answers, what is replaced and where, bad input."""

import doctest
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.controls import c4_network, c4_pooled_network
from invariance_probe.network import hooks
from invariance_probe.network.features import find_layers, tap
from invariance_probe.plane import sampling
from invariance_probe.probing import readout
from invariance_probe.probing.readout import outputs, outputs_with
from invariance_probe.results.methods import RECOVERY_METHODS
from tests.tolerances import ROUNDED, rounded

SIDE = 15
UNPADDED = SIDE + 12
"""The controls' three 5 x 5 kernels leave maps of `SIDE` cells."""
QUARTERS = [ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90)]


def _images(count: int = 4, side: int = SIDE) -> Tensor:
    rough = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(rough, size=(side, side), mode="bicubic")


def _net(head: nn.Module | None = None, channels: int = 6) -> nn.Sequential:
    """Convolutions that no rotation commutes with, and a head that reads cells apart."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, channels, 5, padding=2), nn.ReLU(inplace=True)]
    body += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*body, head or _apart(channels)).eval()


def _apart(channels: int, side: int = SIDE) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, 5))


def _means(result: ip.ProbeResult) -> dict[tuple[str, str], float]:
    frame = result.frame()
    means = frame.groupby(["method", "metric"], observed=True)["value"].mean()
    return {(str(method), str(metric)): float(v) for (method, metric), v in means.items()}


def test_nothing_is_lost_where_nothing_moves() -> None:
    """Under the identity transform all but unrelated maps leave the prediction as it was."""
    methods = [*RECOVERY_METHODS, "flow"]
    result = ip.recover(
        _net(), _images(), layers=["0", "2"], transforms=[ip.Rotation(0)], methods=methods
    )
    got = _means(result)
    for method in ("identity", "input", "oracle", "affine", "flow", "floor"):
        assert got[method, "agreement"] == 1
        assert got[method, "kl"] < ROUNDED
        assert got[method, "logit_rel_l2"] < ROUNDED
    assert got["unrelated", "logit_rel_l2"] > 0.01


class _Twice(nn.Module):
    """Calls one module twice, and returns a channels-last tuple from another."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.again = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.pair = _Pair()
        self.head = _apart(6)

    def forward(self, images: Tensor) -> Tensor:
        left, right = self.pair(self.again(self.again(self.first(images)).relu()))
        return self.head((left * 2 + right).permute(0, 3, 1, 2).relu())


class _Pair(nn.Module):
    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        last = maps.permute(0, 2, 3, 1)
        return last, last.square()


@pytest.mark.parametrize("net", [_net(), _Twice().eval()], ids=["in-place", "reused"])
def test_a_layer_replaced_by_itself_changes_no_bit(net: nn.Module) -> None:
    """Every map of a network, put back, gives the same output: by call, path and layout."""
    images = _images()
    layers = find_layers(net, images, ["*"])
    assert len(layers) >= 4
    with hooks.evaluating(net):
        maps, said = tap(net, images, layers), outputs(net, images)[""]
        for layer in layers:
            same = outputs_with(net, images, layer, maps[layer.name])[""]
            assert torch.equal(same, said), layer.name
            other = outputs_with(net, images, layer, maps[layer.name].flip(0) + 1)[""]
            assert not torch.equal(other, said), layer.name


def test_each_call_and_each_part_of_an_output_is_replaced_alone() -> None:
    """A second call replaced equals the rest of the network, computed by hand."""
    net, images = _Twice().eval(), _images()
    new = torch.rand(4, 6, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    layers = {layer.name: layer for layer in find_layers(net, images, ["again", "pair"])}
    assert {"again#1", "again#2", "pair:out.0", "pair:out.1"} == set(layers)
    with hooks.evaluating(net):
        second = outputs_with(net, images, layers["again#2"], new)[""]
        assert torch.equal(second, net.head((new * 2 + new.square()).contiguous().relu()))
        before = net.again(net.again(net.first(images)).relu())
        right = outputs_with(net, images, layers["pair:out.1"], new)[""]
        torch.testing.assert_close(
            right, net.head((before * 2 + new).relu()), rtol=ROUNDED, atol=ROUNDED
        )


def test_a_pooled_c4_layer_is_recovered_whole_at_quarter_turns() -> None:
    """Re-aligned by the oracle, its maps leave every prediction as it was (P12)."""
    torch.manual_seed(0)
    net = nn.Sequential(c4_pooled_network(fields=6), _apart(6))
    images = _images(side=UNPADDED)
    result = ip.recover(net, images, layers="0.1", transforms=QUARTERS)
    got = _means(result)
    for method in ("oracle", "input", "floor"):
        assert got[method, "agreement"] == 1
        assert got[method, "kl"] < ROUNDED
    assert got["identity", "logit_rel_l2"] > 0.01
    share = result.recovered_share("logit_rel_l2").set_index("method")["share"]
    assert abs(share["oracle"] - 1) < ROUNDED / 0.01  # of a loss that is above 0.01
    assert share["unrelated"] < 1


def test_the_docstring_s_example_runs() -> None:
    """What the documentation shows is what it gives."""
    assert doctest.testmod(readout) == (0, 7)


def test_an_unpooled_c4_layer_needs_its_permutation() -> None:
    """Under a head that reads channels apart the warp is not enough; warp and permutation are."""
    move, images = ip.Rotation(90), _images(side=UNPADDED)
    torch.manual_seed(0)
    body = c4_network(fields=2)
    net = nn.Sequential(body, _apart(8)).eval()
    result = ip.recover(net, images, layers="0.5", transforms=[move])
    assert _means(result)["oracle", "logit_rel_l2"] > 0.01
    (layer,) = find_layers(net, images, ["0.5"])
    theta = layer.oracle(move.matrix, UNPADDED, UNPADDED).expand(len(images), 2, 3)
    with hooks.evaluating(net):
        warped = sampling.warp(tap(net, move(images), [layer])["0.5"], theta)
        permuted = warped[:, body.channel_permutation(move)]
        said = outputs_with(net, move(images), layer, permuted)[""]
        torch.testing.assert_close(said, net(images), rtol=ROUNDED, atol=ROUNDED)


def test_a_linear_pointwise_layer_costs_what_interpolation_costs() -> None:
    """It commutes with reading between cells: warping map and input give the same output."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), _apart(6))
    moves = [ip.Rotation(30), ip.Scaling(0.8)]
    canvas = _images(side=23)
    result = ip.recover(net, canvas, layers="0", transforms=moves, crop=SIDE, dtype="float64")
    frame = result.frame().pivot_table(
        index=["transform_number", "image", "metric"],
        columns="method",
        values="value",
        observed=True,
    )
    close = rounded(torch.float64)
    torch.testing.assert_close(
        torch.tensor(frame["oracle"].to_numpy()),
        torch.tensor(frame["input"].to_numpy()),
        rtol=0.0,
        atol=close,
    )
    distance = frame.xs("logit_rel_l2", level="metric").mean()
    assert 0 < distance["oracle"] < distance["identity"]
    assert 0 < distance["floor"] < distance["identity"]


def test_outside_the_region_every_method_carries_the_reference() -> None:
    """A head that reads only cells outside the region sees nothing of any method."""
    margin = 3

    class Rim(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            maps = maps.clone()
            maps[..., margin:-margin, margin:-margin] = 0
            return maps.flatten(1)

    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Rim())
    result = ip.recover(net, _images(), layers="0", transforms=[ip.Rotation(90)], margin=margin)
    frame = result.frame()
    distance = frame[frame["metric"] == "logit_rel_l2"]
    assert len(distance) == 4 * 6
    assert distance["value"].max() < ROUNDED


def test_an_empty_region_has_no_value() -> None:
    """Where nothing is in sight the whole map is the reference's, which is no recovery."""
    result = ip.recover(_net(), _images(2), layers="0", transforms=[ip.Translation(40, 0)])
    frame = result.frame()
    assert frame["value"].isna().all()
    assert set(frame["outcome"]) == {"empty_region"}


def test_one_image_has_no_unrelated_one() -> None:
    """Chance is NaN with the reason; all else is measured."""
    frame = ip.recover(_net(), _images(1), layers="0", transforms=[ip.Rotation(20)]).frame()
    chance = frame["method"] == "unrelated"
    assert set(frame[chance]["outcome"]) == {"one_image"}
    assert frame[chance]["value"].isna().all()
    assert frame[~chance]["value"].notna().all()


def test_near_duplicates_are_not_unrelated() -> None:
    """Copies of one image are no chance level for each other: NaN with the reason."""
    copies = _images(1).expand(3, -1, -1, -1)
    frame = ip.recover(
        _net(), copies, layers="0", transforms=[ip.Rotation(20)], methods=["oracle", "unrelated"]
    ).frame()
    chance = frame["method"] == "unrelated"
    assert chance.sum() == 3 * 3
    assert set(frame[chance]["outcome"]) == {"near_duplicates"}
    assert frame[chance]["value"].isna().all()
    assert frame[~chance]["value"].notna().all()


def test_metrics_are_what_they_are_said_to_be() -> None:
    """Agreement, kl, distance and accuracy of `identity` equal a naive computation."""
    net, images, move = _net(), _images(), ip.Rotation(40)
    labels = [0, 1, 2, 3]
    result = ip.recover(
        net, images, layers="2", transforms=[move], methods=["identity"], labels=labels
    )
    (layer,) = find_layers(net, images, ["2"])
    region = ip.plane.regions.visible(layer.oracle(move.matrix, SIDE, SIDE)[None], SIDE, SIDE)
    with torch.no_grad():
        reference, moved = net[:3](images), net[:3](move(images))
        p, q = net(images), net[3:](torch.where(region[:, None], moved, reference))
    want = {
        "agreement": (p.argmax(1) == q.argmax(1)).double(),
        "kl": (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum(1).double(),
        "logit_rel_l2": ((q - p).norm(dim=1) / p.norm(dim=1)).double(),
        "accuracy": (q.argmax(1) == torch.tensor(labels)).double(),
    }
    frame = result.frame()
    assert list(frame["metric"].cat.categories) == list(want)
    for metric, values in want.items():
        got = torch.tensor(frame[frame["metric"] == metric].sort_values("image")["value"].tolist())
        torch.testing.assert_close(got.double(), values, rtol=ROUNDED, atol=ROUNDED)


def test_outputs_that_are_no_class_vector_have_their_own_metrics() -> None:
    """A dense network is judged by distance and cosine; undone by the input it is as it was."""
    result = ip.recover(
        _net(nn.Conv2d(6, 2, 1)), _images(), layers="0", transforms=[ip.Rotation(90)]
    )
    got = _means(result)
    assert {metric for _, metric in got} == {"output_rel_l2", "output_cosine"}
    assert got["input", "output_rel_l2"] < ROUNDED
    assert got["input", "output_cosine"] > 1 - ROUNDED
    assert got["oracle", "output_rel_l2"] > 0.01


def test_a_run_is_saved_and_loaded(tmp_path: Any) -> None:
    """The folder holds the same table; there are no figures of residuals it does not have."""
    result = ip.recover(
        _net(), _images(), layers="0", transforms=[ip.Rotation(90)], out=tmp_path / "run"
    )
    loaded = ip.ProbeResult.load(tmp_path / "run")
    assert loaded.frame().equals(result.frame())
    assert not list((tmp_path / "run" / "figures").iterdir())


class _Whole(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean()


class _Broken(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.flatten(1) * torch.nan


@pytest.mark.parametrize(
    ("head", "given", "said"),
    [
        (None, {"methods": ["any-warp"]}, "no map to put back; choose from identity, input"),
        (None, {"labels": [1, 2]}, "one class number for each of the 3 images"),
        (None, {"labels": [0, 1, 5]}, "labels from 0 to 5: the model has 5 classes"),
        (nn.Conv2d(6, 2, 1), {"labels": [0, 1, 2]}, "leave labels out"),
        (nn.Sequential(_apart(6), nn.Softmax(1)), {}, "without its softmax"),
        (_Whole(), {}, "one row for each image"),
        (_Broken(), {}, "output holds NaN"),
    ],
)
def test_what_cannot_be_used_is_refused(
    head: nn.Module | None, given: dict[str, Any], said: str
) -> None:
    """One line says what is wrong and what to do."""
    with pytest.raises(ip.InvalidInputError, match=said) as caught:
        ip.recover(_net(head), _images(3), layers="0", transforms=[ip.Rotation(30)], **given)
    assert "\n" not in str(caught.value)
