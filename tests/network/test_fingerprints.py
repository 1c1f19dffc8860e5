"""Models are told apart by what they are made of, and by nothing else."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from invariance_probe.network.fingerprints import fingerprint


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def _next_float(net: nn.Module) -> None:
    weight = net[0].weight.data  # type: ignore[index]  # a Sequential
    weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "the last bit of a weight": _next_float,
    "a buffer": lambda net: net[1].running_mean.add_(1),  # type: ignore[index]  # a Sequential
    "a type": lambda net: net.double(),
    "a module without weights": lambda net: setattr(net, "2", nn.GELU()),
    "a stride": lambda net: setattr(net, "0", _strided(net[0])),  # type: ignore[index]  # the same
    "a name": lambda net: net.add_module("3", nn.Identity()),
}


def _strided(conv: nn.Conv2d) -> nn.Conv2d:
    other = nn.Conv2d(3, 4, 3, stride=2)
    other.load_state_dict(conv.state_dict())
    return other


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_is_seen(change: Callable[[nn.Module], object]) -> None:
    """Down to the last bit; and a copy is the same."""
    net = _net()
    before = fingerprint(net)
    assert fingerprint(copy.deepcopy(net)) == before
    change(net)
    assert fingerprint(net) != before


def test_how_weights_lie_in_memory_does_not_matter() -> None:
    """Channels last, a view of something larger, a mode or a gradient: the same model."""
    net = _net()
    before = fingerprint(net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own
    net.train().requires_grad_(False)
    weight = net[0].weight  # type: ignore[index]  # a Sequential
    weight.data = torch.cat([weight.data, weight.data])[:4]
    assert fingerprint(net) == before


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # deprecated, and still in use
def test_weights_of_any_kind_have_a_fingerprint() -> None:
    """Half precision, complex, sparse, quantized, a single number, none at all."""
    model = nn.Module()
    kinds = {
        "bfloat": torch.rand(3).bfloat16(),
        "complex": torch.rand(2, dtype=torch.complex64).conj(),
        "sparse": torch.eye(3).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.rand(4), 0.1, 0, torch.qint8),
        "number": torch.tensor(3),
        "empty": torch.empty(0, 5),
    }
    seen = {fingerprint(model)}
    for name, tensor in kinds.items():
        model.register_buffer(name, tensor)
        seen.add(fingerprint(model))
    assert len(seen) == len(kinds) + 1
