"""Where the cells of maps lie on the input: known windows, and receptive fields found by NaN."""

import copy
from collections.abc import Set

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from invariance_probe.network import receptive
from invariance_probe.network.hooks import Key, evaluating, record
from invariance_probe.network.models import LoadedModel
from invariance_probe.network.receptive import Place


def _places(model: nn.Module, images: Tensor, modules: Set[str] | None = None) -> dict[str, Place]:
    """The measured places of all maps, or of some modules' own, by the module that returns them."""
    wanted = None if modules is None else {Key(module, 1, "") for module in modules}
    with evaluating(model):
        outputs = record(model, images, wanted)
        shapes = {key: output.shape for key, output in outputs.items() if output.dim() == 4}
        found = receptive.measure_places(model, images[:1], shapes)
    return {key.module: place for key, place in found.items()}


def _square(stride: float, offset: float) -> Place:
    return Place((stride, stride), (offset, offset), False)


class Gated(nn.Module):
    """Squeeze and excitation: a gate computed from the whole map scales the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.out = nn.Conv2d(8, 4, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Gate and convolve."""
        maps = torch.relu(self.conv(images))
        return self.out(maps * torch.sigmoid(self.gate(self.pool(maps))))


class Residual(nn.Module):
    """A window with a shortcut beside it that has the same stride and the same centre."""

    def __init__(self, channels: int, kernel: int, step: int) -> None:
        super().__init__()
        self.long = nn.Conv2d(channels, 4, kernel, step, kernel // 2)
        self.short = nn.Conv2d(channels, 4, 1, step)

    def forward(self, maps: Tensor) -> Tensor:
        """Add the two."""
        return self.long(maps) + self.short(maps)


class One(nn.Module):
    """A window that answers one image, whatever the batch; or none where there are several."""

    def __init__(self, *, refusing: bool) -> None:
        super().__init__()
        self.conv, self.refusing = nn.Conv2d(3, 4, 3, 2), refusing

    def forward(self, images: Tensor) -> Tensor:
        """Convolve the first."""
        if self.refusing and len(images) > 1:
            raise ValueError("one by one")
        return self.conv(images[:1])


@pytest.mark.parametrize("refusing", [False, True])
def test_bumps_are_shown_one_by_one_where_a_model_takes_one_image(refusing: bool) -> None:
    """What stands beside each other in a batch is told apart, or not put there."""
    assert _places(One(refusing=refusing), torch.rand(1, 3, 32, 32)) == {
        "": _square(2, 1),
        "conv": _square(2, 1),
    }


@pytest.mark.parametrize(
    ("layers", "stride", "offset"),
    [
        ([nn.Conv2d(3, 4, 1)], 1, 0),
        ([nn.Conv2d(3, 4, 3)], 1, 1),
        ([nn.Conv2d(3, 4, 4, 2, 1)], 2, 0.5),  # even: the centre lies between pixels
        ([nn.Conv2d(3, 4, 2, 2)], 2, 0.5),
        ([nn.Conv2d(3, 4, 16, 16)], 16, 7.5),  # a vision transformer's patches
        ([nn.Conv2d(3, 4, 3, dilation=3)], 1, 3),
        ([nn.Conv2d(3, 4, 2, dilation=3, padding=1)], 1, 0.5),
        ([nn.AvgPool2d(2)], 2, 0.5),
        ([nn.MaxPool2d(2)], 2, 0.5),
        ([nn.MaxPool2d(3, 2, 1)], 2, 0),
        ([nn.Conv2d(3, 4, 7, 2, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 4, 0),
        ([nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2)], 2, 1),  # "same" on even sizes
        ([nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3, 2)], 2, 0),
        # patches at 1.5, 5.5, ... are read at a quarter of their distance on either side
        ([nn.Conv2d(3, 4, 4, 4), nn.Upsample(scale_factor=2, mode="bilinear")], 2, 0.5),
        # read twice at the same place: a staircase, whose cells lie there on average
        ([nn.Conv2d(3, 4, 4, 4), nn.Upsample(scale_factor=2)], 2, 0.5),
        ([nn.Conv2d(3, 4, 4, 4), nn.ConvTranspose2d(4, 4, 2, 2)], 2, 0.5),
    ],
)
def test_hand_made_nets_have_their_known_places(
    layers: list[nn.Module], stride: float, offset: float
) -> None:
    """Stride and offset are those of the windows, even, dilated, pooled or padded on one side."""
    found = _places(nn.Sequential(*layers), torch.rand(1, 3, 64, 64))
    assert found[str(len(layers) - 1)] == _square(stride, offset)


@settings(max_examples=40)
@given(
    blocks=st.lists(
        st.tuples(
            st.sampled_from(["conv", "max", "mean"]),
            st.integers(1, 5),
            st.integers(1, 3),
            st.integers(0, 2),
            st.integers(1, 2),
        ),
        min_size=1,
        max_size=4,
    ),
    side=st.integers(40, 90),
)
def test_stride_and_offset_follow_the_arithmetic_of_windows(
    blocks: list[tuple[str, int, int, int, int]], side: int
) -> None:
    """Measured stride and offset are those of kernel, stride, padding and dilation, to 0.05 px."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    expected = []
    stride, offset, channels, size = 1.0, 0.0, 3, side
    for kind, kernel, step, padding, dilation in blocks:
        padding = min(padding, kernel // 2)
        if kind != "conv":
            dilation = 1
        reach = dilation * (kernel - 1)
        grown = (size + 2 * padding - reach - 1) // step + 1
        if size + 2 * padding <= reach or grown < 2:
            break
        if kind == "conv":
            layers += [nn.Conv2d(channels, 4, kernel, step, padding, dilation), nn.BatchNorm2d(4)]
            channels = 4
        elif kind == "max":
            layers.append(nn.MaxPool2d(kernel, step, padding))
        else:
            layers.append(nn.AvgPool2d(kernel, step, padding))
        offset += stride * (reach / 2 - padding)
        stride *= step
        size = grown
        expected += [(stride, offset)] * (2 if kind == "conv" else 1)
        layers.append(nn.ReLU())
        expected.append((stride, offset))
    assume(layers)
    found = _places(nn.Sequential(*layers), torch.rand(1, 3, side, side))
    for i, (stride, offset) in enumerate(expected):
        assert found[str(i)].stride == pytest.approx((stride, stride), abs=0.05)
        assert found[str(i)].offset == pytest.approx((offset, offset), abs=0.05)


def _centres_by_nan(model: nn.Module, side: int) -> tuple[float, float]:
    """Stride and offset the slow way: which cells does a NaN in each row of the input reach?

    float64, because its convolutions multiply windows one by one; faster kinds mix neighbours.
    """
    model = copy.deepcopy(model).double().eval()
    images = torch.rand(side, 3, side, 4, dtype=torch.float64)
    images[torch.arange(side), :, torch.arange(side)] = torch.nan
    with torch.no_grad():
        reached = model(images).isnan().any(1).any(-1)  # (row of the input, row of the map)
    middle = reached.shape[1] // 2
    centres = [
        float(torch.nonzero(reached[:, cell]).double().mean()) for cell in (middle, middle + 1)
    ]
    stride = centres[1] - centres[0]
    return stride, centres[0] - stride * middle


@settings(max_examples=25)
@given(
    blocks=st.lists(
        st.sampled_from(["conv3", "conv4", "residual", "residual5", "max", "mean", "same"]),
        min_size=1,
        max_size=3,
    )
)
def test_places_are_the_centres_of_what_a_nan_reaches(blocks: list[str]) -> None:
    """Measured places are the centres of receptive fields as NaNs in the input find them."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for block in blocks:
        layers += {
            "conv3": lambda c: [nn.Conv2d(c, 4, (3, 1), (2, 1)), nn.ReLU()],
            "conv4": lambda c: [nn.Conv2d(c, 4, (4, 1), padding=(1, 0))],
            "residual": lambda c: [Residual(c, 3, 2)],
            "residual5": lambda c: [Residual(c, 5, 1)],
            "max": lambda _: [nn.MaxPool2d((3, 1), (2, 1), (1, 0))],
            "mean": lambda _: [nn.AvgPool2d((2, 1), (2, 1))],
            "same": lambda c: [nn.ZeroPad2d((0, 0, 0, 1)), nn.Conv2d(c, 4, (2, 1))],
        }[block](channels)
        channels = channels if block in {"max", "mean"} else 4
    model = nn.Sequential(*layers)
    found = _places(model, torch.rand(1, 3, 96, 96))[""]
    assert (found.stride[0], found.offset[0]) == pytest.approx(_centres_by_nan(model, 96), abs=0.05)


def test_efficientnet_lite_geometry(lite: LoadedModel) -> None:
    """Padding "same" puts the first cell at s - 1 on even sizes and at 0 on sizes 32 n + 1."""
    strides = {"_blocks.0": 2, "_blocks.4": 8, "_blocks.10": 16, "_blocks.15": 32}
    for side, offsets in (
        (224, {name: s - 1 for name, s in strides.items()}),
        (225, dict.fromkeys(strides, 0)),
    ):
        found = _places(lite.module, torch.rand(1, 3, side, side), strides.keys())
        for name, stride in strides.items():
            assert found[name] == _square(stride, offsets[name]), (side, name)


def test_axes_are_measured_apart() -> None:
    """A map may have another stride and offset along y than along x."""
    net = nn.Sequential(nn.Conv2d(1, 2, (3, 5), stride=(2, 3), padding=(1, 0)))
    assert _places(net, torch.rand(1, 1, 40, 50))["0"] == Place((2, 3), (0, 2), False)


def _deep(*first: nn.Module) -> nn.Sequential:
    """Something, then a network of stride 32 whose cells see all of an image of 128 pixels."""
    strides = (2, 2, 1, 2, 2, 1, 2, 1)
    body = [nn.Sequential(nn.Conv2d(1, 1, 5, s, 2), nn.ReLU()) for s in strides]
    return nn.Sequential(*first, *body)


@pytest.mark.parametrize("padding", [(1, 0, 0, 1), (0, 1, 1, 0)])
def test_columns_that_lie_otherwise_than_rows_are_told(padding: tuple[int, ...]) -> None:
    """One row or column of padding more on one side moves places by a pixel, at any depth."""
    found = _places(_deep(nn.ZeroPad2d(padding), nn.Conv2d(1, 1, 2)), torch.rand(1, 1, 128, 128))
    assert len(found) >= 10
    # a filter of 2 x 2 looks half a pixel ahead, behind a row or column in front half a pixel back
    left, _, top, _ = padding
    for place in found.values():
        assert place.offset[1] - place.offset[0] == top - left


def test_what_was_learnt_does_not_move_a_place() -> None:
    """Filters with all their weight in one corner have the places of the windows all the same."""
    net = nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    with torch.no_grad():
        for conv in (net[0], net[2]):
            conv.weight.zero_()
            conv.weight[..., 0, 0] = -1
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = _places(net, torch.rand(1, 3, 64, 64))
    assert found["0"] == _square(2, 0)
    assert found["2"] == _square(2, 2)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_gates_do_not_blur_the_measurement() -> None:
    """A gate that sees the whole image does not pull positions to the centre."""
    assert _places(Gated(), torch.rand(1, 3, 64, 64))["out"] == _square(4, 0)


def test_fixed_size_models_are_measured_where_they_answer() -> None:
    """A head that takes one size only does not keep the layers before it from being measured."""
    net = nn.Sequential(nn.Conv2d(1, 4, 9), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 3))
    assert _places(net, torch.rand(1, 1, 28, 28)) == {"0": _square(1, 4), "1": _square(2, 4.5)}


@pytest.mark.parametrize(("patch", "side"), [(14, 140), (16, 224), (32, 224), (8, 72)])
def test_patches_of_models_of_one_size_are_measured_to_the_pixel(patch: int, side: int) -> None:
    """Where the canvas has no room for a reach that the stride divides, one is found in turns."""

    class OneSize(nn.Conv2d):
        """Refuses other sizes, as vision transformers do."""

        def forward(self, images: Tensor) -> Tensor:
            """Cut into patches."""
            if images.shape[2:] != (side, side):
                raise ValueError("another size")
            return super().forward(images)

    places = _places(nn.Sequential(OneSize(3, 2, patch, patch)), torch.rand(1, 3, side, side))
    assert places["0"] == _square(patch, (patch - 1) / 2)


def test_cells_whose_number_is_fixed_have_no_place() -> None:
    """A map that does not grow with the input is not given a stride."""
    net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.AdaptiveAvgPool2d(4))
    assert _places(net, torch.rand(1, 3, 64, 64)) == {"0": _square(4, 1.5)}


def test_a_model_that_cannot_be_copied_is_not_measured() -> None:
    """Without a neutral copy there is no measurement, and no error either."""

    class Single(nn.Conv2d):
        def __deepcopy__(self, memo: object) -> "Single":
            raise TypeError("there is only one")

    assert _places(nn.Sequential(Single(3, 4, 3)), torch.rand(1, 3, 16, 16)) == {}


PROPORTIONS = {
    "height": st.integers(2, 40),
    "width": st.integers(2, 40),
    "channels": st.integers(1, 600),
    "stride": st.sampled_from([1, 2, 4, 16]),
}


@given(**PROPORTIONS)
def test_a_map_with_the_inputs_proportions_is_read_channels_first(
    height: int, width: int, channels: int, stride: int
) -> None:
    """Rows and columns in the input's proportions, behind channels, are never read otherwise."""
    shape, size = (1, channels, height, width), (stride * height, stride * width)
    assert not receptive.is_channels_last(shape, size)


@given(**PROPORTIONS)
def test_channels_behind_are_recognised_unless_they_too_fit_the_proportions(
    height: int, width: int, channels: int, stride: int
) -> None:
    """The same map with its channels behind is read so, but where both readings are possible."""
    assume(width * width != height * channels)
    shape, size = (1, height, width, channels), (stride * height, stride * width)
    assert receptive.is_channels_last(shape, size)
