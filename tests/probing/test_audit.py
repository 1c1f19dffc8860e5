"""What an audit says of networks whose warps are planted."""

import pandas as pd
import pytest
import torch
from torch import nn

import invariance_probe as ip
from tests.probing import moving


@pytest.mark.parametrize("trunk", ["plain", "c4", "residual"])
@pytest.mark.parametrize(
    ("how", "acts_on", "module", "slope"),
    [
        ("input", "input", "part", 1),
        ("map", "map", "part", 1),
        ("box", "map", "part.pool", 1),
        ("fixed box", "map", "part.pool", 0),
        ("deform", "map", "part", 0),
    ],
)
def test_what_is_planted_is_found(
    trunk: str, how: str, acts_on: str, module: str, slope: float
) -> None:
    """One operation, where it stands, on what it acts, and how much of a turn it undoes."""
    network = moving.Planted(trunk, how).eval()
    (row,) = (
        ip.audit(network, moving.images(2), transforms=ip.Rotation(90)).frame().to_dict("records")
    )
    assert (row["acts_on"], row["module"], row["outcome"]) == (acts_on, module, "measured")
    assert row["slope"] == pytest.approx(slope, abs=0.02)
    if how == "input":  # a perfect transformer leaves what a perfect warp of the input does
        assert row["left"] == pytest.approx(row["left_input"], abs=1e-6)
    if how == "map":  # the warp is right, and the channels are not
        assert row["left"] > row["floor"] + 0.1


def test_a_compiled_graph_is_seen_through() -> None:
    """Of modules of torch.compile what they were compiled from runs, and the answer is the same."""
    network, images = moving.Planted("plain", "map").eval(), moving.images(2)
    plain, compiled = (
        ip.audit(each, images, transforms=ip.Rotation(90))
        for each in (network, nn.Sequential(torch.compile(network, backend="eager")))
    )
    (row,) = compiled.frame().to_dict("records")
    assert (row["acts_on"], row["module"], compiled.notes) == ("map", "0.part", {})
    numbers = ["slope", "left", "left_best", "floor"]
    pd.testing.assert_frame_equal(compiled.frame()[numbers], plain.frame()[numbers])


def test_a_transformer_that_never_moves_undoes_nothing() -> None:
    """Slope 0, and more is left than the best warp of what it reads leaves."""
    network = moving.Never().eval()
    (row,) = (
        ip.audit(network, moving.images(2), transforms=ip.Rotation(90)).frame().to_dict("records")
    )
    assert row["slope"] == 0
    assert row["left"] > row["left_best"] + 0.1


def test_a_plain_network_gives_an_empty_frame() -> None:
    """Nothing is invented."""
    found = ip.audit(moving.Residual().eval(), moving.images(2), transforms=ip.Rotation(90))
    assert found.frame().empty
    assert "no operation" in str(found)


def test_it_costs_a_pass_a_transform_beyond_its_probes() -> None:
    """The images pass once as they are and once under each transform, before anything is probed."""
    passes: list[int] = []
    network = moving.Residual().eval()
    network.register_forward_hook(lambda _m, given, _o: passes.append(len(given[0])))
    ip.audit(network, torch.rand(2, 1, 16, 16), transforms=[ip.Rotation(90), ip.Rotation(30)])
    assert sum(passes) == 2 * 3


def test_methods_are_refused() -> None:
    """An audit has its own methods."""
    with pytest.raises(ip.InvalidInputError, match="an audit has its own"):
        ip.audit(
            nn.Identity(), torch.rand(1, 1, 8, 8), transforms=ip.Rotation(90), methods=["flow"]
        )
