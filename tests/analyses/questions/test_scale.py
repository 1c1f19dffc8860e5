"""Scale: what few images tell of many, and what an engine adds."""

import numpy as np
import pandas as pd
import pytest

from analyses.questions import scale


def _frame(**of_ray: float) -> pd.DataFrame:
    """Two images in 30 s and four in 50, a second machine beside."""
    about = {"engine": "here", "tasks": 1, "layers": 10, "transforms": 12, "machine": "2 cores"}
    rows = [
        {"measured": "image", "images": 2, "seconds": 30.0, "rows": 3600, "table_mb": 0.1},
        {"measured": "image", "images": 4, "seconds": 50.0, "rows": 7200, "table_mb": 0.2},
        {"measured": "engine", "images": 90, "seconds": 100.0, "rows": 10, "table_mb": 0.1},
    ]
    rows = [about | {"peak_mb": 800.0} | row for row in rows]
    if of_ray:
        rows.append(rows[-1] | {"engine": "ray"} | of_ray)
    return pd.DataFrame(rows)


def test_an_image_costs_what_one_more_of_them_takes() -> None:
    """What a run begins with is no part of it; pairs and rows go with rotations and layers."""
    said = scale.summary(_frame()).set_index("what")["value"]
    assert said["an image, its rotations and layers, on one core"] == 10
    # 480 of 120 pairs an image, 10 s each
    assert said["50 000 images: work"] == pytest.approx(50_000 * 10 * 4 / 3600)
    assert said["50 000 images: rows"] == pytest.approx(50_000 * 1800 * 4 / 1e6)
    assert said["50 000 images: their table"] == pytest.approx(360e6 * 0.2 / 7200 / 1e3)
    assert np.isnan(said["added by the engine, beyond its start"])


def test_an_engine_adds_what_its_tasks_take_beyond_one_process() -> None:
    """Two tasks that need 60 s each, where one process needs 100, took a fifth more."""
    frame = _frame(tasks=2, seconds=60.0)
    assert scale.overhead(frame) == pytest.approx(0.2)
    figure = scale.plot(frame)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [100, 60]
