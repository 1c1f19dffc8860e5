"""Trainings that several questions share."""

from types import ModuleType

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analyses.questions import depth, iterations, placement

QUESTIONS = (placement, depth, iterations)


def assert_answered(question: ModuleType, frame: pd.DataFrame) -> None:
    """The frame gives a summary, and a figure that names preset, seeds and machine."""
    assert len(question.summary(frame)) > 0
    figure = question.plot(frame)
    assert isinstance(figure, Figure)
    figure.canvas.draw()  # type: ignore[attr-defined]  # of the default canvas
    for word in ("tiny preset, 2 seeds", "mnist-5k", "CPU"):
        assert word in figure.get_suptitle()


def planted_runs(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Rows of trainings with given errors; NaN diverged."""
    return pd.DataFrame([
        {
            "preset": "quick",
            "machine": "CPU",
            "data": "mnist",
            "perturbation": "rotation",
            "network": "auto",
            "alignment": "predicted",
            "variant": variant,
            "kind": variant.rstrip("0123456789x"),
            "depth": int(variant[-1]) if variant != "cnn" else 0,
            "seed": seed,
            "images_seen": 20_000,
            "outcome": "finished" if np.isfinite(error) else "diverged",
            "error": error,
            "gradient": 1.0 + error,
        }
        for variant, values in errors.items()
        for seed, error in enumerate(values)
    ])
