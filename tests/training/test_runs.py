"""Run folders are read, and summed up over seeds."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.training import runs
from invariance_probe.training.runs import TrainResult


def test_runs_over_seeds_are_summarised(tmp_path: Path) -> None:
    """Mean, standard deviation and t interval over seeds are those of the runs' errors."""
    frame = pd.DataFrame({
        "data": "d",
        "perturbation": "p",
        "network": ["auto", "auto", "auto", "mnist-deep"],
        "variant": ["a", "a", "a", "b"],
        "alignment": "predicted",
        "outcome": ["finished", "finished", "diverged", "finished"],
        "error": [0.02, 0.04, np.nan, 0.5],
        "slope_degrees": [1.0, 0.5, np.nan, 0.0],
        "out_of_frame": 0.0,
        "images_per_second": 1.0,
        "seconds": 1.0,
    })
    table = runs.table(frame).set_index("variant")
    row = table.loc["a"]
    assert row["error"] == pytest.approx(0.03)
    assert row["error_std"] == pytest.approx(math.sqrt(2) * 0.01)
    half = 12.706 * 0.01  # Student's quantile for one degree of freedom, over the standard error
    assert [row["error_low"], row["error_high"]] == pytest.approx(
        [0.03 - half, 0.03 + half], abs=1e-4
    )
    assert row["slope_degrees"] == 0.75
    assert (row["seeds"], row["diverged"]) == (3, 1)
    assert math.isnan(table.loc["b", "error_low"])
    # runs of two networks are never averaged
    assert len(runs.table(frame.assign(variant="a"))) == 2


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    """Reading runs where there are none says so."""
    with pytest.raises(InvalidInputError, match="contains no finished training; train one first"):
        runs.read_runs(tmp_path)
    with pytest.raises(InvalidInputError, match="contains no finished training"):
        TrainResult.load(tmp_path)
