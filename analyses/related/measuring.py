"""What is measured of a method on a network: left, floors, chance, errors, and the pose found."""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.related.acting import STILL, Acting, Pose
from analyses.related.methods import PARTS, Method
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.statistics import deming
from invariance_probe.training import pose_statistics


@torch.no_grad()
def rows(method: Method, acting: Acting, digits: Tensor, labels: Tensor) -> pd.DataFrame:
    """Measure a method on a network.

    Args:
        method: Under which motions, and whether it is told the pose.
        acting: The network.
        digits: Digits, values in [0, 1].
        labels: What they are.

    Returns:
        The columns of `analyses.questions.related_methods.measure` that are no number of a run.
    """
    upright = STILL.move(digits)
    encoded = acting.encode(upright)
    true = acting.act(encoded, STILL)
    own = true if method.given else acting.act(encoded, None)
    named, found = acting.head(own).argmax(1), acting.predicted(upright)
    lines: list[dict[str, Any]] = []
    applied: list[Tensor] = []
    told: list[Tensor] = []
    for motions in method.motions:
        for pose in motions.poses:
            moved = pose.move(digits)
            seen = acting.encode(moved)
            exact = acting.act(seen, pose)
            handed_on = exact if method.given else acting.act(seen, None)
            answer = acting.head(handed_on).argmax(1)
            in_cells = encoded is not upright
            lines.append({
                "motions": str(motions),
                "motion": _named(pose),
                "left": left(handed_on, own),
                "left_true": left(exact, true),
                "floor_input": left(acting.act(acting.encode(pose.undone(moved)), STILL), true),
                "floor_map": floor_of_map(acting, digits, pose) if in_cells else math.nan,
                "chance": left(exact.roll(1, 0), true),
                "error": float((answer != labels).double().mean()),
                "agreement": float((answer == named).double().mean()),
            })
            again = acting.predicted(moved)
            if found is not None and again is not None:
                told.append(again - found)
                applied.append(torch.full_like(again, pose.numbers[0]))
    return pd.DataFrame(lines).assign(
        method=method.name,
        moves=str(method.moves),
        source=method.source,
        error_upright=float((named != labels).double().mean()),
        **_pose_numbers(applied, told, labels),
    )


def left(handed_on: Tensor, reference: Tensor) -> float:
    """Say how far representations are from those of the same digits upright.

    Args:
        handed_on: Maps or vectors, (digit, channel, ...).
        reference: Of the digits upright.

    Returns:
        The fvu; NaN where the reference does not vary.
    """
    wanted = reference.double().flatten(2) if reference.dim() > 2 else reference.double()[..., None]
    gap = handed_on.double().reshape(wanted.shape) - wanted
    variance = (wanted - wanted.mean((0, 2), keepdim=True)).square().sum()
    return float(gap.square().sum() / variance) if variance > 0 else math.nan


@torch.no_grad()
def floor_of_map(acting: Acting, digits: Tensor, pose: Pose) -> float:
    """Say what a perfect map would leave: one that moves like the image, but has cells.

    Args:
        acting: Moves a map.
        digits: Digits.
        pose: What is done.

    Returns:
        What is left of the upright map, moved and moved back; where cells come to lie between
        cells, no less than what shifts by parts of a cell leave, of which a network keeps
        everything but its grid (P1, P14).
    """
    encoded = acting.encode(STILL.move(digits))
    wanted = acting.placed(encoded, STILL)
    back = left(acting.placed(pose.done(encoded), pose), wanted)
    if pose.on_cells:
        return back
    parts = [left(acting.placed(acting.encode(part.move(digits)), part), wanted) for part in PARTS]
    return max(back, float(np.mean(parts)))


def _named(pose: Pose) -> str:
    """Kind and numbers of a motion."""
    numbers = ",".join(f"{number:g}" for number in pose.numbers)
    return f"{parse_perturbation(pose.motion).name} {numbers}"


def _pose_numbers(applied: list[Tensor], told: list[Tensor], labels: Tensor) -> dict[str, float]:
    """Slope and spread of the poses found."""
    if not told:
        return {"slope": math.nan, "spread": math.nan}
    x, y = (torch.cat(each).double().numpy() for each in (applied, told))
    circular = bool(np.abs(x).max() > 1)  # degrees, not octaves
    if circular:
        y = (y + 180) % 360 - 180
    classes = labels.repeat(len(told)).numpy()
    spread = pose_statistics.within_class_spread(y - x, classes, circular=circular)
    return {"slope": deming(x, y).slope, "spread": spread}
