"""Run a network with the map of a layer replaced, and nothing again that ran before the layer.

The rest of a network is no module: skip connections, concatenations and whatever else a ``forward``
does between its modules belong to it. So ``forward`` runs again, but the modules that finished
before the layer return what they returned for the same images the first time: the largest such
modules, so that nothing within them runs. A skip connection around the layer therefore carries what
it carried for these images.

A module runs again all the same if it writes over what it is given (an in-place activation), hands
it on (an identity, a reshape) or returns what cannot be walked. What a module returned is copied
before each use if the network writes over it later, and held as it is if not. In memory is what
these modules return for one batch of images, up to the deepest layer.

Networks may do what this does not foresee, such as remembering maps from one pass to the next. So
each layer is tried out on one image, and where a bit of the output differs, or where modules come
in another order for other images, the whole network runs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import count
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.network import features, hooks
from invariance_probe.network.features import Layer
from invariance_probe.network.hooks import Key


def outputs(
    model: nn.Module, images: Float[Tensor, "batch channel height width"]
) -> dict[str, Float[Tensor, "..."]]:
    """Run a model.

    Args:
        model: Any module, in evaluation mode (see `hooks.evaluating`).
        images: Its input.

    Returns:
        Its real outputs by their paths; an empty path for a bare tensor.
    """
    return _run(model, images, set(), lambda *_: None)


def maps_and_outputs(
    model: nn.Module, images: Float[Tensor, "batch channel height width"], layers: Sequence[Layer]
) -> tuple[dict[str, Float[Tensor, "batch _ _ _"]], dict[str, Float[Tensor, "..."]]]:
    """Run a model, and tap it on the way.

    Args:
        model: Any module, in evaluation mode.
        images: Its input.
        layers: Which maps to keep.

    Returns:
        The maps as of `features.tap`, and the outputs as of `outputs`.
    """
    wanted, maps = {_key(layer): layer for layer in layers}, {}

    def keep(here: Key, tensor: Tensor) -> None:
        if here in wanted:
            layer = wanted[here]
            # a copy, because a later in-place activation would write over it
            maps[layer.name] = layer.read(tensor).clone()

    said = _run(model, images, {key.module for key in wanted}, keep)
    return maps, said


def outputs_with(
    model: nn.Module,
    images: Float[Tensor, "batch colour image_height image_width"],
    layer: Layer,
    maps: Float[Tensor, "batch channel height width"],
) -> dict[str, Float[Tensor, "..."]]:
    """Run a whole model with the map of a layer replaced.

    Args:
        model: Any module, in evaluation mode.
        images: Its input.
        layer: One of its layers, which returns maps of the same shape for these images.
        maps: What it goes on with, channels first.

    Returns:
        See `outputs`.
    """
    key = _key(layer)

    def replace(here: Key, tensor: Tensor) -> Tensor | None:
        return layer.write(maps, tensor) if here == key else None

    return _run(model, images, {layer.module}, replace)


def _key(layer: Layer) -> Key:
    return Key(layer.module, layer.call, layer.path)


def _run(
    model: nn.Module,
    images: Tensor,
    modules: set[str],
    visit: Callable[[Key, Tensor], Tensor | None],
) -> dict[str, Tensor]:
    """Run a model with some of its modules in view, and return its real outputs."""
    found: dict[str, Tensor] = {}

    def see(here: Key, tensor: Tensor) -> Tensor | None:
        new = visit(here, tensor)
        if not here.module and tensor.is_floating_point():
            found[here.path] = tensor if new is None else new
        return new

    hooks.run_hooked(model, images, see, {"", *modules})
    return found


_PLAIN = (Tensor, int, float, str, type(None))
"""What may stand in a module's output for it to be given out again."""
Forward = Callable[..., Any]
Step = tuple[str, int | None]
"""Name of a module that is called, and the call whose output stands in for it; None if it runs."""


@dataclass
class _Call:
    """A call of a module in a pass; calls are numbered in the order in which they begin.

    Attributes:
        name: Of the module.
        within: The calls that it happens in.
        last: How many calls have begun when it ends.
        whole: Whether its output can stand in for it.
        overwritten: Whether its output is written over later.
    """

    name: str
    within: set[int]
    last: int = 0
    whole: bool = False
    overwritten: bool = False


class _OtherOrderError(Exception):
    """Modules are called in another order than for the image that was traced."""


class Replay:
    """Taps batches of images, and runs the rest of the network for them with other maps.

    Args:
        model: Any module, in evaluation mode; nothing is left changed.
        image: An image, to learn in which order modules are called and to try replaying out.
        layers: Whose maps are tapped and replaced.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Float[Tensor, "1 channel height width"],
        layers: Sequence[Layer],
    ) -> None:
        self._model, self._layers = model, layers
        self._calls = _trace(model, image)
        self._plans = {layer.name: _plan(self._calls, layer) for layer in layers}
        self._images, self._kept = image, dict[int, object]()
        self._versions: list[tuple[Tensor, int]] = []
        self._try_out()

    @property
    def replayed(self) -> list[str]:
        """Names of the layers before which nothing runs again."""
        return [name for name, plan in self._plans.items() if plan]

    def _try_out(self) -> None:
        """Give layers up after which another image in between changes what is said of one."""
        image = self._images
        others = {name: maps.flip(-1) for name, maps in self.tap(image).items()}
        wanted = [outputs_with(self._model, image, one, others[one.name]) for one in self._layers]
        outputs(self._model, -image)  # leaves other things behind in a network that remembers
        for layer, want in zip(self._layers, wanted, strict=True):
            try:
                got = self._replay(layer, others[layer.name]) if self._plans[layer.name] else {}
            except Exception:  # whatever a network makes of what it does not expect
                got = {}
            if got.keys() != want.keys() or not all(torch.equal(got[at], want[at]) for at in want):
                self._plans[layer.name] = []
                self.tap(image)

    def tap(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> dict[str, Float[Tensor, "batch _ _ _"]]:
        """Compute the maps of all layers, and keep what `rest` needs.

        Args:
            images: A batch of images; the batch before is forgotten.

        Returns:
            The maps by the layers' names, channels first.
        """
        numbers, wanted = count(), {number for plan in self._plans.values() for _, number in plan}
        self._images, self._kept, self._versions = images, {}, []

        def keeping(name: str, forward: Forward) -> Forward:
            def run(*args: Any, **kwargs: Any) -> Any:
                number = next(numbers)
                if number >= len(self._calls) or self._calls[number].name != name:
                    raise _OtherOrderError
                output = forward(*args, **kwargs)
                if number in wanted:
                    self._kept[number] = self._held(number, output)
                return output

            return run

        try:
            with _forwards_replaced(self._model, keeping):
                return features.tap(self._model, images, self._layers)
        except _OtherOrderError:
            self._kept = {}
            return features.tap(self._model, images, self._layers)

    def rest(
        self, layer: Layer, maps: Float[Tensor, "batch channel height width"]
    ) -> dict[str, Float[Tensor, "..."]]:
        """Run the rest of the network for the batch that was tapped.

        Args:
            layer: Whose map is replaced.
            maps: What the network goes on with, channels first.

        Returns:
            What `outputs_with` returns, to the last bit.
        """
        if self._plans[layer.name] and self._kept:
            try:
                return self._replay(layer, maps)
            except _OtherOrderError:
                self._kept = {}
        return outputs_with(self._model, self._images, layer, maps)

    def _held(self, number: int, output: Any) -> Any:
        """What a call returned, to be given out again."""
        if self._calls[number].overwritten:
            return _copied(output)
        self._versions += [(each, each._version) for each in _tensors(output)]
        return output

    def _replay(self, layer: Layer, maps: Tensor) -> dict[str, Tensor]:
        """Run what comes after a layer; what comes before it returns what was kept."""
        plan, place = self._plans[layer.name], 0

        def standing_in(name: str, forward: Forward) -> Forward:
            def run(*args: Any, **kwargs: Any) -> Any:
                nonlocal place
                if place >= len(plan):
                    return forward(*args, **kwargs)
                expected, number = plan[place]
                if expected != name:
                    raise _OtherOrderError
                place += 1
                if number is None:
                    return forward(*args, **kwargs)
                output = self._kept[number]
                return _copied(output) if self._calls[number].overwritten else output

            return run

        def replace(here: Key, tensor: Tensor) -> Tensor | None:
            nonlocal place
            # the layer's own call ends the plan; it is not the first of its module for the hooks
            if place != len(plan) or (here.module, here.path) != (layer.module, layer.path):
                return None
            place += 1  # once is enough for a module that is called again
            return layer.write(maps, tensor)

        with _forwards_replaced(self._model, standing_in):
            said = _run(self._model, self._images, {layer.module}, replace)
        if any(tensor._version != version for tensor, version in self._versions):
            self._kept = {}  # written over against what the trace showed: of no more use
        return said


def _trace(model: nn.Module, image: Tensor) -> list[_Call]:
    """Run a model, and see which modules it calls and what they do to tensors."""
    calls: list[_Call] = []
    under_way: list[int] = []
    returned: list[tuple[_Call, Tensor, int]] = []

    def watched(name: str, forward: Forward) -> Forward:
        def run(*args: Any, **kwargs: Any) -> Any:
            call = _Call(name, set(under_way))
            under_way.append(len(calls))
            calls.append(call)
            given = _tensors((args, kwargs))
            before = _versions(given)
            try:
                output = forward(*args, **kwargs)
            finally:
                under_way.pop()
            call.last = len(calls)
            after = _versions(made := _tensors(output))
            call.whole = (
                all(isinstance(each, _PLAIN) for each in hooks.leaves(output))
                and None not in (before, after)
                and before == _versions(given)
                and not _storages(given) & _storages(made)
            )
            returned.extend((call, *each) for each in zip(made, after or [], strict=False))
            return output

        return run

    with _forwards_replaced(model, watched):
        outputs(model, image)
    for call, tensor, version in returned:
        call.overwritten |= tensor._version != version
    return calls


def _tensors(nested: object) -> list[Tensor]:
    return [each for each in hooks.leaves(nested) if isinstance(each, Tensor)]


def _versions(tensors: Sequence[Tensor]) -> list[int] | None:
    """How often each was written to; None if one does not tell."""
    telling = all(each.layout is torch.strided and not each.is_inference() for each in tensors)
    return [each._version for each in tensors] if telling else None


def _storages(tensors: Sequence[Tensor]) -> set[int]:
    """Where tensors that hold anything have it."""
    return {each.untyped_storage().data_ptr() for each in tensors if each.numel()}


def _plan(calls: Sequence[_Call], layer: Layer) -> list[Step]:
    """What happens until a layer has its map, in order; nothing if its module was not seen."""
    own = [number for number, call in enumerate(calls) if call.name == layer.module]
    if len(own) < layer.call:
        return []
    end = calls[own[layer.call - 1]]
    steps: list[Step] = []
    stood_in_for: set[int] = set()
    for number, call in enumerate(calls[: end.last]):
        if stood_in_for.isdisjoint(call.within):
            # what the layer lies in does not end before it
            whole = call.whole and number not in end.within
            steps.append((call.name, number if whole else None))
            stood_in_for |= {number} if whole else set()
    return steps


def _copied(output: Any) -> Any:
    """A copy of the tensors in nested containers; one that is in two places stays one."""
    copies: dict[int, Tensor] = {}

    def copy(_: str, tensor: Tensor) -> Tensor:
        return copies.setdefault(id(tensor), tensor.clone())

    new = hooks.map_tensors(output, copy)
    return output if new is None else new


@contextmanager
def _forwards_replaced(
    model: nn.Module, replacing: Callable[[str, Forward], Forward]
) -> Iterator[None]:
    """Let other functions stand in for the modules' ``forward``; they come off in any case."""
    before = []
    try:
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # compiled: what it does within is out of sight
            before.append((module.__dict__, module.__dict__.get("forward")))
            module.__dict__["forward"] = wraps(module.forward)(replacing(name, module.forward))
        yield
    finally:
        for attributes, own in before:
            attributes.pop("forward", None)
            attributes |= {} if own is None else {"forward": own}
