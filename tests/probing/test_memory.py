"""What a run holds on to between its readings of the images."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.network.replay import Replay
from invariance_probe.probing import passes, probe, readout
from invariance_probe.probing.pairs import Pairs
from invariance_probe.results.methods import METHODS
from invariance_probe.results.rows import Block
from tests.probing.weighing import weight

FEW, MANY, SIDE = 16, 40, 12
MOVES = [*ip.sweep("rotation", 30, 90, 30), *ip.sweep("scaling", 0.7, 1.3, 0.3)]
LAYERS = ["0", "1"]
AT_HAND = (Pairs, passes.Chunk, Replay, readout._Batch)
"""What is replaced by the next batch."""


class _EnoughError(Exception):
    """Ends a run where it is weighed."""


class _Noise:
    """Images that are made when asked for, so that none is held."""

    def __init__(self, count: int) -> None:
        self.names = [str(number) for number in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Tensor:
        return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize(
    ("measure", "owner", "last_reading", "methods"),
    [
        (ip.probe, probe._Run, "_score", [m for m in METHODS if m != "flow"]),
        (ip.recover, readout._Run, "_compare", [m for m in readout._PUT_BACK if m != "flow"]),
    ],
)
def test_memory_does_not_grow_with_the_images_but_for_the_table(
    measure: Callable[..., ip.ProbeResult],
    owner: type,
    last_reading: str,
    methods: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Besides its table a run holds less of a pair than half of what one method's rows take."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5))
    frame = ip.probe(net, _Noise(2), layers="0", transforms=MOVES, methods=["oracle"]).frame()
    pairs = 2 * len(MOVES)
    a_method_s_rows = float(frame.memory_usage(index=False).sum()) / pairs
    held: list[int] = []

    def weigh(*everything: object) -> None:
        held.append(weight(everything, without=(Block, nn.Module, _Noise, *AT_HAND)))
        raise _EnoughError

    monkeypatch.setattr(owner, last_reading, weigh)
    for module in (passes, readout):
        monkeypatch.setattr(module, "CACHE_BYTES", 0)  # maps that fill a room of fixed size
    for count in (FEW, MANY):
        with pytest.raises(_EnoughError):
            measure(net, _Noise(count), layers=LAYERS, transforms=MOVES, methods=methods)
    few, many = held
    grown = (many - few) / ((MANY - FEW) * len(MOVES) * len(LAYERS))
    assert 0 < grown < a_method_s_rows / 2
