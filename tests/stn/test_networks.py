"""The papers' networks, and a convolution that computes what torch's does."""

import pytest
import torch
from torch import nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.stn.networks import ARCHITECTURES, Classifier, build_localizer


def test_mnist_network_is_the_papers() -> None:
    """Conv 9x9/64, pool, ReLU, conv 7x7/64, pool, ReLU, linear, with these maps and parameters."""
    network = Classifier(ARCHITECTURES["mnist"], channels=1, side=28, classes=10)
    assert network.sizes == [(1, 28, 28), (64, 10, 10), (64, 2, 2)]
    kinds = [type(part).__name__ for layer in network.layers for part in layer]
    assert kinds == ["ImageConvolution", "MaxPool2d", "ReLU"] * 2
    count = sum(p.numel() for p in network.parameters())
    assert count == (81 * 64 + 64) + (49 * 64 * 64 + 64) + (256 * 10 + 10)
    assert network(torch.rand(3, 1, 28, 28)).shape == (3, 1, 10)


def test_svhn_network_is_the_papers() -> None:
    """Eight convolutions 5x5, pooling after 1, 3, 5, 7, three layers of 3072, five heads of 11."""
    with torch.device("meta"):
        network = Classifier(ARCHITECTURES["svhn"], channels=3, side=64, classes=11, slots=5)
        assert network(torch.rand(2, 3, 64, 64)).shape == (2, 5, 11)
    assert [size[0] for size in network.sizes[1:]] == [48, 64, 128, 160, 192, 192, 192, 192]
    assert [size[1] for size in network.sizes] == [64, 32, 32, 16, 16, 8, 8, 4, 4]
    linear = [part.out_features for part in network.head if isinstance(part, nn.Linear)]
    assert linear == [3072, 3072, 3072, 55]
    assert [dropping(layer) for layer in network.layers] == [False] + [True] * 7


def test_plankton_network_is_the_authors() -> None:
    """Ten convolutions 3x3, overlapping pooling after 2, 4, 7, 10, dropout before linear layers."""
    with torch.device("meta"):
        network = Classifier(ARCHITECTURES["plankton"], channels=1, side=95, classes=121)
        assert network(torch.rand(2, 1, 95, 95)).shape == (2, 1, 121)
    filters = [32, 32, 64, 64, 128, 128, 128, 256, 256, 256]
    assert [size[0] for size in network.sizes[1:]] == filters
    assert [size[1] for size in network.sizes] == [95, 95, 47, 47, 23, 23, 23, 11, 11, 11, 5]
    pooling = [part for layer in network.layers for part in layer if isinstance(part, nn.MaxPool2d)]
    assert {(part.kernel_size, part.stride) for part in pooling} == {(3, 2)}
    slopes = {part.negative_slope for part in network.modules() if isinstance(part, nn.LeakyReLU)}
    assert slopes == {1 / 3}
    dropped = [number for number, layer in enumerate(network.layers, 1) if dropping(layer)]
    assert dropped == [10]
    kinds = [type(part).__name__ for part in network.head]
    assert kinds == ["Flatten", *["Linear", "LeakyReLU", "Dropout"] * 2, "Linear"]


def dropping(layer: nn.Module) -> bool:
    """Whether a layer drops values."""
    return any(isinstance(part, nn.Dropout) for part in layer.modules())


@pytest.mark.parametrize("name", ["mnist", "svhn", "mnist-deep", "plankton"])
def test_frames_are_where_cells_lie(name: str) -> None:
    """The middle of a map's cells is where the image's gradient through one cell is centred."""
    plan = ARCHITECTURES[name]
    network = Classifier(plan, channels=1, side=95, classes=3, width=0.05).double().eval()
    for module in network.layers.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
    images = torch.ones(1, 1, 95, 95, dtype=torch.float64, requires_grad=True)
    maps = images
    for layer, frame, size in zip(
        network.layers, network.frames[1:], network.sizes[1:], strict=True
    ):
        # mean pooling has the same geometry and passes gradients to all it reads
        parts = [
            nn.AvgPool2d(part.kernel_size, part.stride) if isinstance(part, nn.MaxPool2d) else part
            for part in layer
            if not isinstance(part, nn.ReLU | nn.LeakyReLU | nn.Dropout)
        ]
        maps = nn.Sequential(*parts)(maps)
        middle = size[1] // 2
        (gradient,) = torch.autograd.grad(maps[0, 0, middle, middle], images, retain_graph=True)
        weights = gradient[0, 0].sum(0)
        seen = float((weights * torch.arange(95)).sum() / weights.sum())
        if weights[0] > 0 or weights[-1] > 0:
            break  # what is cut off by the border is not symmetric
        on_map = (2 * middle + 1) / size[1] - 1
        on_image = frame.share * on_map + frame.centre
        assert on_image == pytest.approx((2 * seen + 1) / 95 - 1, abs=1e-9)
    else:
        assert maps.shape[-1] == size[1]


def test_width_scales_filters_and_hidden_units() -> None:
    """Half the width halves every number of filters and hidden units, and no head."""
    network = Classifier(
        ARCHITECTURES["plankton"], channels=1, side=64, classes=121, slots=1, width=0.5
    )
    full = ARCHITECTURES["plankton"]
    assert [size[0] for size in network.sizes[1:]] == [c // 2 for c in full.channels]
    assert network(torch.rand(1, 1, 64, 64)).shape == (1, 1, 121)


def test_too_small_images_are_refused() -> None:
    """Images that leave nothing of a map are named, with the layer."""
    with pytest.raises(InvalidInputError, match=r"14 pixels are too small .* layer 2"):
        Classifier(ARCHITECTURES["mnist"], channels=1, side=14, classes=10)


@pytest.mark.parametrize("kind", ["fc", "conv", "padded"])
@pytest.mark.parametrize("size", [(1, 28, 28), (64, 10, 10), (64, 2, 2), (3, 1, 1), (1, 60, 60)])
def test_localizers_take_any_map(kind: str, size: tuple[int, int, int]) -> None:
    """All localizers return as many features as they say, on images and on the smallest maps."""
    body, features = build_localizer(kind, size)
    assert body(torch.rand(2, *size)).shape == (2, features)


@pytest.mark.parametrize(
    ("kind", "size", "flat", "ends"),
    [
        ("conv", (1, 60, 60), 20 * 12**2, [20]),
        ("conv", (64, 26, 26), 20 * 7**2, [20]),  # no second pooling
        ("conv", (1, 112, 112), 20 * 11**2, [20]),  # sees the image halved
        ("fc", (1, 28, 28), 28**2, [32, 32, 32]),
        ("padded", (48, 32, 32), 32 * 16**2, [32, 32]),
    ],
)
def test_localizers_are_the_papers(
    kind: str, size: tuple[int, int, int], flat: int, ends: list[int]
) -> None:
    """Values after the convolutions, and units of the linear layers, are those of the papers."""
    body, _ = build_localizer(kind, size)
    linear = [part for part in body if isinstance(part, nn.Linear)]
    assert linear[0].in_features == flat
    assert [part.out_features for part in linear] == ends


def test_svhns_localizer_is_its_own() -> None:
    """The papers' for SVHN is chosen by the classifier, not by the size of the images."""
    with torch.device("meta"):
        network = Classifier(ARCHITECTURES["svhn"], channels=3, side=64, classes=11, slots=5)
    assert network.architecture.localizer == "padded"


def test_unknown_localizer_is_refused() -> None:
    """A localizer of another name is named, with the choices."""
    with pytest.raises(InvalidInputError, match="'deep' is unknown; choose from auto, fc, conv"):
        build_localizer("deep", (1, 28, 28))


def test_signals_survive_eight_layers() -> None:
    """The deep network for digits, and copies of its layers, neither lose nor swell signals."""
    torch.manual_seed(0)
    network = Classifier(ARCHITECTURES["mnist-deep"], channels=1, side=28, classes=10).eval()
    images = torch.rand(16, 1, 28, 28)
    for layers in (network.layers, network.copy_of_layers(8)):
        maps, spread = images, []
        for layer in layers:
            maps = layer(maps)
            spread.append(float(maps.detach().std()))
        assert 0.2 < spread[-1] / spread[0] < 5
