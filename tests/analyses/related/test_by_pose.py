"""What is told the pose moves maps and channels as it says."""

import torch

from analyses.related import by_pose
from analyses.related.acting import STILL, over_c4, trunk
from analyses.related.by_pose import Region
from analyses.related.measuring import left
from analyses.related.methods import Motions
from tests.analyses.related.planted import EXACT, digits, untrained

TURN = Motions.QUARTERS.poses[0]


def region(recipe: str) -> Region:
    """An untrained network whose boxes are read."""
    network = untrained(recipe)
    assert isinstance(network, Region)
    return network


@torch.no_grad()
def test_without_a_motion_all_hand_on_the_upright_box() -> None:
    """Every method on a network is the network itself where nothing was moved."""
    network = region("over C4")
    upright = network.act(network.encode(STILL.move(digits())), None)
    for acting in (
        by_pose.RegionAtInput(network),
        by_pose.Rolled(network),
        by_pose.EgoAtInput(network),
        by_pose.EgoAtMap(network),
        by_pose.AtLayer(network, 2),
        by_pose.matrix_each(network, digits(), (90.0,)),
    ):
        for pose in (None, STILL):
            handed_on = acting.act(acting.encode(STILL.move(digits())), pose)
            assert left(handed_on, upright) <= EXACT, type(acting).__name__


@torch.no_grad()
def test_the_deeper_the_map_the_more_is_left() -> None:
    """The image is layer 0, the box's map the last; what is left grows from nothing."""
    network = region("plain")
    kept = [
        float(
            left(
                acting.act(acting.encode(TURN.move(digits())), TURN),
                acting.act(acting.encode(STILL.move(digits())), STILL),
            )
        )
        for acting in (by_pose.AtLayer(network, layer) for layer in (0, 1, 3, 5))
    ]
    assert kept[0] <= EXACT
    assert kept == sorted(kept)
    assert kept[-1] > 0.2


def test_one_generator_turns_what_it_was_not_fitted_at() -> None:
    """Fitted at 45 degrees to either side, it brings quarter turns of a C4 network nearer."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        # four channels a layer: a larger generator takes seconds
        network = Region(trunk(over_c4, 0.125)).eval()
    steered = by_pose.one_generator(network, digits(), (-45.0, 45.0))
    with torch.no_grad():
        moved = network.encode(TURN.move(digits()))
        upright = network.act(network.encode(STILL.move(digits())), STILL)
        assert left(steered.act(moved, TURN), upright) < left(network.act(moved, TURN), upright)
