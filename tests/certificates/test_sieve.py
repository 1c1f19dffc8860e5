"""The compiled loops do what the torch operations do, which other tests hold against the truth."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.certificates import any_warp, attacks

sieve = pytest.importorskip("invariance_probe.certificates.sieve")


@given(case=attacks.cases)
def test_distances_are_those_of_the_torch_operations(case: attacks.Case) -> None:
    """From below and from above, to a few roundings of the longest vectors."""
    cells = any_warp.Cells(case.moved.double())
    wanted = case.reference.double().flatten(2).transpose(1, 2).contiguous()
    to_vectors, rounding = cells.distances(wanted)
    want = any_warp._sieved(cells, to_vectors, rounding)
    got = any_warp._compiled(sieve, cells)(to_vectors, rounding)
    for one, other in zip(got, want, strict=True):
        # the torch operations sieve in float32: what they keep beside the nearest hull may lower
        # the lower side by as much as rounding is allowed for
        torch.testing.assert_close(one, other, rtol=1e-9, atol=100 * float(rounding.max()))
    assert bool((got[0] <= got[1] + 1e-300).all())


@given(seed=st.integers(0, 1000), pairs=st.integers(1, 3))
def test_bits_do_not_depend_on_threads(seed: int, pairs: int) -> None:
    """Each position is one thread's, whatever it does before and after."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2 * pairs, 4, 7, 6, generator=generator)
    region = torch.ones(pairs, 7, 6, dtype=torch.bool)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(any_warp.any_warp_bound(maps[:pairs], maps[pairs:], region).distance)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_without_numba_the_torch_operations_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """And give the same bound."""
    made = attacks.case(3, 5, (8, 9), (7, 8), "noise")
    compiled = any_warp.any_warp_bound(made.reference, made.moved, made.region)
    monkeypatch.setattr(any_warp, "_loops", lambda: None)
    monkeypatch.setattr(any_warp, "_compiled", None)
    plain = any_warp.any_warp_bound(made.reference, made.moved, made.region)
    torch.testing.assert_close(compiled.error, plain.error, rtol=1e-9, atol=0)
    assert float(plain.error) > 0
