"""The rest of a network: as the whole network says, bit for bit, and without what came before."""

from collections import Counter, OrderedDict, namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from invariance_probe.network import features, hooks
from invariance_probe.network.features import Layer, find_layers
from invariance_probe.network.models import LoadedModel
from invariance_probe.network.replay import Replay, maps_and_outputs, outputs, outputs_with

CHANNELS, SIDE = 2, 6
Pair = namedtuple("Pair", ["first", "second"])


def _images(count: int, seed: int = 1, channels: int = CHANNELS, side: int = SIDE) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def _conv() -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)


class Dense(nn.Module):
    """Every layer sees all maps before it; the maps so far are written over on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(CHANNELS * k, CHANNELS, 3, padding=1))
            for k in (1, 2, 3)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Concatenate."""
        for layer in self.layers:
            maps = torch.cat([maps, layer(maps)], dim=1)
        return maps


class Residual(nn.Module):
    """Adds in place, rectifies in place, by one module that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _conv(), _conv()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Add what goes around."""
        out = self.second(self.relu(self.first(maps)))
        out += maps
        return self.relu(out)


class Many(nn.Module):
    """Returns containers of maps, one of which is written over later."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.kind = _conv(), kind

    def forward(self, maps: Tensor) -> Any:
        """Return one map as it is, and its square."""
        both = self.conv(maps), self.conv(maps).square()
        return {
            "tuple": both,
            "list": list(both),
            "named": Pair(*both),
            "dict": OrderedDict(a=both[0], b=both[1], c=3),
            "nested": [{"a": both[0]}, (both[1], None)],
            "twice": (both[0], both[0]),
        }[self.kind]


class Picking(nn.Module):
    """Goes on with what `Many` returns."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.many, self.last = Many(kind), _conv()

    def forward(self, maps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Write over the first map, then use both."""
        first, second = _two(self.many(maps))
        first.mul_(2)
        out = self.last(first + second)
        return out, {"early": second, "late": out.mean((2, 3))}


def _two(nest: Any) -> list[Tensor]:
    return [each for each in hooks.leaves(nest) if isinstance(each, Tensor)]


class Reusing(nn.Module):
    """One block in three places."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.after = Residual(), _conv()

    def forward(self, maps: Tensor) -> Tensor:
        """Call it again and again."""
        return self.after(self.block(self.block(maps)) + self.block(maps))


class Glue(nn.Module):
    """Hands on, reshapes and views what it is given, and writes over the views."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.same, self.last = _conv(), nn.Identity(), _conv()
        self.flat = nn.Flatten(2)

    def forward(self, maps: Tensor) -> Tensor:
        """Change a map through a view of it."""
        maps = self.first(maps)
        self.flat(self.same(maps)).clamp_(min=0)
        return self.last(maps) * maps


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "sequential": lambda: nn.Sequential(_conv(), nn.ReLU(inplace=True), _conv(), nn.Flatten()),
    "residual": lambda: nn.Sequential(Residual(), Residual(), nn.Flatten()),
    "dense": lambda: nn.Sequential(Dense(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    **{kind: lambda kind=kind: Picking(kind) for kind in ("tuple", "list", "named", "dict")},
    **{kind: lambda kind=kind: Picking(kind) for kind in ("nested", "twice")},
    "reusing": Reusing,
    "glue": Glue,
}


def _check(model: nn.Module, images: Tensor, layers: Sequence[Layer]) -> Replay:
    """Replaced by anything, twice each, every layer leaves what the whole network says."""
    with hooks.evaluating(model):
        replay = Replay(model, images[:1], layers)
        maps = replay.tap(images)
        expected = features.tap(model, images, layers)
        assert all(torch.equal(maps[layer.name], expected[layer.name]) for layer in layers)
        for layer in layers:
            for other in (maps[layer.name].flip(-1), maps[layer.name].flip(0) + 1):
                want = outputs_with(model, images, layer, other)
                got = replay.rest(layer, other)
                assert list(got) == list(want)
                assert all(torch.equal(got[path], want[path]) for path in want), layer.name
    return replay


@pytest.mark.parametrize("name", NETWORKS)
def test_the_rest_says_what_the_whole_network_says(name: str) -> None:
    """Bit for bit, for every layer: skips, in-place writes, containers, modules called again."""
    model, images = NETWORKS[name](), _images(3)
    layers = find_layers(model, images, ["*"])
    assert len(layers) > 1
    assert _check(model, images, layers).replayed == [layer.name for layer in layers]


def test_the_rest_of_efficientnet(lite: LoadedModel, photographs: Tensor) -> None:
    """The same for a network of many blocks."""
    images = photographs[:2, :, :64, :64]
    layers = find_layers(lite.module, images, ["_conv_stem", "_blocks.3._bn1", "_blocks.10"])
    assert len(_check(lite.module, images, layers).replayed) == 3


class Program(nn.Module):
    """Runs a drawn list of steps: modules, some of them again, and what goes on between them."""

    def __init__(self, steps: Sequence[Any]) -> None:
        super().__init__()
        self.steps = [step if isinstance(step, str) else "inner" for step in steps]
        self.inner = nn.ModuleList(Program(step) for step in steps if not isinstance(step, str))
        self.conv, self.relu, self.same = _conv(), nn.ReLU(inplace=True), nn.Identity()
        self.block = nn.Sequential(nn.ReLU(inplace=True), _conv())

    def forward(self, maps: Tensor) -> Tensor:
        """Run the steps."""
        inner, kept = iter(self.inner), [maps]
        for step in self.steps:
            if step == "keep":
                kept.append(maps)
            elif step == "add":
                maps = maps + kept[-1]
            elif step == "write":
                maps = maps.clone() if maps is kept[0] else maps
                maps.mul_(0.5)
            elif step == "inner":
                maps = next(inner)(maps)
            else:
                maps = self.get_submodule(step)(maps)
        return maps


STEPS = st.sampled_from(["conv", "relu", "same", "block", "keep", "add", "write"])
PROGRAMS = st.recursive(
    st.lists(STEPS, min_size=1, max_size=5),
    lambda inner: st.lists(STEPS | inner, min_size=1, max_size=5),
    max_leaves=4,
)


@settings(max_examples=15)
@given(steps=PROGRAMS, count=st.integers(1, 3))
def test_any_program_of_modules_and_writes_is_replayed(steps: list[Any], count: int) -> None:
    """Whatever the order, nesting and writing, the rest is what the whole network says."""
    torch.manual_seed(0)
    model, images = nn.Sequential(_conv(), Program(["conv", *steps])), _images(count)
    listed = hooks.record(model, images[:1])
    layers = [
        Layer(
            name=str(key),
            module=key.module,
            type="",
            call=key.call,
            path=key.path,
            channels=CHANNELS,
            height=SIDE,
            width=SIDE,
        )
        for key in listed
    ]
    assert _check(model, images, layers).replayed


def _counted(model: nn.Module) -> Counter[str]:
    calls: Counter[str] = Counter()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


def test_nothing_before_the_layer_runs_again() -> None:
    """Of modules that ended before the layer the outermost are asked, and compute nothing."""
    model, images = nn.Sequential(Residual(), Residual(), _conv(), _conv()), _images(2)
    layers = {layer.name: layer for layer in find_layers(model, images, ["1.first", "2"])}
    with hooks.evaluating(model):
        replay = Replay(model, images[:1], list(layers.values()))
        maps, calls = replay.tap(images), _counted(model)
        replay.rest(layers["2"], maps["2"])
        assert "0.first" not in calls
        assert "1.first" not in calls
        assert calls["3"] == 1
        replay.rest(layers["1.first"], maps["1.first"])
        assert "0.first" not in calls
        assert calls["1.second"] == 1
        kept = len(replay._kept)
        assert kept == 4  # block 0, its neighbour's first layer, the neighbour, and layer 2


class Remembering(nn.Module):
    """Adds what one of its modules saw last, which it was told behind the network's back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.first, self.last = torch.zeros(()), nn.Sequential(_conv()), _conv()
        self.first[0].register_forward_hook(self.remember)

    def remember(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        """Keep a number."""
        self.seen = output.mean()

    def forward(self, maps: Tensor) -> Tensor:
        """Use it."""
        return self.last(self.first(maps)) + self.seen


class Deciding(nn.Module):
    """Calls its modules in an order that depends on how many images there are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = _conv(), _conv(), _conv()

    def forward(self, maps: Tensor) -> Tensor:
        """Decide."""
        one, other = (self.first, self.second)[:: 1 if len(maps) == 1 else -1]
        return self.last(other(one(maps)))


@pytest.mark.parametrize("model", [Remembering(), Deciding()], ids=["remembering", "deciding"])
def test_networks_that_cannot_be_replayed_run_whole(model: nn.Module) -> None:
    """What remembers passes, or calls in another order, gives the same output all the same."""
    images = _images(2)
    (layer,) = find_layers(model, images, ["last"])
    with hooks.evaluating(model):
        replay = Replay(model, images[:1], [layer])
        maps = replay.tap(images)["last"].flip(0)
        want = outputs_with(model, images, layer, maps)[""]
        model(_images(2, seed=9))  # another batch in between
        assert torch.equal(replay.rest(layer, maps)[""], want)
    assert bool(replay.replayed) == isinstance(model, Deciding)


class Failing(nn.Module):
    """Raises when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.after, self.failing = _conv(), _conv(), False

    def forward(self, maps: Tensor) -> Tensor:
        """Fail."""
        maps = self.conv(maps)
        if self.failing:
            raise RuntimeError("boom")
        return self.after(maps)


def test_every_forward_is_the_modules_own_afterwards() -> None:
    """Also after an error, and where a module had a `forward` of its own."""
    model, images = Failing().eval(), _images(1)
    own = model.conv.forward
    model.conv.forward = own
    layers = find_layers(model, images, ["conv", "after"])
    with torch.no_grad():
        replay = Replay(model, images, layers)
        maps = replay.tap(images)
        model.failing = True
        for fails in (lambda: replay.rest(layers[1], maps["after"]), lambda: replay.tap(images)):
            with pytest.raises(RuntimeError, match="boom"):
                fails()
            assert model.conv.__dict__["forward"] is own
            assert not any("forward" in module.__dict__ for module in (model, model.after))
            assert not any(module._forward_hooks for module in model.modules())


def test_maps_and_outputs_come_from_one_pass() -> None:
    """They are those of a tap and of a run."""
    model, images = NETWORKS["dict"]().eval(), _images(2)
    layers = find_layers(model, images, ["many", "last"])
    with hooks.evaluating(model):
        maps, said = maps_and_outputs(model, images, layers)
        calls = _counted(model)
        tapped, run = features.tap(model, images, layers), outputs(model, images)
        assert calls["last"] == 2
    assert maps.keys() == tapped.keys()
    assert all(torch.equal(maps[name], tapped[name]) for name in maps)
    assert list(said) == list(run)
    assert all(torch.equal(said[path], run[path]) for path in said)
