"""What is convolved, pooled and rectified in one step is what the modules in turn make of it.

Images, weights and gradients are small whole numbers, so that every sum is exact in whatever order
and precision: values are compared bit by bit, on any processor, and equals abound where four cells
are pooled.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from invariance_probe.stn import pooled
from invariance_probe.stn.networks import ARCHITECTURES, LOCALIZERS, Classifier, build_localizer
from invariance_probe.stn.pooled import PooledSequential


def whole(*size: int, most: int = 2, seed: int = 0) -> Tensor:
    """Whole numbers from -most to most."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, size, generator=generator).float()


def three(channels: int, filters: int, side: int, padding: int = 0) -> PooledSequential:
    """A layer of whole numbers."""
    convolution = nn.Conv2d(channels, filters, side, padding=padding)
    with torch.no_grad():
        convolution.weight.copy_(whole(*convolution.weight.shape, seed=1))
        convolution.bias.copy_(whole(filters, seed=2))
    return PooledSequential(convolution, nn.MaxPool2d(2), nn.ReLU())


def in_turn(layer: nn.Sequential) -> nn.Sequential:
    """The same modules with weights of their own, one after the other, in double precision."""
    parts = [
        nn.Conv2d(*layer[0].weight.shape[1::-1], layer[0].kernel_size, padding=layer[0].padding)
    ]
    plain = nn.Sequential(*parts, nn.MaxPool2d(2), nn.ReLU())
    plain.load_state_dict(layer.state_dict())
    return plain.double()


def learnt(layer: nn.Sequential, images: Tensor) -> list[Tensor]:
    """Maps, and the gradients of images, weights and biases, in double precision."""
    leaf = images.detach().requires_grad_()
    out = layer(leaf)
    out.backward(whole(*out.shape, seed=3).to(out))
    assert leaf.grad is not None
    return [
        each.detach().double()
        for each in (out, leaf.grad, *(p.grad for p in layer[0].parameters()))
    ]


def is_one_step(out: Tensor) -> bool:
    """Whether compiled loops made these maps."""
    return type(out.grad_fn).__name__ == "_PooledBackward"


@pytest.mark.parametrize(
    ("channels", "filters", "side", "padding", "size"),
    [
        (1, 5, 9, 0, (2, 28, 28)),
        (3, 20, 5, 2, (3, 9, 12)),
        (16, 4, 3, 1, (1, 7, 8)),
        (20, 70, 5, 0, (5, 8, 6)),
        (64, 3, 7, 0, (33, 10, 9)),
        (2, 1, 1, 0, (2, 3, 2)),
        (1, 2, 2, 1, (2, 4, 131)),
    ],
)
def test_maps_and_gradients_are_those_of_the_modules_in_turn(
    channels: int, filters: int, side: int, padding: int, size: tuple[int, int, int]
) -> None:
    """Whatever the sizes: odd ones, one image, one filter, more cells than are sorted at once."""
    count, height, width = size
    layer, images = three(channels, filters, side, padding), whole(count, channels, height, width)
    assert is_one_step(layer(images))
    for ours, theirs in zip(
        learnt(layer, images), learnt(in_turn(layer), images.double()), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "laid",
    [
        lambda images: images[:, :, 1:-1, ::2],
        lambda images: images.mT,
        lambda images: images.contiguous(memory_format=torch.channels_last)[1:, 1:3],
        lambda images: images[:1, :, :1].expand(3, -1, 9, -1),
    ],
)
def test_images_may_lie_in_memory_as_they_like(laid: Callable[[Tensor], Tensor]) -> None:
    """Strided, transposed, cut out, or one number for many."""
    images = laid(whole(4, 3, 11, 24))
    layer = three(images.shape[1], 6, 3, 1)
    for ours, theirs in zip(
        learnt(layer, images), learnt(in_turn(layer), images.double()), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_gradient_may_be_one_number_for_all() -> None:
    """As that of a sum."""
    layer, images = three(3, 6, 3), whole(2, 3, 8, 8)
    plain = in_turn(layer)
    layer(images).sum().backward()
    plain(images.double()).sum().backward()
    assert torch.equal(layer[0].weight.grad.double(), plain[0].weight.grad)


def test_nothing_is_learnt_where_nothing_is_positive() -> None:
    """Maxima of 0 and below are rectified, and send no gradient back."""
    layer = three(2, 4, 3)
    nn.init.zeros_(layer[0].bias)
    for images in (torch.zeros(2, 2, 8, 8), -torch.ones(2, 2, 8, 8)):
        nn.init.constant_(layer[0].weight, 1.0)
        layer.zero_grad()
        out, *gradients = learnt(layer, images)
        assert not any(each.any() for each in (out, *gradients))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_goes_through(value: float) -> None:
    """A training that diverges is told by it: in maps and in gradients, where the modules do."""
    layer, images = three(3, 8, 3), whole(2, 3, 9, 9)
    with torch.no_grad():
        layer[0].weight[layer[0].weight == 0] = 1  # 0 times infinity is the modules' alone
    images[0, 1, 4, 5] = value
    ours, theirs = learnt(layer, images), learnt(in_turn(layer), images.double())
    assert torch.equal(torch.isnan(ours[0]), torch.isnan(theirs[0]))
    assert torch.equal(ours[0].nan_to_num(7), theirs[0].float().double().nan_to_num(7))
    assert not torch.isfinite(ours[0]).all() or value < 0
    for mine, other in zip(ours[2:], theirs[2:], strict=True):
        assert torch.equal(torch.isfinite(mine).all(), torch.isfinite(other).all())


@pytest.mark.parametrize("places", [[0], [1], [2], [3], [0, 2], [1, 2], [0, 1, 2, 3]])
def test_of_four_cells_one_that_is_no_number_is_kept(places: list[int]) -> None:
    """Wherever it lies, and the last where there are several: the gradient goes to its place."""
    layer, images = three(3, 8, 1), whole(2, 3, 6, 6)
    for place in places:
        images[0, 1, 2 + place // 2, 2 + place % 2] = torch.nan
    ours, theirs = learnt(layer, images), learnt(in_turn(layer), images.double())
    assert torch.isnan(ours[0]).any()
    assert torch.equal(ours[0].nan_to_num(), theirs[0].nan_to_num())
    assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("frozen", ["images", "weights"])
def test_only_what_is_wanted_gets_a_gradient(frozen: str) -> None:
    """Images that are no parameters get none, nor do frozen weights."""
    layer, images = three(3, 6, 3), whole(2, 3, 8, 8)
    wanted = learnt(in_turn(layer), images.double())
    images.requires_grad_(frozen == "weights")
    layer.requires_grad_(frozen == "images")
    out = layer(images)
    assert is_one_step(out)
    out.backward(whole(*out.shape, seed=3))
    found = [images.grad, *(parameter.grad for parameter in layer[0].parameters())]
    for ours, theirs in zip(found, wanted[1:], strict=True):
        assert ours is None or torch.equal(ours.double(), theirs)
    assert [ours is None for ours in found] == [frozen == "images", *[frozen == "weights"] * 2]


def test_a_gradient_has_a_gradient() -> None:
    """A penalty on gradients is learnt from as with the modules in turn."""
    layer, images = three(2, 3, 3), whole(2, 2, 6, 6)
    plain, found = in_turn(layer), []
    for each, given in ((layer, images), (plain, images.double())):
        leaf = given.clone().requires_grad_()
        (slope,) = torch.autograd.grad(each(leaf).sum(), leaf, create_graph=True)
        slope.square().sum().backward()
        found.append(each[0].weight.grad.double())
    assert found[0].any()
    assert torch.equal(*found)


def test_bits_do_not_depend_on_threads() -> None:
    """Each filter and each image is one thread's, whatever the others do."""
    layer, images = three(3, 17, 5), whole(9, 3, 14, 14)
    # what is kept is exact; sums of these round, so that their order shows
    gradient = torch.rand(9, 17, 5, 5, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            layer.zero_grad()
            leaf = images.clone().requires_grad_()
            layer(leaf).backward(gradient)
            found.append([leaf.grad, layer[0].weight.grad, layer[0].bias.grad])
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))


class _Watching(TorchFunctionMode):
    """A mode that changes nothing."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "watched",
    [
        torch.no_grad,
        _Watching,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.forward_ad.dual_level,
    ],
)
def test_modules_run_in_turn_where_somebody_watches(watched: Callable[[], object]) -> None:
    """Or where there is no gradient to be had."""
    layer, images = three(3, 4, 3), whole(2, 3, 8, 8)
    with watched():  # type: ignore[attr-defined]  # each is a context
        out = layer(images)
    assert not is_one_step(out)
    assert is_one_step(layer(images))
    assert torch.equal(out.float(), layer(images))


@pytest.mark.parametrize(
    "parts",
    [
        [nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2), nn.ReLU()],
        [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()],
        [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, padding=1), nn.ReLU()],
        [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.LeakyReLU(0.1)],
        [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)],
        [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)],
        [nn.Conv2d(3, 4, 3, stride=2), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(3, 4, 3, dilation=2), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(3, 3, 3, groups=3), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(3, 4, (3, 1)), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(3, 4, 3, padding="same"), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(3, 4, 3, bias=False), nn.MaxPool2d(2), nn.ReLU()],
        [nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.MaxPool2d(2), nn.ReLU()],
        [nn.Conv2d(3, 4, 3).double(), nn.MaxPool2d(2), nn.ReLU()],
    ],
)
def test_other_modules_run_in_turn(parts: list[nn.Module]) -> None:
    """What is not that convolution with that pooling and ReLU behind it is left as it is."""
    layer = PooledSequential(*parts)
    images = torch.rand(2, 3, 9, 9).to(layer[0].weight.dtype)
    out = layer(images)
    assert not is_one_step(out)
    assert torch.equal(out, nn.Sequential(*parts)(images))
    assert not is_one_step(layer.eval()(images))


def test_functional_calls_run_in_turn() -> None:
    """`torch.func` has its own gradients, and batches of weights."""
    layer, images = three(3, 4, 3), whole(2, 3, 8, 8)
    weights = {name: torch.stack([value.detach()] * 2) for name, value in layer.named_parameters()}

    def loss(own: dict[str, Tensor]) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, own, (images,))
        return out.sum()

    found = torch.func.vmap(torch.func.grad(loss))(weights)
    layer(images).sum().backward()
    for name, parameter in layer.named_parameters():
        assert torch.equal(found[name][1], parameter.grad)


def test_what_is_compiled_has_the_modules_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loop of ours can stand in a graph of torch's operations."""
    layer, images = three(3, 4, 3), whole(2, 3, 8, 8)
    with monkeypatch.context() as patched:
        # the checks of shapes that tests add cannot be compiled themselves
        patched.setattr(torch.compiler, "is_compiling", lambda: True)
        out = layer(images)
    assert not is_one_step(out)
    assert torch.equal(out, layer(images))


def test_hooks_see_the_maps_between() -> None:
    """A tap of any module gets its maps, and once it is off the loops are back."""
    layer, images = three(3, 4, 3), whole(2, 3, 8, 8)
    for part in layer:
        seen: list[Tensor] = []
        hook = part.register_forward_hook(lambda module, given, out, seen=seen: seen.append(out))
        out = layer(images)
        hook.remove()
        assert len(seen) == 1
        assert not is_one_step(out)
        assert is_one_step(layer(images))


def test_without_numba_the_modules_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """And give the same."""
    layer, images = three(3, 4, 3), whole(2, 3, 8, 8)
    compiled = learnt(layer, images)
    layer.zero_grad()
    monkeypatch.setattr(pooled, "_loops", lambda: None)
    monkeypatch.setattr(pooled, "_Pooled", None)
    assert all(map(torch.equal, compiled, learnt(layer, images)))


def test_weights_have_the_names_that_stored_ones_have() -> None:
    """Those of layers and localizers made of `nn.Sequential`, whose files are to be read."""
    classifier = Classifier(ARCHITECTURES["mnist"], channels=1, side=28, classes=10, width=0.1)
    assert list(classifier.layers.state_dict()) == [
        f"{layer}.0.{kind}" for layer in range(2) for kind in ("weight", "bias")
    ]
    numbers = {"fc": (1, 3, 5), "conv": (0, 3, 7), "padded": (0, 3, 6, 8)}
    for kind in LOCALIZERS:
        body, _ = build_localizer(kind, (1, 60, 60))
        assert list(body.state_dict()) == [
            f"{number}.{name}" for number in numbers[kind] for name in ("weight", "bias")
        ]


def test_a_training_network_of_the_papers_goes_through_the_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both layers of the classifier, and both convolutions of a localizer that are pooled."""
    shapes = []
    loops = pooled._loops()
    assert loops is not None
    pool = loops.pool
    monkeypatch.setattr(
        loops, "pool", lambda maps, *rest: (shapes.append(maps.shape[3]), pool(maps, *rest))
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        Classifier(ARCHITECTURES["mnist"], channels=1, side=28, classes=10, width=0.1)(
            torch.rand(2, 1, 28, 28)
        )
        build_localizer("conv", (1, 60, 60), width=0.1)[0](torch.rand(2, 1, 60, 60))
    finally:
        torch.set_num_threads(threads)
    assert shapes == [6, 6, 2, 2]
