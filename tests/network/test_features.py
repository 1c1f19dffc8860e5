"""Listing and tapping layers, and where their maps lie on the input."""

import contextlib
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.network import features, hooks


class Reusing(nn.Module):
    """Calls one convolution and one in-place ReLU twice, and returns nested outputs."""

    class Pair(NamedTuple):
        """What the model returns."""

        maps: Tensor
        more: dict[str, object]

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> "Reusing.Pair":
        """Return the first map, and the second in a list with a vector."""
        first = self.relu(self.conv(x))
        second = self.relu(self.conv(first))
        return Reusing.Pair(first, {"list": [second, second.mean((2, 3))], "count": 2})


class ChannelsLast(nn.Module):
    """Works on (batch, height, width, channel), as Swin and ConvNeXt do inside."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of patches."""
        return self.mix(self.norm(self.patches(x).permute(0, 2, 3, 1))).mean((1, 2))


def test_channels_last_is_recognised_and_tapped_channels_first() -> None:
    """Maps with channels last are listed, and come out channels first."""
    model = ChannelsLast()
    images = torch.rand(2, 3, 32, 48)
    layers = {layer.name: layer for layer in features.find_layers(model, images)}
    assert (layers["mix"].channels, layers["mix"].height, layers["mix"].width) == (8, 8, 12)
    assert layers["mix"].channels_last
    assert (layers["mix"].stride_x, layers["mix"].offset_x) == (4.0, 1.5)
    with hooks.evaluating(model):
        taps = features.tap(model, images, [layers["mix"]])
    assert taps["mix"].shape == (2, 8, 8, 12)


def test_reused_modules_and_nested_outputs_are_all_listed() -> None:
    """Each call and each tensor in a tuple, list or dict has a name of its own."""
    frame = ip.list_layers(Reusing(), torch.rand(1, 2, 16, 16)).set_index("name")
    assert list(frame.index) == [
        "conv#1",
        "relu#1",
        "conv#2",
        "relu#2",
        "(model):out.0",
        "(model):out.1.list.0",
        "(model):out.1.list.1",
    ]
    assert frame.loc["conv#2", "call"] == 2
    assert not frame.loc["(model):out.1.list.1", "spatial"]
    assert "does not have two spatial dimensions" in frame.loc["(model):out.1.list.1", "reason"]


def test_patterns_choose_spatial_layers(small_net: nn.Module) -> None:
    """A module's name means all its calls; a pattern takes the maps among its matches."""
    layers = features.find_layers(Reusing(), torch.rand(1, 2, 16, 16))
    assert [x.name for x in features.select_layers(layers, ["conv"])] == ["conv#1", "conv#2"]
    assert [x.name for x in features.select_layers(layers, ["*#2"])] == ["conv#2", "relu#2"]
    layers = features.find_layers(small_net, torch.rand(1, 3, 16, 16))
    assert [x.name for x in features.select_layers(layers, ["0, 2"])] == ["0", "2"]
    assert [x.name for x in features.select_layers(layers, ["*"])] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("convv", "unknown layer 'convv'; did you mean conv"),
        ("zzz", "unknown layer 'zzz'; see `invariance-probe layers`"),
        ("(model):out.1.list.1", "has no spatial map .output of shape"),
    ],
)
def test_unknown_layers_are_refused(pattern: str, message: str) -> None:
    """A refusal names close matches, or why there is no map."""
    layers = features.find_layers(Reusing(), torch.rand(1, 2, 16, 16))
    with pytest.raises(ip.InvalidInputError, match=message):
        features.select_layers(layers, [pattern])


def test_one_by_one_maps_are_no_maps(small_net: nn.Module) -> None:
    """A globally pooled map is listed with the reason why it cannot be aligned."""
    frame = ip.list_layers(small_net, torch.rand(1, 3, 16, 16)).set_index("name")
    assert "1 x 1" in frame.loc["5", "reason"]
    assert not frame.loc["5", "spatial"]


class Failing(nn.Module):
    """Raises in its second half."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.drop = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        """Fail."""
        self.conv(x)
        raise RuntimeError("boom")


def test_model_is_left_as_it_was_found_even_after_an_error() -> None:
    """Hooks come off, training modes, weights and buffers are what they were."""
    for model in (Failing(), nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU())):
        model.train()
        list(model.children())[1].eval()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        refused = pytest.raises(ip.InvalidInputError, match="boom")
        expected = refused if isinstance(model, Failing) else None
        with expected or contextlib.nullcontext():
            ip.list_layers(model, torch.rand(2, 3, 12, 12))
        assert [module.training for module in model.modules()] == modes
        assert not any(module._forward_hooks for module in model.modules())
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_pass_ends_after_the_last_wanted_layer() -> None:
    """What follows the deepest tapped layer is not computed."""
    model = Failing()
    layer = features.Layer(
        name="conv", module="conv", type="Conv2d", call=1, path="", channels=2, height=4, width=4
    )
    with hooks.evaluating(model):
        assert features.tap(model, torch.rand(1, 3, 6, 6), [layer])["conv"].shape == (1, 2, 4, 4)


def test_oracle_is_corrected_for_stride_and_offset() -> None:
    """A cell's content is found where its pixel goes, whatever the map's stride and offset."""
    layer = features.Layer(
        name="x",
        module="x",
        type="X",
        call=1,
        path="",
        channels=1,
        height=7,
        width=7,
        stride_y=4,
        stride_x=4,
        offset_y=3,
        offset_x=3,
    )
    move = ip.Rotation(30) @ ip.Translation(2, 1)
    theta = layer.oracle(move.matrix, 28, 28)
    cell = torch.tensor([2.0, 5.0], dtype=torch.float64)
    pixel = 3 + 4 * cell - 13.5
    moved_pixel = (move.matrix @ torch.cat([pixel, torch.ones(1).double()]))[:2] + 13.5
    normalised = (2 * cell + 1) / 7 - 1
    read = theta @ torch.cat([normalised, torch.ones(1).double()])
    torch.testing.assert_close((read + 1) * 7 / 2 - 0.5, (moved_pixel - 3) / 4)


class Pyramid(nn.Module):
    """A feature pyramid: deep maps are enlarged and added to finer ones, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 7, 4, 3)
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(), *(nn.Conv2d(4, 4, 3, 1, 1) for _ in range(6))
            )
            for _ in range(3)
        )
        self.out = nn.Conv2d(4, 4, 3, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the maps from fine to coarse."""
        maps = [self.stem(x)]
        for down in self.down:
            maps.append(down(maps[-1]))
        for i in (2, 1, 0):
            maps[i] = maps[i] + nn.functional.interpolate(maps[i + 1], size=maps[i].shape[-2:])
        return {str(i): self.out(one) for i, one in enumerate(maps)}


class Context(nn.Module):
    """Taps far apart, and a mean over the whole map added to every cell: a segmentation head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 8, 1), nn.ReLU())
        self.far = nn.Conv2d(4, 4, 3, padding=36, dilation=36)
        self.near = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add three views of one map."""
        y = self.stem(x)
        whole = nn.functional.interpolate(y.mean((2, 3), keepdim=True), size=y.shape[-2:])
        return self.near(y) + self.far(y) + whole


def test_top_down_paths_do_not_shrink_strides() -> None:
    """The maps of a feature pyramid have the strides that their levels must have."""
    layers = {
        layer.name: layer for layer in features.find_layers(Pyramid(), torch.rand(1, 3, 128, 128))
    }
    for level in range(4):
        layer = layers[f"(model):out.{level}"]
        assert layer.measured
        assert (layer.stride_y, layer.stride_x) == (4 * 2**level, 4 * 2**level)
        assert abs(layer.offset_x) < layer.stride_x / 2


def test_far_taps_and_global_context_do_not_fool_the_measurement() -> None:
    """Cells that see far away and everywhere lie where their own pixels do."""
    layer = features.find_layers(Context(), torch.rand(1, 3, 128, 128))[-1]
    assert layer.measured
    assert (layer.stride_y, layer.stride_x, layer.offset_y, layer.offset_x) == (8, 8, 0, 0)


def test_weights_of_both_signs_do_not_matter() -> None:
    """An edge filter, whose weights cancel, is placed like any other filter of its size."""
    edge = nn.Conv2d(1, 1, 3, 2, 1, bias=False)
    with torch.no_grad():
        edge.weight.copy_(torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]))
    layer = features.find_layers(nn.Sequential(edge), torch.rand(1, 1, 32, 32))[0]
    assert layer.measured
    assert (layer.stride_x, layer.offset_x) == (2, 0)


class Stretching(nn.Module):
    """Resizes every map to one size, so that cells lie where the canvas's size says."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool to a fixed grid."""
        return nn.functional.adaptive_avg_pool2d(x, 6)


@pytest.mark.parametrize("side", [96, 97, 224])
def test_what_does_not_follow_the_input_is_not_called_measured(side: int) -> None:
    """A map of fixed size has no stride of its own: it is taken to cover the input, and starred."""
    layer = features.find_layers(nn.Sequential(Stretching()), torch.rand(1, 3, side, side))[0]
    assert not layer.measured
    assert (layer.stride_x, layer.offset_x) == (side / 6, (side / 6 - 1) / 2)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_enlarged_maps_have_strides_below_one(mode: str, factor: int) -> None:
    """Cells of an enlarged map lie closer than pixels, and their middle stays the image's."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Upsample(scale_factor=factor, mode=mode))
    layer = features.find_layers(net, torch.rand(1, 3, 32, 32))[1]
    assert layer.measured
    assert layer.stride_x == pytest.approx(1 / factor, abs=1e-3)
    assert layer.offset_x == pytest.approx((1 / factor - 1) / 2, abs=0.05)


class Parts(nn.Module):
    """Returns windows of the map, nothing, and a map of another shape than the image's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.windows, self.nothing, self.strip = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Cut into four windows, and sort the values of each."""
        maps = self.conv(x)
        cut = maps.unflatten(3, (2, 8)).unflatten(2, (2, 8)).permute(0, 2, 4, 1, 3, 5)
        self.windows(cut.flatten(0, 2))
        self.nothing(maps[:, :0])
        return self.strip(maps.flatten(2).sort().values.unflatten(2, (2, 128)))


def test_what_only_looks_like_a_map_is_refused_with_the_reason() -> None:
    """Windows, empty outputs, and what neither follows the image nor has its proportions."""
    frame = ip.list_layers(Parts(), torch.rand(1, 3, 16, 16)).set_index("name")
    for name, reason in {
        "windows": "windows or parts, not a map of the image",
        "nothing": "is empty",
        "strip": "(1, 4, 2, 128) neither follows the image nor has its proportions",
    }.items():
        assert not frame.loc[name, "spatial"]
        assert reason in str(frame.loc[name, "reason"])
    assert frame.loc["conv", "spatial"]
