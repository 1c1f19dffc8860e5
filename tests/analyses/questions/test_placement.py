"""Trainings by placement: rows, marks and poses."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from analyses.questions import placement
from invariance_probe.training.runs import TrainResult
from tests.analyses.trainings import assert_answered


def test_the_tiny_preset_is_answered_and_drawn(frames: dict[ModuleType, pd.DataFrame]) -> None:
    """The trainings give a table, and a figure that says what it rests on."""
    assert_answered(placement, frames[placement])


def test_runs_with_true_poses_are_a_row_and_a_mark_of_their_own(
    frames: dict[ModuleType, pd.DataFrame],
) -> None:
    """They are never averaged with runs that predict poses, and open marks show them."""
    frame = frames[placement]
    runs = frame[(frame["level"] == "run") & (frame["variant"] == "c0")]
    told = runs.assign(alignment="true", error=runs["error"] / 2)
    table = placement.summary(pd.concat([frame, told])).set_index(["alignment", "variant"])
    alone = placement.summary(frame).set_index(["alignment", "variant"])
    mean = alone.loc[("predicted", "c0"), "error"]
    assert table.loc[("predicted", "c0"), "error"] == pytest.approx(mean)
    assert table.loc[("true", "c0"), "error"] == pytest.approx(mean / 2)
    assert placement.plot(frame).axes[0].get_legend() is None
    legend = placement.plot(pd.concat([frame, told])).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["poses given"]


def test_a_pose_that_is_undone_lies_on_the_diagonal() -> None:
    """Predicting the negative of what was applied fills the diagonal; predicting nothing, a row."""
    applied = np.linspace(-90, 90, 4001)
    undone = pd.DataFrame({"applied": applied, "predicted": -applied})
    across, up = placement.bins(undone)
    assert np.array_equal(across, up)
    assert np.diag(placement.density(undone, across, up)) == pytest.approx(np.ones(len(up) - 1))
    still = placement.density(undone.assign(predicted=0.0), across, up)
    assert still.sum(1) == pytest.approx(np.ones(len(still)))
    assert (still.max(0) == 1).sum() == 1


def test_whole_pixels_and_far_poses_have_bins_of_their_own() -> None:
    """Each whole pixel has its bin, and a network's own canonical pose stays in the window."""
    applied = np.repeat(np.arange(-16.0, 17.0), 20)
    poses = pd.DataFrame({"applied": applied, "predicted": -applied + 9.5})
    across, up = placement.bins(poses)
    assert len(across) == 34
    share = placement.density(poses, across, up)
    assert (share.sum(1) == 1).all()
    assert (share.max(1) == 1).all()
    # nothing but the outermost hundredth is gathered at the lower end
    assert share[:, 0].sum() <= 1
    assert up[0] <= -25
    assert up[-1] == across[-1]


def test_poses_kept_are_those_of_the_runs(
    folder: Path, frames: dict[ModuleType, pd.DataFrame]
) -> None:
    """The frame of poses holds the first test images of each run with a transformer, as stored."""
    poses = frames[placement].query("level == 'pose' and variant == 'sl1' and seed == 1")
    stored = TrainResult.load(folder / "mnist-5k-rotation-sl1-seed1").images.head(50)
    assert poses["applied"].to_numpy() == pytest.approx(stored["applied_degrees"].to_numpy())
    assert poses["predicted"].to_numpy() == pytest.approx(
        stored["predicted_degrees"].to_numpy(), abs=1e-4
    )
    assert "cnn" not in set(frames[placement].query("level == 'pose'")["variant"])
