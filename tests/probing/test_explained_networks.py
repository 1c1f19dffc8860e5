"""Networks whose answer is known decompose as they must, from images to parts."""

import json

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.results import decomposition
from invariance_probe.results.methods import EXPLAINING_METHODS


@pytest.fixture(scope="module")
def smooth() -> Tensor:
    """Six smooth random images."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(6, 3, 12, 12, generator=generator)
    return nn.functional.interpolate(coarse, size=(41, 41), mode="bicubic")


def _explained(network: nn.Module, images: Tensor, *moves: ip.Transform) -> ip.ProbeResult:
    return ip.probe(
        network, images, layers="(model)", transforms=list(moves), methods=EXPLAINING_METHODS
    )


def _shares(result: ip.ProbeResult) -> dict[str, float]:
    frame = result.decomposition()
    return dict(zip(frame["part"].astype(str), frame["share"], strict=True))


def test_parts_add_up_to_what_the_oracle_leaves(smooth: Tensor) -> None:
    """The stack's height is the oracle's mean residual, its shares make 1, no part is negative."""
    result = _explained(controls.random_network(), smooth, ip.Rotation(90), ip.Scaling(0.7))
    frame, summary = result.decomposition(), result.summary()
    found = frame[frame["status"] == "found"]
    for family in ("rotation", "scaling"):
        rows = found[found["transform"] == family]
        whole = summary.query("metric == 'fvu' and method == 'oracle' and transform == @family")
        assert len(rows) == len(decomposition.PARTS)
        assert rows["mean"].sum() == pytest.approx(whole["mean"].item())
        assert rows["share"].sum() == pytest.approx(1)
        assert (rows["mean"] >= 0).all()
        assert (rows["low"] <= rows["mean"] + 1e-12).all()
        assert (rows["mean"] <= rows["high"] + 1e-12).all()
    certified = frame[frame["status"] == "certified"]
    affine = summary.query("metric == 'fvu' and method == 'affine'")["mean"].to_numpy()
    assert (certified["mean"].to_numpy() <= affine + 1e-9).all()
    assert (certified["mean"] > 0).all()


def test_a_group_network_is_all_permutation_beyond_other_warps(smooth: Tensor) -> None:
    """On C4 at a quarter turn nothing is left, and no mixing is needed beyond the permutation."""
    shares = _shares(_explained(controls.c4_network(), smooth, ip.Rotation(90)))
    assert shares["left"] == pytest.approx(0, abs=1e-6)
    assert shares["mixing"] == pytest.approx(0, abs=1e-6)
    assert shares["permutation"] + shares["other warp"] == pytest.approx(1, abs=1e-6)
    assert shares["permutation"] > 0.5


def test_a_pointwise_network_is_all_floor(smooth: Tensor) -> None:
    """Maps that move with the image leave interpolation, and nothing a mixing could remove."""
    shares = _shares(_explained(controls.pointwise_network(), smooth, ip.Rotation(30)))
    assert shares["floor"] + shares["other warp"] > 0.95


def test_a_mixing_shows_as_mixing(smooth: Tensor) -> None:
    """Orientations mixed by a fixed matrix after C4: neither warp nor permutation, but mixing."""
    torch.manual_seed(0)
    group = controls.c4_network()
    with torch.no_grad():
        width = group(smooth[:1]).shape[1]
    mix = nn.Conv2d(width, width, 1, bias=False)
    nn.init.orthogonal_(mix.weight)
    shares = _shares(_explained(nn.Sequential(group, mix), smooth, ip.Rotation(90)))
    assert shares["mixing"] > 0.6
    assert shares["left"] < 0.15


def test_a_probe_without_the_methods_is_refused(smooth: Tensor) -> None:
    """A run that lacks a method is told which, and how to get them."""
    result = ip.probe(
        controls.random_network(), smooth, layers="(model)", transforms=[ip.Rotation(90)]
    )
    with pytest.raises(ip.InvalidInputError, match=r"lacks .*any-warp.*--explain"):
        result.decomposition()
    with pytest.raises(ip.InvalidInputError, match="permuted no channels"):
        decomposition.channel_moves(result)


def test_channel_moves_of_a_group_network(smooth: Tensor) -> None:
    """C4 at 90 degrees: all channels move in cycles of four and return; the gain is no chance."""
    result = _explained(controls.c4_network(), smooth, ip.Rotation(90), ip.Rotation(45))
    moves = decomposition.channel_moves(result)
    quarter = moves.query("parameter == 90 and warp == 'oracle'").iloc[0]
    assert quarter["moved"] == 1
    assert quarter["longest_cycle"] == 4
    assert quarter["returning"] == 1
    assert quarter["returning_by_chance"] < 0.5
    assert quarter["gain"] > 0.5
    assert quarter["p_value"] == pytest.approx(2**-6)
    assert quarter["significant"] == 1
    assert set(moves["turns"]) == {4, 8}


def test_figures_and_folder_hold_the_explanation(smooth: Tensor, tmp_path: object) -> None:
    """The run folder has both figures and the channels' table, and loads as it was."""
    result = _explained(controls.c4_network(), smooth, ip.Rotation(90), ip.Scaling(0.8))
    folder = result.save(f"{tmp_path}/run")
    for kind in ("parts", "channels"):
        assert (folder / "figures" / f"{kind}.png").stat().st_size > 5000
    loaded = ip.ProbeResult.load(folder)
    pd.testing.assert_frame_equal(loaded.channels, result.channels)
    pd.testing.assert_frame_equal(
        loaded.decomposition(), result.decomposition(), check_categorical=False
    )
    assert json.loads((folder / "config.json").read_text())["methods"] == list(EXPLAINING_METHODS)
