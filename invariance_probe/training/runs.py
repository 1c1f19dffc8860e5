"""Run folders of trainings: what each holds, and many of them as one frame."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import pandas as pd

from invariance_probe import files
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_path
from invariance_probe.statistics import t_interval

RESULT, CURVE, IMAGES, MODEL = "result.json", "curve.parquet", "images.parquet", "model.safetensors"
_POSE = ("slope_", "spread_")
FORMAT = 2
"""Of run folders of trainings; those of version 0.1.0 name none, and are read."""
_KINDS: tuple[tuple[type | UnionType, tuple[str, ...]], ...] = (
    (str, ("data", "perturbation", "network", "variant", "alignment", "outcome")),
    (float | int, ("error", "width", "seconds", "images_per_second", "seed", "steps", "batch")),
)
"""What comparisons of runs rest on."""
KEYS = ("data", "perturbation", "network", "variant", "alignment")
"""What distinguishes groups of runs that differ in the seed alone."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished training.

    Attributes:
        config: The configuration, as of `TrainConfig.as_dict`.
        numbers: Final numbers by name: ``outcome`` (``finished`` or ``diverged``), ``error``, the
            pose statistics, ``parameters``, ``seconds``, ``images_per_second`` and so on.
        curve: One row each evaluation on validation images.
        images: One row each test image, see `evaluation.evaluate`; empty if the run diverged.
        provenance: Versions, machine, commit.
    """

    config: dict[str, Any]
    numbers: dict[str, Any]
    curve: pd.DataFrame
    images: pd.DataFrame
    provenance: dict[str, Any]

    @property
    def outcome(self) -> str:
        """``finished``, or ``diverged`` where loss or predictions were no longer finite."""
        return str(self.numbers["outcome"])

    def frame(self) -> pd.DataFrame:
        """Return configuration and final numbers.

        Returns:
            One row; analyses put those of many runs under each other, see `read_runs`.
        """
        return pd.DataFrame([{**self.config, **self.numbers}])

    def save(self, folder: Path) -> None:
        """Write the tables, and `RESULT` last: a folder that holds it is finished.

        Args:
            folder: Folder of the run.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in ((CURVE, self.curve), (IMAGES, self.images)):
            files.write_file(folder / name, partial(table.to_parquet, index=False))
        about = {
            "format": FORMAT,
            "config": self.config,
            "numbers": self.numbers,
            "provenance": self.provenance,
        }
        files.write_json(folder / RESULT, about)

    @classmethod
    def load(cls, folder: str | Path) -> "TrainResult":
        """Read a run folder.

        Args:
            folder: What `save` wrote.

        Returns:
            The same result.

        Raises:
            InvalidInputError: If the folder holds no finished training, or a file is damaged.
        """
        path = check_path("folder", folder)
        if not is_finished(path):
            raise InvalidInputError(
                f"folder {str(path)!r} contains no finished training; give one with {RESULT}, "
                f"{CURVE} and {IMAGES}"
            )
        about = files.read_json(path / RESULT)
        files.check_format(path / RESULT, about, FORMAT)
        with files.reading(path / RESULT):
            numbers = {
                key: float("nan") if value is None else value
                for key, value in about["numbers"].items()
            }
            config, provenance = dict(about["config"]), dict(about["provenance"])
            wrong = [
                name
                for kind, names in _KINDS
                for name in names
                if not isinstance((config | numbers)[name], kind)
            ]
            wrong += [n for n in numbers if n.startswith(_POSE) and isinstance(numbers[n], str)]
            wrong += [n for n, v in (config | numbers).items() if isinstance(v, list | dict)]
        if wrong:
            raise InvalidInputError(
                f"file {str(path / RESULT)!r} is damaged: {wrong[0]} is "
                f"{(config | numbers)[wrong[0]]!r}; restore it, or train again"
            )
        return cls(
            config=config,
            numbers=numbers,
            curve=files.read_parquet(path / CURVE),
            images=files.read_parquet(path / IMAGES),
            provenance=provenance,
        )


def is_finished(folder: Path) -> bool:
    """Tell whether a run folder is complete.

    Args:
        folder: Folder of the run.

    Returns:
        Whether there is anything left to train.
    """
    return (folder / RESULT).is_file()


def read_runs(root: str | Path) -> pd.DataFrame:
    """Read the final numbers of all finished runs below a folder.

    Args:
        root: A run folder, or one of run folders.

    Returns:
        A row for each run: configuration, final numbers, and ``folder``.

    Raises:
        InvalidInputError: If there is none.
    """
    top = Path(root)
    found = sorted(path.parent for path in top.rglob(RESULT))
    if not found:
        raise InvalidInputError(
            f"folder {str(top)!r} contains no finished training; train one first"
        )
    frames = [TrainResult.load(path).frame().assign(folder=str(path)) for path in found]
    return pd.concat(frames, ignore_index=True)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Summarise runs over their seeds.

    Args:
        frame: What `read_runs` returned.

    Returns:
        By data, perturbation, network, variant and alignment, in the order of their first run:
        ``seeds``, ``diverged``, ``error``, ``error_std``, ``error_low`` and ``error_high`` (95 %
        interval of the mean), the means of the ``slope_``, ``spread_`` and ``out_of_frame`` columns
        there are, ``images_per_second`` (median) and ``seconds``; errors of the runs that finished.
    """
    rows = []
    measured = [name for name in frame if name.startswith((*_POSE, "out_of_frame"))]
    for key, group in frame.groupby(list(KEYS), sort=False):
        done = group[group["outcome"] == "finished"]
        error = done["error"].to_numpy(dtype=float)
        mean, low, high = t_interval(error)
        rows.append({
            **dict(zip(KEYS, key, strict=True)),
            "seeds": len(group),
            "diverged": len(group) - len(done),
            "error": mean,
            "error_std": error.std(ddof=1) if len(error) > 1 else np.nan,
            "error_low": low,
            "error_high": high,
            **{name: done[name].mean() for name in measured},
            "images_per_second": group["images_per_second"].median(),
            "seconds": group["seconds"].mean(),
        })
    return pd.DataFrame(rows)
