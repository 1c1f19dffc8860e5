"""A model of one's own: as good as the model, and nothing of the model's."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.network import copies, features, hooks
from tests.network.kinds_of_models import KINDS, Complex, Writing, state

CPU = torch.device("cpu")


# of torch.compile, about its speed on that one version
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_copy_computes_what_the_model_does_and_leaves_it_alone(kind: str) -> None:
    """In the model's own type the copy's first answer is the model's; its passes leave no trace."""
    model = KINDS[kind]()
    before = state(model)
    own = copies.working_copy(model)
    kept = next((each.dtype for each in model.parameters()), torch.float32)
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64 if kept == torch.float64 else torch.float32)
    if kept == torch.bfloat16:
        images = images.bfloat16()
    modules = dict(own.named_modules())
    called = hooks.record(own, images[:1]) if kind[:5] != "mixed" else {}
    assert state(model) == before
    assert all(id(modules[key.module]) != id(model) for key in called)
    placed = copies.placed_copy(model, CPU, torch.float64)
    real = {each.dtype for each in placed.parameters() if each.is_floating_point()}
    assert real <= {torch.float64}
    assert not placed.training
    hooks.record(placed, images.double()) if kind not in {"quantized"} else None
    assert state(model) == before
    if kind[:5] != "mixed":
        torch.manual_seed(0)
        again = copies.working_copy(model)(images)
        torch.manual_seed(0)
        assert torch.equal(again, model(images))


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[:5] != "mixed"])
@torch.no_grad()
def test_a_twin_has_the_weights_and_nothing_else_in_common(kind: str) -> None:
    """It answers as its model does; only parameters are the same objects, and are left alone."""
    model = KINDS[kind]()
    own = copies.working_copy(model)
    twin = copies.twin(own)
    assert not {id(m) for m in own.modules()} & {id(m) for m in twin.modules()}
    if kind != "torch.jit inside":  # what torch compiled is copied whole
        assert list(map(id, own.parameters())) == list(map(id, twin.parameters()))
    assert not {id(b) for b in own.buffers()} & {id(b) for b in twin.buffers()}
    kept = next((each.dtype for each in model.parameters()), torch.float32)
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64 if kept == torch.float64 else torch.float32)
    images = images.bfloat16() if kept == torch.bfloat16 else images
    answers = []
    for each in (own, twin):
        torch.manual_seed(0)
        answers.append(each(images))
    assert torch.equal(*answers)


def test_imaginary_parts_are_kept() -> None:
    """A complex weight becomes complex in the precision asked for, and loses nothing by it."""
    model = Complex(torch.complex64)
    own = copies.placed_copy(model, CPU, torch.float64)
    assert own.weight.dtype == torch.complex128
    assert torch.equal(own.weight, model.weight.to(torch.complex128))


def test_functions_of_a_model_refer_to_its_copy() -> None:
    """A forward put in place of a model's own runs the copy, not the model it closes over."""
    model = KINDS["another forward"]()
    own = copies.working_copy(model)
    own(torch.rand(1, 3, 8, 8))
    assert (own.passes, model.passes) == (1, 0)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch 2.14
def test_what_refuses_to_be_copied_or_watched_is_refused_in_a_line() -> None:
    """No model is worked on itself: a module that errs in its own way of being copied is named."""

    class Alone(nn.Module):
        def __deepcopy__(self, memo: object) -> "Alone":
            raise RuntimeError("there is one of me\nand no more")

    with pytest.raises(InvalidInputError, match=r"Alone cannot be copied \(there is one of me\),"):
        copies.working_copy(Alone())
    with pytest.raises(InvalidInputError, match=r"compiled by torch\.jit, which shows no layers"):
        copies.working_copy(torch.jit.script(nn.Conv2d(3, 2, 3)))


def test_listing_layers_leaves_the_model_as_it_was_found() -> None:
    """Not even a buffer that forward writes is changed by a listing."""
    model = Writing()
    before = state(model)
    assert not features.list_layers(model, torch.rand(1, 3, 16, 16)).empty
    assert state(model) == before


def test_global_randomness_is_left_as_it_was_found() -> None:
    """What a model draws inside is drawn again outside, of torch, NumPy and Python alike."""

    def draw() -> list[float]:
        return [float(torch.rand(1)), float(np.random.rand()), random.random()]  # noqa: NPY002  (a model's, not ours)

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002  (a model's, not ours)
    want = draw()
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])  # noqa: NPY002  (a model's, not ours)
    random.setstate(states[2])

    @copies.same_randomness()
    def interrupted() -> None:
        assert draw() == want
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert draw() == want


class _Trembling(nn.Module):
    """Adds something to its map that differs from pass to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.noise, self.last = nn.Conv2d(3, 2, 3), nn.Dropout(), nn.Conv2d(2, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.noise.train()
        return self.last(self.noise(self.first(images)))


@torch.no_grad()
def test_what_differs_between_two_passes_is_found_where_it_begins() -> None:
    """Of a network with dropout in forward all but the layers before it are unsteady."""
    found = [key.module for key in hooks.unsteady(_Trembling().eval(), torch.rand(1, 3, 9, 9))]
    assert found == ["noise", "last", ""]
    still = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout()).eval()
    assert hooks.unsteady(still, torch.full((1, 3, 9, 9), torch.nan)) == []
