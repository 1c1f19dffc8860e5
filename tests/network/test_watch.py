"""What moves values in a network is seen, with where it reads."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invariance_probe.network.operations import ActsOn, Kind
from invariance_probe.network.pull_backs import pull_backs
from invariance_probe.network.watch import Watch
from invariance_probe.plane import sampling

TURN = torch.tensor([[0.6, -0.8, 0.1], [0.8, 0.6, 0.0]])


class Turning(nn.Module):
    """Turns a map after a convolution, or the image before it."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        theta = torch.tensor([[0.6, -0.8, 0.1], [0.8, 0.6, 0.0]]).expand(x.shape[0], 2, 3)
        x = x if self.first else self.conv(x)
        grid = F.affine_grid(theta, x.shape, align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        return self.conv(x) if self.first else x


def watched(network: nn.Module, images: Tensor) -> Watch:
    """A network after a pass under watch."""
    watch = Watch(network.eval())
    with torch.no_grad():
        watch.run(images)
    return watch


@pytest.fixture
def images() -> Tensor:
    """Two grey images."""
    return torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("how", ["plain", "scripted", "traced"])
def test_a_sampling_is_seen_with_what_it_acts_on(images: Tensor, how: str, first: bool) -> None:
    """Also within what torch.jit compiled, with the pull-back that it reads through."""
    part: nn.Module = Turning(first=first)
    if how == "scripted":
        part = torch.jit.script(part)
    elif how == "traced":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer speaks of sizes that it takes for fixed
            part = torch.jit.trace(part, images)
    watch = watched(nn.Sequential(part), images)
    ((operation, found),) = watch.samplings.items()
    assert (operation.kind, operation.module) == (Kind.GRID_SAMPLE, "0")
    assert found.acts_on is (ActsOn.INPUT if first else ActsOn.MAP)
    assert found.positions is not None
    fitted = pull_backs(found.positions, found.read_size)[:, :2]
    torch.testing.assert_close(fitted, TURN.double().expand(2, 2, 3), atol=1e-6, rtol=0)
    assert watch.notes == {}


@pytest.mark.parametrize(
    "normalise",
    [
        lambda x: (x - 0.5) / 0.2,
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: x[..., 1:-1, 1:-1].contiguous(),
        lambda x: torch.cat([x, 2 * x], 1),
        nn.BatchNorm2d(1).eval(),
    ],
)
def test_what_looks_at_one_position_at_a_time_leaves_an_image(
    images: Tensor, normalise: Callable[[Tensor], Tensor]
) -> None:
    """Pixels that are shifted, scaled, padded, cropped or joined are still the input."""

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = normalise(x)
            grid = F.affine_grid(TURN.expand(len(x), 2, 3), list(x.shape), align_corners=False)
            return F.grid_sample(x, grid, align_corners=False)

    (found,) = watched(Network(), images).samplings.values()
    assert found.acts_on is ActsOn.INPUT


class Several(nn.Module):
    """Reads a tensor twice: side by side, or where the first reading says."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        grid = sampling.affine_grid(TURN.expand(len(x), 2, 3), *x.shape[2:])
        first = F.grid_sample(x, grid, align_corners=False)
        shift = first.mean((1, 2, 3))[:, None, None, None] if self.again else 0.5
        return first + F.grid_sample(x, grid + shift, align_corners=False)


def test_readings_of_one_tensor_are_one_operation_unless_they_follow_from_another(
    images: Tensor,
) -> None:
    """Taps side by side are one, read where they are in the mean; who looks again is another."""
    (taps,) = watched(Several(again=False), images).samplings.values()
    assert taps.times == 2
    assert taps.positions is not None
    mean = sampling.affine_grid(TURN.expand(2, 2, 3), 12, 12).double() + 0.25
    torch.testing.assert_close(taps.positions, mean, atol=1e-6, rtol=0)
    found = watched(Several(again=True), images).samplings
    assert [operation.place for operation in found] == [1, 2]


def test_nothing_else_is_an_operation(images: Tensor) -> None:
    """Pooling, convolution, a grid that is only built, attention by a gate."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            F.affine_grid(TURN.expand(len(x), 2, 3), list(x.shape), align_corners=False)
            x = F.max_pool2d(self.conv(x), 2)
            return (x * x.mean((2, 3), keepdim=True).sigmoid()).flatten(1)

    watch = watched(Network(), images)
    assert watch.samplings == {}
    assert watch.notes == {}


def test_what_is_out_of_sight_is_noted(images: Tensor) -> None:
    """A map that is read by computed indices, and one that comes from outside of torch."""

    class ByIndex(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(2).gather(2, x.flatten(2).argsort(2)).view_as(x)

    class Outside(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(x.numpy()[..., ::-1].copy())

    watch = watched(nn.Sequential(ByIndex(), Outside()), images)
    assert set(watch.notes) == {"0", "1"}
    assert "indices" in watch.notes["0"]


def test_the_hooks_come_off_also_after_an_error(images: Tensor) -> None:
    """A network that raises is left as it was, and so is every other module."""

    class Raising(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    before = len(torch.nn.modules.module._global_forward_hooks)
    with pytest.raises(ValueError, match="no"):
        Watch(Raising()).run(images)
    assert len(torch.nn.modules.module._global_forward_hooks) == before
