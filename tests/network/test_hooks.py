"""Running a model under observation: everything is seen, nothing is left changed."""

import contextlib
from collections import OrderedDict, namedtuple
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from invariance_probe.network import hooks
from invariance_probe.network.hooks import Key

Pair = namedtuple("Pair", ["first", "second"])


class Returning(nn.Module):
    """Returns what it was given to return."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: Tensor) -> object:
        """Return it."""
        return self.output


class Reusing(nn.Module):
    """Calls one convolution and one in-place ReLU as often as it is told."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve and rectify in turns."""
        for _ in range(self.times):
            maps = self.relu(self.conv(maps))
        return maps


class Failing(nn.Module):
    """Convolves, then raises."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.drop = nn.Dropout()

    def forward(self, images: Tensor) -> Tensor:
        """Fail."""
        self.conv(images)
        raise RuntimeError("boom")


def _leaves(output: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a nest of containers, each with the way to it."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, dict | tuple | list):
        items = output.items() if isinstance(output, dict) else enumerate(output)
        for key, value in items:
            yield from _leaves(value, f"{path}.{key}" if path else f"{key}")


def _shape(output: object) -> object:
    """A nest's containers, their order and what is no tensor, with numbers for the tensors."""
    if isinstance(output, Tensor):
        return float(output)
    if isinstance(output, dict):
        return type(output), [(key, _shape(value)) for key, value in output.items()]
    if isinstance(output, tuple | list):
        return type(output), [_shape(value) for value in output]
    return output


NESTS = st.recursive(
    st.floats(-9, 9, width=32).map(torch.tensor) | st.sampled_from([None, 3, "word"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.tuples(inner, inner).map(lambda both: Pair(*both)),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=8,
)


@given(output=NESTS)
def test_every_tensor_in_nested_containers_is_seen_by_its_path(output: object) -> None:
    """Tuples, lists and dicts in any nest give one key a tensor, and nothing else a key."""
    found = hooks.record(Returning(output), torch.zeros(1))
    assert list(found) == [Key("", 1, path) for path, _ in _leaves(output)]
    for (_, tensor), copy in zip(_leaves(output), found.values(), strict=True):
        assert torch.equal(tensor, copy)
        assert copy is not tensor


@given(output=NESTS, chosen=st.sets(st.integers(0, 7)))
def test_what_a_visit_returns_takes_the_tensors_place_and_nothing_else_moves(
    output: object, chosen: set[int]
) -> None:
    """Some tensors of a nest are replaced: containers keep their type, order and the rest."""
    model = nn.Sequential(Returning(output))
    seen: list[str] = []
    after: list[object] = []

    def visit(key: Key, tensor: Tensor) -> Tensor | None:
        seen.append(key.path)
        return tensor + 100 if len(seen) - 1 in chosen else None

    model[0].register_forward_hook(lambda _m, _i, out: after.append(out))
    model.register_forward_hook(lambda _m, _i, out: after.append(out))
    hooks.run_hooked(model, torch.zeros(1), visit, modules={"0"})

    def expected(old: object, numbers: Iterator[int]) -> object:
        if isinstance(old, Tensor):
            return old + 100 if next(numbers) in chosen else old
        if isinstance(old, dict):
            return type(old)((key, expected(value, numbers)) for key, value in old.items())
        if isinstance(old, tuple | list):
            values = [expected(value, numbers) for value in old]
            return type(old)(*values) if isinstance(old, Pair) else type(old)(values)
        return old

    assert _shape(after[-1]) == _shape(expected(output, iter(range(99))))
    assert _shape(after[0]) == _shape(output)  # the module's own object is not written to


@given(times=st.integers(1, 5))
def test_calls_of_a_reused_module_are_counted_anew_in_each_pass(times: int) -> None:
    """A module called n times gives calls 1 to n, in order, each with that call's value."""
    torch.manual_seed(0)
    model, images = Reusing(times), torch.randn(1, 2, 6, 6)
    with hooks.evaluating(model):
        for _ in range(2):
            found = hooks.record(model, images)
            maps, expected = images, {}
            for call in range(1, times + 1):
                maps = model.conv(maps)
                expected[Key("conv", call, "")] = maps
                maps = maps.clamp(min=0)
                expected[Key("relu", call, "")] = maps
            expected[Key("", 1, "")] = maps
            assert list(found) == list(expected)
            assert all(torch.equal(found[key], expected[key]) for key in found)


def test_in_place_activations_do_not_overwrite_what_was_recorded() -> None:
    """A convolution's map keeps its negative values though an in-place ReLU follows."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True))
    found = hooks.record(model, torch.randn(1, 2, 8, 8))
    before, after = found[Key("0", 1, "")], found[Key("1", 1, "")]
    assert before.min() < 0
    assert torch.equal(before.clamp(min=0), after)


def test_a_replaced_output_is_what_the_rest_of_the_model_sees() -> None:
    """Doubling a layer's output under the hook gives what a model that doubles it gives."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
    images, outputs = torch.randn(2, 3, 9, 9), []

    def visit(key: Key, tensor: Tensor) -> Tensor | None:
        if key.module == "0":
            return 2 * tensor
        outputs.append(tensor)
        return None

    with torch.no_grad():
        hooks.run_hooked(nn.Sequential(first, second), images, visit, modules={"0", "1"})
        assert torch.equal(outputs[0], second(2 * first(images)))


def test_only_what_is_wanted_is_kept_and_the_pass_ends_there() -> None:
    """With keys given, those alone come back, and what follows the last of them never runs."""
    model = Reusing(4)
    wanted = {Key("conv", 1, ""), Key("relu", 2, "")}
    calls: list[int] = []
    model.conv.register_forward_hook(lambda *_: calls.append(1))
    found = hooks.record(model, torch.randn(1, 2, 6, 6), wanted)
    assert set(found) == wanted
    assert len(calls) == 2
    assert hooks.record(Failing(), torch.rand(1, 3, 6, 6), {Key("conv", 1, "")})


def test_a_key_that_never_comes_is_left_out() -> None:
    """Wanted outputs that the model does not compute are missing, and the others are there."""
    wanted = {Key("conv", 1, ""), Key("conv", 9, ""), Key("relu", 1, "out")}
    found = hooks.record(Reusing(2), torch.randn(1, 2, 6, 6), wanted)
    assert set(found) == {Key("conv", 1, "")}


@pytest.mark.parametrize("fails", ["model", "visit", "neither"])
def test_hooks_come_off_in_any_case(fails: str) -> None:
    """After a pass, or an error in the model or in the visit, only the user's own hook is left."""
    model = Failing() if fails == "model" else nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    own = next(model.children()).register_forward_hook(lambda *_: None)

    def visit(_key: Key, _tensor: Tensor) -> None:
        if fails == "visit":
            raise RuntimeError("boom")

    raises = contextlib.nullcontext() if fails == "neither" else pytest.raises(RuntimeError)
    with raises:
        hooks.run_hooked(model, torch.rand(1, 3, 6, 6), visit)
    left = [hook for module in model.modules() for hook in module._forward_hooks]
    assert left == [own.id]


@given(modes=st.lists(st.booleans(), min_size=4, max_size=4), fails=st.booleans())
def test_evaluating_puts_every_module_back_in_its_own_mode(modes: list[bool], fails: bool) -> None:
    """Inside, no module trains and no gradient is recorded; afterwards all is as it was before."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(nn.Dropout()))
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    with contextlib.suppress(RuntimeError), hooks.evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.rand(1, 1, 2, 2)).requires_grad
        if fails:
            raise RuntimeError
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
