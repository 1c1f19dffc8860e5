"""Maps put back into a network: known answers, what is replaced and where, bad input."""

import doctest
import math
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import invariance_probe as ip
from invariance_probe.alignment import mixing
from invariance_probe.alignment.metrics import METRICS
from invariance_probe.controls import c4_network, c4_pooled_network
from invariance_probe.controls.groups import C4, OrbitPool
from invariance_probe.data.pictures import TensorImages
from invariance_probe.network import hooks
from invariance_probe.network.features import find_layers, tap
from invariance_probe.network.replay import outputs, outputs_with
from invariance_probe.plane import sampling
from invariance_probe.probing import readout
from invariance_probe.probing.passes import ForwardPasses
from invariance_probe.results.methods import RECOVERY_METHODS
from invariance_probe.results.recovery import CLASS_METRICS
from invariance_probe.results.rows import THETA
from tests.tolerances import ROUNDED, SEARCHED, rounded

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
    """Under a head that reads channels apart a warp is not enough; with the permutation it is."""
    torch.manual_seed(0)
    net = nn.Sequential(c4_network(fields=2), _apart(8))
    methods = ["identity", "input", "oracle", "oracle+permutation", "unrelated+permutation"]
    result = ip.recover(
        net, _images(side=UNPADDED), layers="0.5", transforms=QUARTERS, methods=methods
    )
    got = _means(result)
    assert got["oracle", "logit_rel_l2"] > 0.01
    assert got["oracle+permutation", "agreement"] == 1
    assert got["oracle+permutation", "logit_rel_l2"] < ROUNDED
    assert got["unrelated+permutation", "logit_rel_l2"] > 0.01
    share = result.recovered_share("logit_rel_l2").set_index("method")["share"]
    assert abs(share["oracle+permutation"] - 1) < ROUNDED / 0.01
    assert share["oracle"] < 0.9


def test_under_a_head_that_pools_over_the_orbit_the_warp_is_enough() -> None:
    """What a permutation would undo is lost on a head that does not tell channels apart (P12)."""
    torch.manual_seed(0)
    net = nn.Sequential(c4_network(fields=2), OrbitPool(C4), _apart(2))
    methods = ["identity", "oracle", "oracle+permutation"]
    got = _means(
        ip.recover(net, _images(side=UNPADDED), layers="0.5", transforms=QUARTERS, methods=methods)
    )
    assert got["identity", "logit_rel_l2"] > 0.01
    assert got["oracle", "logit_rel_l2"] < ROUNDED
    assert got["oracle+permutation", "logit_rel_l2"] < ROUNDED


def test_mixed_maps_are_mixed_by_what_was_fitted_to_other_images() -> None:
    """Each kind of mixing after each warp equals a naive fit and a run of the whole network."""
    net, images, move = _net(channels=3), _images(5), ip.Rotation(35)
    methods = [f"{w}+{k}" for w in ("oracle", "affine", "unrelated") for k in mixing.Kind]
    result = ip.recover(net, images, layers="0", transforms=[move], methods=methods, batch_size=2)
    (layer,) = find_layers(net, images, ["0"])
    (region,) = ip.plane.regions.visible(layer.oracle(move.matrix, SIDE, SIDE)[None], SIDE, SIDE)
    with hooks.evaluating(net):
        reference, moved = (tap(net, each, [layer])["0"] for each in (images, move(images)))
        said = net(images)
    frame = result.frame()
    for method in methods:
        rows = frame[(frame["method"] == method) & (frame["metric"] == "logit_rel_l2")]
        rows = rows.sort_values("image")
        theta = torch.tensor(rows[list(THETA)].to_numpy()).view(-1, 2, 3)
        own = result.config["partners"] if method.startswith("unrelated") else range(5)
        warped = sampling.warp(moved[list(own)], theta)
        # with five images each is a fold of its own, in the order of the run
        moments = mixing.Moments.of(reference[:, :, region], warped[:, :, region])
        order = ForwardPasses(
            net, TensorImages(images), ["0"], [move], ip.ProbeOptions(device="cpu"), keep=False
        ).order
        fitted = mixing.cross_fit(mixing.Kind(method.partition("+")[2]), moments[order])
        mixed = torch.stack([
            fitted[order.index(i)](warped[i].flatten(1)).view_as(warped[i]) for i in range(5)
        ])
        with hooks.evaluating(net):
            put = torch.where(region, mixed, reference)
            away = outputs_with(net, move(images), layer, put)[""] - said
        want = away.norm(dim=1) / said.norm(dim=1)
        got = torch.tensor(rows["value"].tolist())
        # the penalty is chosen from float64 moments of float32 maps: the same on both sides
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3, msg=method)


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


def test_what_lies_outside_is_what_was_asked_for() -> None:
    """Outside the region are the channel means, or what the method makes of the moved map."""
    net, images, move = _net(), _images(), ip.Rotation(40)
    (layer,) = find_layers(net, images, ["0"])
    theta = layer.oracle(move.matrix, SIDE, SIDE)
    (region,) = ip.plane.regions.visible(theta[None], SIDE, SIDE)
    with hooks.evaluating(net):
        reference, moved = (tap(net, each, [layer])["0"] for each in (images, move(images)))
    warped = {
        "identity": moved,
        "oracle": sampling.warp(moved, theta.expand(len(images), 2, 3)),
    }
    mean = reference[:, :, region].mean((0, 2))[None, :, None, None]
    for outside, around in (("mean", mean), ("moved", None)):
        frame = ip.recover(
            net, images, layers="0", transforms=[move], methods=list(warped), outside=outside
        ).frame()
        for method, maps in warped.items():
            put = maps if around is None else torch.where(region, maps, around)
            with hooks.evaluating(net):
                said, want = net(images), outputs_with(net, move(images), layer, put)[""]
            rows = frame[(frame["method"] == method) & (frame["metric"] == "logit_rel_l2")]
            torch.testing.assert_close(
                torch.tensor(rows.sort_values("image")["value"].tolist()),
                (want - said).norm(dim=1) / said.norm(dim=1),
                rtol=ROUNDED,
                atol=ROUNDED,
            )


def test_of_a_disc_nothing_outside_counts() -> None:
    """Images that differ in their corners alone give the same table, unless no disc is cut out."""
    y, x = (torch.arange(SIDE) - (SIDE - 1) / 2 for _ in range(2))
    corners = torch.hypot(y[:, None], x) > SIDE / 2
    images = _images()
    other = torch.where(corners, 1 - images, images)
    for outside, same in (("disc", True), ("moved", False)):
        one, two = (
            ip.recover(
                _net(), each, layers="0", transforms=[ip.Rotation(20)], fill=0.3, outside=outside
            ).frame()
            for each in (images, other)
        )
        assert one["value"].equals(two["value"]) == same


def test_an_empty_region_has_no_value() -> None:
    """Where nothing is in sight the whole map is the reference's, which is no recovery."""
    result = ip.recover(_net(), _images(2), layers="0", transforms=[ip.Translation(40, 0)])
    frame = result.frame()
    assert frame["value"].isna().all()
    assert set(frame["outcome"]) == {"empty_region"}


def test_one_image_has_no_unrelated_one() -> None:
    """Chance and mixings, which need other images, are NaN with the reason; all else is there."""
    methods = ["identity", "oracle", "unrelated", "oracle+linear"]
    frame = ip.recover(
        _net(), _images(1), layers="0", transforms=[ip.Rotation(20)], methods=methods
    ).frame()
    chance = frame["method"].isin(["unrelated", "oracle+linear"])
    assert set(frame[chance]["outcome"]) == {"one_image"}
    assert frame[chance]["value"].isna().all()
    assert frame[~chance]["value"].notna().all()


@settings(max_examples=8)
@given(
    images=st.integers(2, 5),
    batch_size=st.integers(1, 6),
    moves=st.lists(st.sampled_from([20, 90, -130]), min_size=1, max_size=3, unique=True),
)
def test_every_pair_is_measured_whatever_is_read_together(
    images: int, batch_size: int, moves: list[int]
) -> None:
    """For any batch size each image meets its own map and its partner's, as a naive run says."""
    net, canvas = _net(), _images(images)
    transforms = [ip.Rotation(degrees) for degrees in moves]
    methods = ["oracle", "unrelated"]
    result = ip.recover(
        net, canvas, layers="0", transforms=transforms, methods=methods, batch_size=batch_size
    )
    frame = result.frame()
    assert len(frame) == images * len(moves) * len(methods) * 3
    (layer,) = find_layers(net, canvas, ["0"])
    with hooks.evaluating(net):
        reference, said = tap(net, canvas, [layer])["0"], net(canvas)
        for number, move in enumerate(transforms):
            theta = layer.oracle(move.matrix, SIDE, SIDE)
            (region,) = ip.plane.regions.visible(theta[None], SIDE, SIDE)
            moved = tap(net, move(canvas), [layer])["0"]
            for method, of in (("oracle", range(images)), ("unrelated", result.config["partners"])):
                warped = sampling.warp(moved[list(of)], theta.expand(images, 2, 3))
                put = torch.where(region, warped, reference)
                want = outputs_with(net, move(canvas), layer, put)[""]
                rows = frame[(frame["transform_number"] == number) & (frame["method"] == method)]
                rows = rows[rows["metric"] == "logit_rel_l2"].sort_values("image")
                torch.testing.assert_close(
                    torch.tensor(rows["value"].tolist()),
                    (want - said).norm(dim=1) / said.norm(dim=1),
                    rtol=ROUNDED,
                    atol=ROUNDED,
                )


LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=4, max_size=4)


@given(said=LOGITS, reference=LOGITS, shift=st.floats(-9, 9), factor=st.floats(0.1, 10))
def test_scores_keep_their_ranges(
    said: list[float], reference: list[float], shift: float, factor: float
) -> None:
    """A divergence is 0 or more, 0 for the same, and blind to a constant; a distance to scale."""
    one, other = (torch.tensor([v], dtype=torch.float64) for v in (said, reference))

    def scores(one: Tensor, other: Tensor) -> list[float]:
        return list(readout._scores(one, other, CLASS_METRICS[:3], None)[0].tolist())

    agreement, kl, distance = scores(one, other)
    assert agreement in {0.0, 1.0}
    assert kl >= 0
    assert scores(other, other)[:2] == [1.0, 0.0]
    assert math.isnan(distance) == (not any(reference))
    close = 100 * rounded(torch.float64)  # logits are of that order
    assert abs(scores(one + shift, other)[1] - kl) < close
    if any(reference):
        assert scores(one * factor, other * factor)[2] == pytest.approx(distance, rel=close)


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


def test_a_probe_and_a_recovery_make_one_table() -> None:
    """Both have the same columns and warps, so that one can be put below the other."""
    given: dict[str, Any] = {"layers": "2", "transforms": [ip.Rotation(30)], "seed": 3}
    methods = ["identity", "oracle", "affine"]
    probed = ip.probe(_net(), _images(), methods=methods, **given).frame()
    recovered = ip.recover(_net(), _images(), methods=methods, **given).frame()
    assert list(probed.columns) == list(recovered.columns)
    both = pd.concat([probed, recovered])
    by_pair = both.groupby(["image", "method"], observed=True)
    # a recovery runs on what it replaced, so that its convolutions add in another order; where the
    # error is flat to rounding, warps are a thousandth of the map apart at most
    warps = by_pair[["theta_00", "theta_12"]]
    assert (warps.max() - warps.min()).max(axis=None) < 1e-3
    assert set(both["metric"]) == {*METRICS, *CLASS_METRICS[:3]}


def test_a_run_is_saved_and_loaded(tmp_path: Any) -> None:
    """The folder holds the same table, the shares of all metrics, and both figures."""
    result = ip.recover(
        _net(), _images(), layers="0", transforms=[ip.Rotation(90)], out=tmp_path / "run"
    )
    loaded = ip.ProbeResult.load(tmp_path / "run")
    assert loaded.frame().equals(result.frame())
    drawn = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert drawn == {
        f"{kind}.{end}" for kind in ("recovery", "predictions") for end in ("png", "svg")
    }
    shares = pd.read_csv(tmp_path / "run" / "recovered.csv")
    assert set(shares["metric"]) == {"agreement", "kl", "logit_rel_l2"}


class _Whole(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean()


class _Broken(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.flatten(1) * torch.nan


@pytest.mark.parametrize(
    ("head", "given", "said"),
    [
        (None, {"methods": ["any-warp"]}, "no map to put back; choose from identity, "),
        (None, {"methods": ["joint+linear"]}, "no map to put back; choose from identity, "),
        (None, {"outside": "zero"}, "outside='zero': choose from reference, mean, moved, disc"),
        (None, {"labels": [1, 2]}, "one class number for each of the 3 images"),
        (None, {"labels": [0, 1, 5]}, "labels from 0 to 5: the model has 5 classes"),
        (None, {"classes": ["cat", "dog"]}, "2 names are given, but the model has 5 classes"),
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_gpu_agree() -> None:
    """The table is the same on both devices, as far as the search decides it."""
    frames = [
        ip.recover(
            _net(),
            _images(),
            layers=["0", "2"],
            transforms=[ip.Rotation(90), ip.Scaling(0.8)],
            methods=[*RECOVERY_METHODS, "oracle+linear", "affine+permutation"],
            device=device,
            outside="mean",
        ).frame()
        for device in ("cpu", "cuda")
    ]
    one, other = (each[each["metric"] != "agreement"]["value"] for each in frames)
    assert (one - other).abs().max() < SEARCHED * max(1.0, float(one.abs().max()))


def test_classes_that_come_with_the_images_are_scored() -> None:
    """A data set of images and classes gives the accuracy that labels of one's own do."""
    net, images, labels = _net(), _images(), torch.tensor([0, 3, 1, 4])
    given: dict[str, Any] = {"layers": "2", "transforms": ip.Rotation(90), "methods": ["identity"]}
    wanted = ip.recover(net, images, labels=labels, device="cpu", **given)
    found = ip.recover(net, TensorDataset(images, labels), device="cpu", **given)
    assert found.config["labels"] == labels.tolist()
    assert _means(found) == _means(wanted)
    assert ("identity", "accuracy") in _means(found)
