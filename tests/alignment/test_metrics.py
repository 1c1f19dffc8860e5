"""One name, one formula."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.alignment import metrics
from invariance_probe.plane import sampling


def test_formulas_are_those_of_their_definition() -> None:
    """The scores are the sums of their definitions, written out position by position."""
    torch.manual_seed(0)
    F, W = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    region = torch.rand(2, 4, 5) > 0.3
    mean = torch.randn(2, 3)
    scores = metrics.Target(F, region, mean.double()).score(W)
    for i in range(2):
        f, w = F[i][:, region[i]].double(), W[i][:, region[i]].double()
        m = mean[i][:, None].double()
        error = (w - f).square().sum()
        fvu = error / (f - m).square().sum()
        rel = (error / f.square().sum()).sqrt()
        cosine = ((w - m) * (f - m)).sum() / ((w - m).norm() * (f - m).norm())
        torch.testing.assert_close(scores.fvu[i], fvu, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(scores.rel_l2[i], rel, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(scores.cosine[i], cosine, atol=1e-5, rtol=1e-5)


@given(scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_anchors(scale: float) -> None:
    """0 for equal maps, 1 for the channel mean, near 2 for unrelated maps, at any scale."""
    torch.manual_seed(1)
    F = scale * torch.randn(8, 4, 20, 20)
    region = torch.ones(8, 20, 20, dtype=torch.bool)
    mean = F.double().mean((0, 2, 3)).expand(8, -1)
    target = metrics.Target(F, region, mean)
    assert float(target.score(F).fvu.max()) == 0
    assert torch.allclose(target.score(F).cosine, torch.ones(8).double(), atol=1e-6)
    constant = mean[:, :, None, None].expand_as(F).to(F)
    assert torch.allclose(target.score(constant).fvu, torch.ones(8).double(), atol=1e-4)
    unrelated = target.score(F.roll(1, 0))
    assert torch.allclose(unrelated.fvu, torch.full((8,), 2.0).double(), atol=0.25)
    assert unrelated.cosine.abs().max() < 0.15


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_warp_scored_is_the_warped_map_scored(kind: torch.dtype, mode: str) -> None:
    """In compiled loops and in torch's operations; a warp that moves cells leaves exactly 0."""
    torch.manual_seed(2)
    F, G = torch.randn(2, 3, 5, 12, 12, dtype=kind)
    region = torch.rand(3, 12, 12) > 0.3
    target = metrics.Target(F, region, torch.randn(3, 5).double())
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0]], dtype=torch.float64)
    theta = torch.stack([turn, torch.eye(2, 3).double(), 0.6 * turn + 0.2])
    scores = target.score_warp(G, theta, mode)
    wanted = target.score(sampling.warp(G, theta, mode=mode))
    for name in metrics.METRICS:
        torch.testing.assert_close(
            getattr(scores, name), getattr(wanted, name), atol=1e-5, rtol=1e-5
        )
    turned = sampling.warp(F, turn.new_tensor([[0, 1, 0], [-1, 0, 0]]).expand(3, 2, 3))
    assert target.score_warp(turned, turn.expand(3, 2, 3), mode).fvu.tolist() == [0.0] * 3


def test_what_cannot_be_told_is_nan() -> None:
    """Constant references and empty regions give NaN, not 0."""
    F = torch.ones(2, 3, 4, 4)
    F[1] = torch.randn(3, 4, 4)
    region = torch.ones(2, 4, 4, dtype=torch.bool)
    region[1] = False
    scores = metrics.Target(F, region, metrics.region_mean(F, region)).score(
        torch.randn(2, 3, 4, 4)
    )
    assert all(math.isnan(v) for v in scores.fvu.tolist())


def test_finite_maps_are_told_from_others() -> None:
    """One value that is not finite tells, and large values are finite though their sum is not."""
    maps = torch.ones(5, 2, 3, 3)
    maps[1, 1, 2, 0], maps[2, 0, 0, 0], maps[3] = math.nan, -math.inf, torch.finfo().max
    maps[4, 0, 0, 0], maps[4, 0, 0, 1] = math.inf, -math.inf
    assert metrics.finite(maps).tolist() == [True, False, False, True, False]
    assert metrics.finite(maps[:1]).tolist() == [True]
