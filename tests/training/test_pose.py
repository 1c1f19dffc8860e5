"""Pose statistics recover what was planted."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe import Rotation, Scaling, Shear, Translation
from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.kinds import parse_perturbation
from invariance_probe.plane import coordinates
from invariance_probe.stn.transformer import resample
from invariance_probe.training import pose


def test_the_true_pull_back_undoes_the_motion() -> None:
    """Reading a perturbed image through it gives the image back; nothing is left of the pose."""
    axis = torch.arange(31) - 15.0
    image = torch.exp(-((axis - 3) ** 2 + (axis[:, None] + 2) ** 2 / 2) / 12)[None, None]
    rotation = parse_perturbation("rotation")
    poses = torch.tensor([[50.0]])
    moves = rotation.moves(poses)
    true = pose.true_pull_backs(moves, 31, 31)
    back = resample(rotation.apply(image, poses), true.float())
    # twice bilinear; undone the wrong way round, almost nothing of the blob coincides
    assert float((back - image).abs().max()) < 0.06
    wrong = resample(rotation.apply(image, poses), true.inverse().float())
    assert float((wrong - image).abs().max()) > 0.5
    predicted = pose.predicted_poses(poses, moves, true, ["degrees"], height=31, width=31)
    assert float((poses + predicted).abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("text", "names", "poses"),
    [
        ("rotation", ["degrees"], [[-90.0], [0.0], [33.0], [90.0]]),
        ("scaling=clean", ["log2_factor"], [[-1.0], [0.0], [1.7]]),
        ("translation=clean", ["x", "y"], [[-16.0, 3.0], [0.0, 0.0], [5.0, -9.0]]),
    ],
)
def test_planted_poses_are_read_back(text: str, names: list[str], poses: list[list[float]]) -> None:
    """Poses of motions are the poses they were made from, and their inverses undo them fully."""
    planted = torch.tensor(poses)
    moves = parse_perturbation(text).moves(planted)
    torch.testing.assert_close(pose.poses_of(moves, names), planted.double())
    true = pose.true_pull_backs(moves, 40, 40)
    predicted = pose.predicted_poses(planted, moves, true, names, height=40, width=40)
    torch.testing.assert_close(predicted, -planted.double(), rtol=1e-9, atol=1e-9)


def test_conventions_are_the_engines() -> None:
    """Degrees and factors read from the engine's transforms are those they were built with."""
    matrices = torch.stack([Rotation(25).matrix, Scaling(1.5).matrix, Translation(3, -2).matrix])
    read = pose.poses_of(matrices, ["degrees", "log2_factor", "x", "y"])
    torch.testing.assert_close(read[0, 0], torch.tensor(25.0).double())
    torch.testing.assert_close(read[1, 1], torch.tensor(math.log2(1.5)).double())
    torch.testing.assert_close(read[2, 2:], torch.tensor([3.0, -2.0]).double())


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_angles_and_sizes_add_up_for_any_affine_prediction(
    applied: float, turned: float, shear: float, octaves: float
) -> None:
    """What any affine prediction leaves of an applied rotation is the sum of both angles."""
    a = Rotation(applied).matrix
    p = Rotation(turned).matrix @ Shear(shear).matrix @ Scaling(2**octaves).matrix
    names = ["degrees", "log2_factor"]
    one, two, both = (pose.poses_of(m[None], names)[0] for m in (a, p, p @ a))
    gap = (one + two - both + 180) % 360 - 180
    assert float(gap.abs().max()) < 1e-6


@pytest.mark.parametrize("slope", [-3.0, -0.4, 0.0, 0.3, 1.0, 20.0])
def test_deming_recovers_lines_exactly(slope: float) -> None:
    """Points of a line give its slope and intercept."""
    x = np.linspace(-90, 90, 50)
    line = pose.deming(x, slope * x + 7)
    assert line.slope == pytest.approx(slope, abs=1e-9)
    assert line.intercept == pytest.approx(7, abs=1e-6)


def test_deming_takes_noise_in_both_coordinates_evenly() -> None:
    """With equal noise on both axes it finds the slope, where least squares is biased."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(-90, 90, 20_000)
    x, y = (0.6 * t + rng.normal(0, 15, len(truth)) for t in (truth / 0.6, truth))
    assert pose.deming(x, y).slope == pytest.approx(0.6, abs=0.01)
    assert np.polyfit(x, y, 1)[0] < 0.57
    swapped = pose.deming(y, x).slope
    assert swapped == pytest.approx(1 / pose.deming(x, y).slope)


def test_deming_says_when_there_is_no_line() -> None:
    """One point, or a round cloud, determine none; a vertical line has no finite slope."""
    one = np.array([1.0])
    assert math.isnan(pose.deming(one, one).slope)
    square = np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 0, 1])
    assert math.isnan(pose.deming(*square).slope)
    assert math.isinf(pose.deming(np.zeros(3), np.arange(3.0)).slope)
    assert pose.deming(np.arange(4.0), np.array([0, 2.0, np.nan, 6])).slope == pytest.approx(2)


def test_spread_is_pooled_within_classes() -> None:
    """Each class has its own mean; the spread is that within, with one degree of freedom each."""
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 10, 20_000)
    left = 12.0 * classes + rng.normal(0, 5, len(classes))
    assert pose.within_class_spread(left, classes, circular=False) == pytest.approx(5, rel=0.02)
    small = np.array([0.0, 2, 10, 12])
    pooled = pose.within_class_spread(small, np.array([0, 0, 1, 1]), circular=False)
    assert pooled == pytest.approx(math.sqrt(2))
    assert math.isnan(pose.within_class_spread(small, np.arange(4), circular=False))


def test_angles_go_round() -> None:
    """Angles on either side of 180 degrees are close to each other."""
    left = np.array([179.0, -179.0, 181.0, -181.0])
    classes = np.zeros(4, dtype=int)
    assert pose.within_class_spread(left, classes, circular=True) < 2
    assert pose.within_class_spread(left, classes, circular=False) > 100


def grid_share(pull_back: Tensor, height: int, width: int) -> float:
    """Count positions one by one."""
    outside = 0
    index = coordinates.index_matrix_from_theta(pull_back[:2], height, width)
    for row in range(height):
        for column in range(width):
            x, y, _ = (index @ torch.tensor([column, row, 1.0]).double()).tolist()
            inside = -0.5 - 1e-4 <= x <= width - 0.5 + 1e-4 and (
                -0.5 - 1e-4 <= y <= height - 0.5 + 1e-4
            )
            outside += not inside
    return outside / (height * width)


def test_out_of_frame_is_what_counting_finds() -> None:
    """The share is that of positions whose reading place lies past the outer edges."""
    torch.manual_seed(2)
    theta = torch.eye(2, 3).double() + 0.5 * torch.randn(5, 2, 3).double()
    pull_backs = coordinates.homogeneous(theta)
    found = pose.out_of_frame(pull_backs, 7, 10)
    assert found.tolist() == pytest.approx([grid_share(m, 7, 10) for m in pull_backs])
    half = torch.tensor([[[1.0, 0, 1.0], [0, 1, 0], [0, 0, 1]]])
    assert pose.out_of_frame(half, 8, 8).tolist() == [0.5]
    assert pose.out_of_frame(torch.eye(3)[None], 8, 8).tolist() == [0.0]
    assert math.isnan(pose.out_of_frame(half * math.nan, 8, 8).item())


def test_determinants_and_singular_predictions() -> None:
    """A collapsed prediction has determinant 0 and no pose, and raises nothing."""
    flat = torch.tensor([[[1.0, 1, 0], [1, 1, 0], [0, 0, 1]], [[2.0, 0, 0], [0, 3, 0], [0, 0, 1]]])
    assert pose.determinants(flat).tolist() == [0, 6]
    moves = torch.eye(3).expand(2, 3, 3).double()
    found = pose.predicted_poses(torch.zeros(2, 1), moves, flat, ["degrees"], height=9, width=9)
    assert math.isnan(found[0, 0].item())
    assert found[1, 0].item() == 0


def test_unknown_poses_are_refused() -> None:
    """A number that no motion has is named."""
    with pytest.raises(InvalidInputError, match="pose 'z' is unknown"):
        pose.poses_of(torch.eye(3)[None], ["z"])
