"""The measurement: known answers, order of methods, determinism, bad input."""

from collections.abc import Callable

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.errors import UnmeasuredLayerWarning
from invariance_probe.network.models import LoadedModel
from tests.tolerances import ROUNDED, SEARCHED

QUARTERS = [ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90)]


def _fvu(result: ip.ProbeResult) -> pd.DataFrame:
    """Fvu by (layer, transform number, image), one column a method."""
    frame = result.frame()
    frame = frame[frame["metric"] == "fvu"]
    return frame.pivot_table(
        index=["layer", "transform_number", "image"],
        columns="method",
        values="value",
        observed=True,
        dropna=False,
    )


def _symmetric(conv: nn.Conv2d) -> nn.Conv2d:
    """Average the filters of a convolution over quarter turns."""
    with torch.no_grad():
        conv.weight.copy_(sum(conv.weight.rot90(k, (2, 3)) for k in range(4)) / 4)
    return conv


def _four_fold_net(stride: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        _symmetric(nn.Conv2d(3, 8, 5, padding=2, stride=stride)),
        nn.ReLU(),
        _symmetric(nn.Conv2d(8, 8, 3, padding=1, stride=stride)),
        nn.ReLU(),
    )


def _generic_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))


def _pointwise_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 5, 1))


@pytest.mark.parametrize("stride", [1, 2])
def test_four_fold_filters_are_aligned_by_the_oracle_at_quarter_turns(stride: int) -> None:
    """On odd grids, filters symmetric under quarter turns leave 0; with stride too."""
    images = torch.rand(3, 3, 33, 33)
    got = _fvu(ip.probe(_four_fold_net(stride), images, layers="*", transforms=QUARTERS))
    assert got["oracle"].max() < ROUNDED**2
    assert got["affine"].max() < ROUNDED**2
    assert got["unrelated"].min() > 0.5


def test_even_grids_are_right_through_the_measured_offset() -> None:
    """An even grid whose cells are off the centre is aligned by the oracle as well as it can be."""
    images = torch.rand(2, 3, 32, 32)
    got = _fvu(ip.probe(_four_fold_net(), images, layers="3", transforms=QUARTERS))
    assert got["oracle"].max() < ROUNDED**2  # stride 1: the grid is centred
    smooth = nn.functional.interpolate(torch.rand(2, 3, 8, 8), size=(64, 64), mode="bicubic")
    net = _four_fold_net(2)
    off = _fvu(ip.probe(net, smooth, layers="3", transforms=QUARTERS, margin=3))
    assert off["oracle"].max() < 0.2 * off["identity"].min()


def test_generic_filters_are_not_aligned() -> None:
    """Filters without the symmetry leave much, and no affine warp found repairs it."""
    images = torch.rand(3, 3, 33, 33)
    got = _fvu(ip.probe(_generic_net(), images, layers="2", transforms=QUARTERS))
    assert got["oracle"].min() > 0.2
    assert got["affine"].min() > 0.1


def test_a_pointwise_network_stays_within_the_floor(photographs: Tensor) -> None:
    """Maps that see one pixel are moved like the image: the floor is left, by every transform."""
    smaller = nn.functional.avg_pool2d(photographs, 4)
    moves = [*ip.sweep("rotation", 15, 75, 20), ip.Scaling(0.7), ip.Scaling(1.5), ip.Shear(0.3)]
    got = _fvu(ip.probe(_pointwise_net(), smaller, layers="2", transforms=moves, crop=56))
    assert (got["oracle"] / got["floor"]).between(0.5, 1.25).all()
    assert (got["affine"] <= got["oracle"]).all()
    assert got["affine"].max() < 0.15
    assert got["identity"].min() > 0.3


def test_order_of_methods_holds(lite: LoadedModel, photographs: Tensor) -> None:
    """Affine <= oracle, and <= identity (which is in the family here), for each pair."""
    moves = [*ip.sweep("rotation", -90, 90, 45), ip.Scaling(0.6), ip.Scaling(1.6)]
    result = ip.probe(
        lite.module,
        photographs[:3],
        layers=["_blocks.4", "_blocks.10"],
        transforms=moves,
        crop=224,
        mean=lite.mean,
        std=lite.std,
    )
    got = _fvu(result)
    assert len(got) == 2 * 7 * 3
    assert (got["affine"] <= got["oracle"]).all()
    assert (got["affine"] <= got["identity"]).all()
    assert got.xs(2, level="transform_number")["affine"].max() == 0  # 0 degrees
    moved = got.drop(index=2, level="transform_number")
    assert (moved["floor"] < moved["affine"]).mean() > 0.9
    assert 1.2 < moved["unrelated"].mean() < 2.5
    frame = result.frame()
    for column in ("region_frac", "filled_frac"):
        assert frame[column].between(0, 1).all()
    assert frame["filled_frac"][frame["transform"] == "rotation"].max() == 0
    assert set(frame["outcome"][frame["method"] == "affine"]) <= {
        "converged",
        "distortion_limit",
        "step_limit",
    }


def test_the_same_seed_gives_the_same_table_bit_for_bit(small_net: nn.Module) -> None:
    """Two runs agree in every bit; another batch size changes what rounding can change."""
    images = torch.rand(5, 3, 24, 24)
    moves = [ip.Rotation(40), ip.Scaling(1.3)]

    def run(batch_size: int, seed: int) -> pd.DataFrame:
        result = ip.probe(
            small_net, images, layers=["1", "4"], transforms=moves, batch_size=batch_size, seed=seed
        )
        return result.frame()

    first = run(16, 0)
    pd.testing.assert_frame_equal(first, run(16, 0), check_exact=True)
    one_by_one = run(1, 0)
    columns = ["layer", "image", "transform_number", "method", "metric"]
    pd.testing.assert_frame_equal(first[columns], one_by_one[columns])
    assert (first["value"] - one_by_one["value"]).abs().max() < SEARCHED
    other = run(16, 1)
    chance = first["method"] == "unrelated"
    assert (first["value"] != other["value"])[chance].any()  # other pairs
    known = first["method"].isin(["identity", "oracle", "floor"])  # nothing is drawn for them
    pd.testing.assert_series_equal(first["value"][known], other["value"][known], check_exact=True)


def test_channel_means_are_those_of_all_images(small_net: nn.Module) -> None:
    """Fvu divides by the variance about the mean of all reference maps over the region."""
    images = torch.rand(3, 3, 21, 21)
    result = ip.probe(small_net, images, layers="1", transforms=[ip.Rotation(90)], margin=0.5)
    with torch.no_grad():
        maps, moved = small_net[:2](images), small_net[:2](ip.Rotation(90)(images))
    mean = maps.mean((0, 2, 3))[:, None, None]
    expected = (moved - maps).square().sum((1, 2, 3)) / (maps - mean).square().sum((1, 2, 3))
    assert _fvu(result)["identity"].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_model_mode_and_place_are_restored(small_net: nn.Module) -> None:
    """A model left in train mode comes back in train mode and float32, hooks gone."""
    small_net.train()
    ip.probe(
        small_net,
        torch.rand(1, 3, 16, 16),
        layers="1",
        transforms=[ip.Rotation(9)],
        dtype="float64",
    )
    assert small_net.training
    assert next(small_net.parameters()).dtype == torch.float32
    assert not any(module._forward_hooks for module in small_net.modules())


def test_one_image_has_no_interval_and_no_chance_level(small_net: nn.Module) -> None:
    """With a single image, intervals and the unrelated level are NaN, with the reason."""
    result = ip.probe(small_net, torch.rand(1, 3, 20, 20), layers="1", transforms=[ip.Rotation(20)])
    frame = result.frame()
    unrelated = frame[frame["method"] == "unrelated"]
    assert unrelated["value"].isna().all()
    assert set(unrelated["outcome"]) == {"one_image"}
    summary = result.summary()
    assert summary["low"].isna().all()
    assert summary[summary["method"] == "affine"]["mean"].notna().all()


def test_an_empty_region_is_nan_with_the_reason(small_net: nn.Module) -> None:
    """A transform that leaves nothing in sight gives NaN, not 0."""
    result = ip.probe(
        small_net, torch.rand(2, 3, 16, 16), layers="1", transforms=[ip.Translation(40, 0)]
    )
    frame = result.frame()
    assert frame["value"].isna().all()
    assert set(frame["outcome"]) == {"empty_region"}
    assert set(frame["region_frac"]) == {0.0}


class CountingImages:
    """Images made when asked for; remembers how many were asked for."""

    def __init__(self, count: int) -> None:
        self.names = [f"image {i}" for i in range(count)]
        self.loaded = 0

    def __len__(self) -> int:
        """Count."""
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """Make one."""
        self.loaded += 1
        return torch.rand(3, 18, 18, generator=torch.Generator().manual_seed(index))


def test_images_are_streamed(small_net: nn.Module) -> None:
    """Each image is loaded twice, once more for each shift of the floor, and none is kept."""
    images = CountingImages(23)
    sizes: list[int] = []
    handle = small_net[0].register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    result = ip.probe(
        small_net, images, layers="1", transforms=[ip.Rotation(30), ip.Scaling(2)], batch_size=7
    )
    handle.remove()
    copies = len(result.config["floor"]["shifts"])
    assert copies <= 0.1 * 4 * 23
    assert images.loaded <= 2 * 23 + 1 + copies
    assert max(sizes) <= 7
    assert sorted(set(result.frame()["image"])) == sorted(images.names)


@settings(max_examples=6)
@given(
    methods=st.lists(st.sampled_from(ip.METHODS), min_size=1, unique=True),
    batch=st.integers(1, 9),
)
def test_every_pair_has_exactly_one_row_a_metric(methods: list[str], batch: int) -> None:
    """Whatever methods and batch size, the table is complete and has no row twice."""
    torch.manual_seed(0)
    net = nn.Conv2d(1, 2, 3)
    moves = [ip.Rotation(30), ip.Rotation(0), ip.Scaling(0.8)]
    result = ip.probe(
        nn.Sequential(net),
        torch.rand(4, 1, 12, 12),
        layers="*",
        transforms=moves,
        methods=methods,
        batch_size=batch,
    )
    frame = result.frame()
    assert len(frame) == 3 * 4 * len(methods) * 3
    keys = ["layer", "image", "transform_number", "method", "metric"]
    assert not frame.duplicated(keys).any()
    assert set(frame["method"]) == set(methods)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": "2x"}, "unknown layer '2x'"),
        ({"layers": "6"}, "has no spatial map"),
        ({"layers": "5"}, "1 x 1 map"),
        ({"transforms": []}, "no transforms"),
        ({"methods": ["oracel"]}, "methods=.*choose from identity"),
        ({"crop": 64}, "is too small for a crop of 64 x 64; give larger images"),
        ({"device": "cuda:7"}, "device='cuda:7' is not available"),
        ({"device": "abacus"}, "choose auto, cpu"),
        ({"dtype": "float16"}, "choose float32 or float64"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"margin": -1.0}, "margin=-1"),
        ({"mean": (0.5, 0.5)}, "one for each of the 3 channels"),
        ({"images": torch.rand(2, 1, 16, 16)}, r"refuses an image of shape \(1, 16, 16\)"),
        ({"images": torch.rand(0, 3, 16, 16)}, "no images"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    small_net: nn.Module, change: dict[str, object], message: str
) -> None:
    """Each refusal is one line that names the value and the way out."""
    arguments: dict[str, object] = {
        "images": torch.rand(2, 3, 16, 16),
        "layers": "1",
        "transforms": [ip.Rotation(10)],
    } | change
    call: Callable[..., ip.ProbeResult] = ip.probe
    with pytest.raises(ip.InvalidInputError, match=message) as caught:
        call(small_net, arguments.pop("images"), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_gpu_agree(small_net: nn.Module) -> None:
    """The table is the same on both devices, as far as the search decides it."""
    images = torch.rand(3, 3, 32, 32)
    frames = [
        ip.probe(small_net, images, layers="1", transforms=QUARTERS, device=device).frame()
        for device in ("cpu", "cuda")
    ]
    assert (frames[0]["value"] - frames[1]["value"]).abs().max() < SEARCHED


def test_a_layer_of_assumed_geometry_is_warned_of() -> None:
    """A map of fixed size has no stride of its own: the warning and the run name the layer."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(6))
    with pytest.warns(UnmeasuredLayerWarning, match="Stride and offset of 1 failed"):
        result = ip.probe(net, torch.rand(3, 1, 40, 40), layers="*", transforms=[ip.Rotation(90)])
    assert result.config["unmeasured"] == ["1"]
