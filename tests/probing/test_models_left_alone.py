"""A probe leaves the model it is given as it was, whatever it is and however the probe ends."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from tests.network.kinds_of_models import KINDS, failing, state

MOVES = [ip.Rotation(90)]
IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["success", "error", "interrupt"])
def test_models_of_all_kinds_are_left_as_they_were_found(kind: str, ending: str) -> None:
    """No bit, mode, hook or attribute differs after success, an error in forward, an interrupt."""
    model = KINDS[kind]()
    names = [name for name, _ in model.named_modules() if name]
    layer = names[0].replace("_orig_mod.", "").replace("_orig_mod", "0") if names else "(model)"
    before, randomness = state(model), torch.get_rng_state()

    def measure() -> ip.ProbeResult:
        return ip.probe(
            model, IMAGES, layers=layer, transforms=MOVES, methods=["oracle"], device="cpu"
        )

    if ending == "success":
        table = measure().frame()
        assert (state(model) == before, bool(table["value"].notna().all())) == (True, True)
    else:
        raised = RuntimeError("boom") if ending == "error" else KeyboardInterrupt()
        expected = ip.InvalidInputError if ending == "error" else KeyboardInterrupt
        with failing(model, raised):
            hooked = state(model)
            with pytest.raises(expected):
                measure()
            assert state(model) == hooked
        assert state(model) == before
    assert torch.equal(torch.get_rng_state(), randomness)


def test_two_threads_may_probe_one_model() -> None:
    """Two probes of one model at once, in two types, find what each finds alone."""
    model = KINDS["buffers, parameters and attributes written in forward"]()
    before = state(model)

    def measure(dtype: str) -> list[float]:
        result = ip.probe(
            model, IMAGES, layers="body", transforms=MOVES, methods=["oracle"], dtype=dtype
        )
        return result.frame()["value"].tolist()

    alone = {dtype: measure(dtype) for dtype in ("float32", "float64")}
    found: dict[tuple[str, int], list[float]] = {}

    def keep(dtype: str, number: int) -> None:
        found[dtype, number] = measure(dtype)

    threads = [threading.Thread(target=keep, args=(d, n)) for d in alone for n in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == len(threads)
    assert all(values == alone[dtype] for (dtype, _), values in found.items())
    assert state(model) == before


class _Drawing(nn.Module):
    """Draws from all global generators in its second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 3), nn.Identity()
        self.second.register_forward_hook(self._tremble)

    def _tremble(self, _module: nn.Module, _images: object, maps: Tensor) -> Tensor:
        drawn = random.random() + float(np.random.rand())  # noqa: NPY002  (a model's, not ours)
        return maps + drawn + torch.rand_like(maps)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images)).mean((2, 3))


def test_a_model_that_is_not_deterministic_is_refused_by_the_name_of_the_layer() -> None:
    """Nothing is measured where a wanted map, or what the network says, differs the second time."""
    model, randomness = _Drawing(), torch.get_rng_state()
    options = {"transforms": MOVES, "methods": ["oracle"]}
    with pytest.raises(ip.InvalidInputError, match="not deterministic: layer 'second' answers"):
        ip.probe(model, IMAGES, layers="second", **options)
    assert not ip.probe(model, IMAGES, layers="first", **options).frame().empty
    with pytest.raises(ip.InvalidInputError, match="not deterministic: layer 'second' answers"):
        ip.recover(model, IMAGES, layers="first", **options)
    assert torch.equal(torch.get_rng_state(), randomness)
