"""Pose statistics recover what was planted."""

import math

import numpy as np
import pytest
import torch

from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.plane import motions
from invariance_probe.stn.transformer import resample
from invariance_probe.training.pose_statistics import predicted_poses, within_class_spread


def test_the_true_pull_back_undoes_the_motion() -> None:
    """Reading a perturbed image through it gives the image back; nothing is left of the pose."""
    axis = torch.arange(31) - 15.0
    image = torch.exp(-((axis - 3) ** 2 + (axis[:, None] + 2) ** 2 / 2) / 12)[None, None]
    rotation = parse_perturbation("rotation")
    poses = torch.tensor([[50.0]])
    moves = rotation.moves(poses)
    true = motions.undoing_pull_backs(moves, 31, 31)
    back = resample(rotation.apply(image, poses), true.float())
    # twice bilinear; undone the wrong way round, almost nothing of the blob coincides
    assert float((back - image).abs().max()) < 0.06
    wrong = resample(rotation.apply(image, poses), true.inverse().float())
    assert float((wrong - image).abs().max()) > 0.5
    predicted = predicted_poses(poses, moves, true, ["degrees"], height=31, width=31)
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
    torch.testing.assert_close(motions.poses_of(moves, names), planted.double())
    true = motions.undoing_pull_backs(moves, 40, 40)
    predicted = predicted_poses(planted, moves, true, names, height=40, width=40)
    torch.testing.assert_close(predicted, -planted.double(), rtol=1e-9, atol=1e-9)


def test_spread_is_pooled_within_classes() -> None:
    """Each class has its own mean; the spread is that within, with one degree of freedom each."""
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 10, 20_000)
    left = 12.0 * classes + rng.normal(0, 5, len(classes))
    assert within_class_spread(left, classes, circular=False) == pytest.approx(5, rel=0.02)
    small = np.array([0.0, 2, 10, 12])
    pooled = within_class_spread(small, np.array([0, 0, 1, 1]), circular=False)
    assert pooled == pytest.approx(math.sqrt(2))
    assert math.isnan(within_class_spread(small, np.arange(4), circular=False))


def test_angles_go_round() -> None:
    """Angles on either side of 180 degrees are close to each other."""
    left = np.array([179.0, -179.0, 181.0, -181.0])
    classes = np.zeros(4, dtype=int)
    assert within_class_spread(left, classes, circular=True) < 2
    assert within_class_spread(left, classes, circular=False) > 100


def test_determinants_and_singular_predictions() -> None:
    """A collapsed prediction has determinant 0 and no pose, and raises nothing."""
    flat = torch.tensor([[[1.0, 1, 0], [1, 1, 0], [0, 0, 1]], [[2.0, 0, 0], [0, 3, 0], [0, 0, 1]]])
    assert motions.determinants(flat).tolist() == [0, 6]
    moves = torch.eye(3).expand(2, 3, 3).double()
    found = predicted_poses(torch.zeros(2, 1), moves, flat, ["degrees"], height=9, width=9)
    assert math.isnan(found[0, 0].item())
    assert found[1, 0].item() == 0
