"""Error and pose of a network on a split with its stored poses, image by image."""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from invariance_probe.perturbations.perturbation import Perturbation
from invariance_probe.plane import motions
from invariance_probe.statistics import deming
from invariance_probe.stn.variants import Prediction
from invariance_probe.training.batches import Batch, StoredBatches
from invariance_probe.training.configuration import TrainConfig
from invariance_probe.training.pose_statistics import (
    deviations_within,
    predicted_poses,
    within_class_spread,
)

ANGLES = ("degrees",)
"""Names of poses that go round."""


def wrong(
    logits: Float[Tensor, "sample slot class"], labels: Int64[Tensor, "sample slot"]
) -> tuple[Int64[Tensor, "sample slot"], Tensor]:
    """Read what a network names; an image counts as right only if all its slots are.

    Args:
        logits: What the network says.
        labels: What is right.

    Returns:
        Named classes, and True for each image with any wrong slot.
    """
    named = logits.argmax(-1)
    return named, (named != labels).any(1)


def loss_of(
    logits: Float[Tensor, "sample slot class"], labels: Int64[Tensor, "sample slot"]
) -> Float[Tensor, " sample"]:
    """Compute the cross entropy, summed over slots.

    Args:
        logits: What the network says.
        labels: What is right.

    Returns:
        Nats, by image.
    """
    each = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none")
    return each.view(labels.shape).sum(1)


def class_of(labels: Int64[Tensor, "sample slot"]) -> Int[np.ndarray, " sample"]:
    """Group images whose poses should agree once they are undone.

    Args:
        labels: By slot.

    Returns:
        The class, or the first digit of a number.
    """
    grouped: np.ndarray = labels[:, 0].cpu().numpy()
    return grouped


def evaluate(network: nn.Module, batches: StoredBatches, config: TrainConfig) -> pd.DataFrame:
    """Run a network over a split.

    Args:
        network: Of `variants.VariantNetwork`'s kind; it is evaluated in evaluation mode and left in
            the mode it was in.
        batches: The split with its stored poses.
        config: The run: what was done to the images, where poses come from, and the precision.

    Returns:
        One row an image: ``image``, ``label`` and ``predicted`` (class numbers, joined by spaces if
        there are several slots), ``class``, ``wrong``, ``loss``; for each pose ``applied_NAME``,
        ``predicted_NAME``, ``left_NAME``; ``determinant``, ``out_of_frame``, and the pull-back
        ``theta_00`` to ``theta_12``.
    """
    was_training = network.training
    network.eval()
    frames = []
    try:
        with torch.no_grad():
            for number in range(len(batches)):
                batch = batches.batch(number)
                found = predict(network, batch, config)
                frames.append(describe(batch, found, config.perturbation))
    finally:
        network.train(was_training)
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(0, "image", np.arange(len(frame)) % batches.images)
    return frame


def predict(network: nn.Module, batch: Batch, config: TrainConfig) -> Prediction:
    """Run a network over one batch.

    Args:
        network: Of `variants.VariantNetwork`'s kind.
        batch: Images and applied poses.
        config: The run: what was done to the images, where poses come from, and the precision.

    Returns:
        What the network says.
    """
    images = batch.images.contiguous(memory_format=torch.channels_last)
    true = None
    if config.alignment == "true":
        height, width = images.shape[-2:]
        moves = config.perturbation.moves(batch.poses)
        true = motions.undoing_pull_backs(moves, height, width).to(images)
    half = config.precision == "bf16"
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half):
        found: Prediction = network(images, true)
    return found


def describe(batch: Batch, found: Prediction, perturbation: Perturbation) -> pd.DataFrame:
    """Put what a network said about a batch into a frame.

    Args:
        batch: Images, labels and applied poses.
        found: What the network said.
        perturbation: What was done to the images.

    Returns:
        The columns of `evaluate`, less ``image``.
    """
    height, width = batch.images.shape[-2:]
    logits, pull_backs = found.logits.detach(), found.pull_backs.detach().double().cpu()
    named, is_wrong = wrong(logits, batch.labels)
    columns: dict[str, Any] = {
        "label": _joined(batch.labels),
        "predicted": _joined(named),
        "class": class_of(batch.labels),
        "wrong": is_wrong.cpu().numpy(),
        "loss": loss_of(logits, batch.labels).cpu().numpy(),
    }
    names = perturbation.pose_names
    applied = batch.poses.double().cpu()
    predicted = predicted_poses(
        applied,
        perturbation.moves(batch.poses.cpu()),
        pull_backs,
        names,
        height=height,
        width=width,
    )
    for column, name in enumerate(names):
        columns[f"applied_{name}"] = applied[:, column].numpy()
        columns[f"predicted_{name}"] = predicted[:, column].numpy()
        columns[f"left_{name}"] = (applied + predicted)[:, column].numpy()
    columns["determinant"] = motions.determinants(pull_backs).numpy()
    columns["out_of_frame"] = motions.out_of_frame(pull_backs, height, width).numpy()
    for row in range(2):
        for column in range(3):
            columns[f"theta_{row}{column}"] = pull_backs[:, row, column].numpy()
    return pd.DataFrame(columns)


def _joined(labels: Tensor) -> list[str]:
    return [" ".join(str(value) for value in row) for row in labels.tolist()]


def condensed(frame: pd.DataFrame, pose_names: tuple[str, ...]) -> dict[str, float]:
    """Condense a split to the papers' statistics.

    Args:
        frame: What `evaluate` returned.
        pose_names: What the numbers of a pose are.

    Returns:
        ``error`` (share wrong), ``loss``, ``determinant`` (median), ``out_of_frame`` (mean) and for
        each pose ``slope_NAME`` and ``intercept_NAME`` of minus the predicted against the applied
        pose (Deming), ``spread_NAME`` (pooled within classes) and ``pose_error_NAME`` (mean
        absolute deviation of what is left from its class mean).
    """
    out = {
        "error": float(frame["wrong"].mean()),
        "loss": float(frame["loss"].mean()),
        "determinant": float(frame["determinant"].median()),
        "out_of_frame": float(frame["out_of_frame"].mean()),
    }
    classes = frame["class"].to_numpy()
    for name in pose_names:
        applied = frame[f"applied_{name}"].to_numpy()
        predicted = frame[f"predicted_{name}"].to_numpy()
        left = frame[f"left_{name}"].to_numpy()
        circular = name in ANGLES
        line = deming(applied, -predicted)
        away = np.abs(deviations_within(left, classes, circular=circular))
        out[f"slope_{name}"], out[f"intercept_{name}"] = line.slope, line.intercept
        out[f"spread_{name}"] = within_class_spread(left, classes, circular=circular)
        known = away[np.isfinite(away)]
        out[f"pose_error_{name}"] = float(known.mean()) if len(known) else math.nan
    return out
