"""One trainer for all variants: quick on few cores, and indifferent to being killed."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from invariance_probe import files
from invariance_probe.data.datasets import Dataset, open_dataset
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_device
from invariance_probe.machine import memory_kept, provenance
from invariance_probe.progress import LiveLine
from invariance_probe.statistics import torch_seed
from invariance_probe.stn.variants import Prediction
from invariance_probe.training import checkpoints, evaluation, runs
from invariance_probe.training.batches import (
    TEST,
    VALIDATION,
    Batch,
    StoredBatches,
    TrainingBatches,
)
from invariance_probe.training.configuration import DEFAULT_EXECUTION, Execution, TrainConfig
from invariance_probe.training.factory import build_network, build_optimizer
from invariance_probe.training.runs import TrainResult
from invariance_probe.training.status import Status

CHECK_EVERY = 20
"""Steps from one look at the loss to the next: divergence, gradient norm, the live line."""
EXPLODED = 100.0
"""Mean loss, in nats a slot, from which a run counts as diverged: chance costs ln(classes)."""
EVALUATION_BATCH = 500


@memory_kept()
def train(
    config: TrainConfig,
    out: str | Path,
    *,
    dataset: Dataset | None = None,
    execution: Execution = DEFAULT_EXECUTION,
) -> TrainResult:
    """Train a network, or go on where an earlier call was stopped, or read what it finished.

    On the CPU with as many threads, the numbers of a run that was killed and continued are those of
    one that was not, bit for bit; times are not.

    Args:
        config: The run.
        out: Its folder. Checkpoints lie in it until the run is finished, then ``result.json``,
            ``curve.parquet``, ``images.parquet`` and ``model.safetensors``.
        dataset: The data, if it is at hand; by default it is opened by name.
        execution: Where it is trained, and how often it is saved.

    Returns:
        The result; one that diverged is a result too, see `TrainResult.outcome`.

    Raises:
        InvalidInputError: If the configuration cannot be met, the folder holds another run, its
            checkpoint is damaged, another process trains in it, or the disk is full.
    """  # noqa: DOC502  (raised by what is called)
    folder = files.checked_folder(out)
    # refused or read before any data is opened: a finished run needs none
    if runs.is_finished(folder):
        return _finished(config, folder)
    with files.claimed(folder):
        if runs.is_finished(folder):  # by the process that had the lease before
            return _finished(config, folder)
        return _trained(config, folder, dataset, execution)


def _finished(config: TrainConfig, folder: Path) -> TrainResult:
    """Read a run that is whole."""
    finished = TrainResult.load(folder)
    _refuse_another(config, finished.config, folder)
    checkpoints.discard(folder)
    return finished


def _trained(
    config: TrainConfig, folder: Path, dataset: Dataset | None, execution: Execution
) -> TrainResult:
    """Train in a folder that nobody else writes to."""
    place = check_device(execution.device)
    data = dataset or open_dataset(
        config.data,
        execution.data_root,
        download=execution.download,
        train=config.train_images,
    )
    run = _Run(config, data, place)
    checkpoint = checkpoints.newest(folder)
    files.discard_partial(folder)
    if checkpoint is not None:
        _refuse_another(config, checkpoint.config, folder)
        run.restore(checkpoint, folder)
    with LiveLine(execution.progress) as line:
        run.go(folder, execution, line)
    result = run.result()
    # weights before the result, which says that the folder is whole; checkpoints go last
    files.write_tensors(folder / runs.MODEL, run.network.state_dict())
    result.save(folder)
    checkpoints.discard(folder)
    return result


def _refuse_another(config: TrainConfig, stored: dict[str, Any], folder: Path) -> None:
    difference = config.difference(stored)
    if difference:
        raise InvalidInputError(
            f"{str(folder)!r} contains a run of another configuration ({difference}); give another "
            "--out, or remove it"
        )


@dataclass
class _Since:
    """What is gathered from one evaluation to the next."""

    step: int = 0
    loss: float = 0.0
    gradient: float = 0.0
    looks: int = 0


class _Run:
    """A training under way."""

    def __init__(self, config: TrainConfig, dataset: Dataset, device: torch.device) -> None:
        self.config, self.device = config, device
        self.perturbation = config.perturbation
        self.network = build_network(config, dataset).to(device)
        self.forward: nn.Module = self.network
        if config.compiled:
            self.forward = torch.compile(self.network)  # type: ignore[assignment]  # is a module too
        self.optimizer = build_optimizer(config, self.network)
        self.batches = TrainingBatches(dataset, config, device)
        stored = partial(
            StoredBatches,
            dataset=dataset,
            perturbation=config.perturbation,
            size=EVALUATION_BATCH,
            device=device,
        )
        self.validation = stored(
            dataset.validation, which=VALIDATION, limit=config.validation_images
        )
        self.test = stored(dataset.test, which=TEST, poses=config.test_poses)
        self.dataset = dataset
        self.dropout = self.network.classifier.architecture.dropout > 0
        self.step, self.diverged = 0, False
        self.curve: list[dict[str, float]] = []
        self.since = _Since()
        self.training_seconds, self.other_seconds = 0.0, 0.0
        # sums stay on the device and are looked at every `CHECK_EVERY` steps: each look waits until
        # a GPU has done all that was asked of it
        self.sums: Tensor = torch.zeros((), device=device)
        self.sound: Tensor = torch.ones((), dtype=torch.bool, device=device)

    def restore(self, checkpoint: checkpoints.Checkpoint, folder: Path) -> None:
        """Continue from a checkpoint."""
        state = checkpoint.state
        try:
            self.network.load_state_dict(checkpoint.model)
            checkpoints.restore_optimizer(self.optimizer, checkpoint.optimizer)
            self.step, self.curve = checkpoint.step, [dict(row) for row in state["curve"]]
            pd.DataFrame(self.curve)
            self.since = _Since(**state["since"])
            self.training_seconds, self.other_seconds = map(float, state["seconds"])
        except Exception as error:  # whatever a foreign checkpoint makes them stumble over
            raise InvalidInputError(
                f"the checkpoint of step {checkpoint.step} in {str(folder)!r} does not fit the "
                "network; remove it to start over"
            ) from error

    def checkpoint(self, folder: Path) -> None:
        """Save all that a continuation needs."""
        began = time.monotonic()
        # `sums` and `sound` need not be stored: a checkpoint follows a look, which empties them
        checkpoints.save(
            folder,
            checkpoints.Checkpoint(
                step=self.step,
                config=self.config.as_dict(),
                model=self.network.state_dict(),
                optimizer=checkpoints.optimizer_tensors(self.optimizer),
                state={
                    "curve": self.curve,
                    "since": vars(self.since),
                    "seconds": [self.training_seconds, self.other_seconds],
                },
            ),
        )
        self.other_seconds += time.monotonic() - began

    def go(self, folder: Path, execution: Execution, line: LiveLine) -> None:
        """Train to the end, or until loss or predictions are no longer finite."""
        config = self.config
        began, first = time.monotonic(), self.step
        saved_at, saved_step = began, first
        self.network.train()
        while self.step < config.steps and not self.diverged:
            started = time.monotonic()
            batch = self.batches.batch(self.step)
            # images and poses of a step are a function of seed and step, and so is what is dropped
            with self._random_dropout():
                found = self._learn(batch)
            self.step += 1
            last = self.step == config.steps
            evaluates = last or self.step % config.evaluate_every == 0
            # the steps of a look are the same whatever is saved when, or sums would round otherwise
            if not (evaluates or self.step % CHECK_EVERY == 0):
                self.training_seconds += time.monotonic() - started
                continue
            self._look()
            self.training_seconds += time.monotonic() - started
            if self.diverged:
                break
            if line.visible:
                rate = config.batch * (self.step - first) / (time.monotonic() - began)
                line.show(self._status(batch, found, rate).line(config.name))
            if evaluates:
                self._evaluate()
            due = time.monotonic() - saved_at >= 60 * execution.checkpoint_minutes
            steps = execution.checkpoint_steps
            due |= steps is not None and self.step - saved_step >= steps
            if due and not last:
                self.checkpoint(folder)
                saved_at, saved_step = time.monotonic(), self.step

    def _learn(self, batch: Batch) -> Prediction:
        """One step."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate_at(self.step) * group["factor"]
        found = evaluation.predict(self.forward, batch, config)
        loss = evaluation.loss_of(found.logits, batch.labels).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        self.optimizer.step()
        value = loss.detach()
        self.sums = self.sums + value
        slots = batch.labels.shape[1]
        # coordinates that are not finite are read as border values: the loss alone would not tell
        self.sound = self.sound & (value < EXPLODED * slots)
        self.sound = self.sound & torch.isfinite(found.pull_backs).all()
        return found

    def _look(self) -> None:
        """Collect what was left on the device since the last look."""
        self.diverged = not bool(self.sound)
        since = self.since
        since.loss += float(self.sums)
        since.gradient += self._localizer_gradient()
        since.looks += 1
        self.sums = torch.zeros_like(self.sums)

    def _localizer_gradient(self) -> float:
        """Norm of the last gradient of what only serves to predict motions; NaN without."""
        # tensors without gradient are those of transformers that true poses left out
        gradients = [
            parameter.grad
            for parameter in self.network.localizer_parameters()
            if parameter.grad is not None
        ]
        if not gradients:
            return math.nan
        return float(torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients])))

    def _status(self, batch: Batch, found: Prediction, rate: float) -> Status:
        names = self.perturbation.pose_names
        numbers = evaluation.condensed(evaluation.describe(batch, found, self.perturbation), names)
        moved = bool(self.network.variant.placements)
        return Status(
            step=self.step,
            steps=self.config.steps,
            images_per_second=rate,
            error=numbers["error"],
            pose_error=numbers[f"pose_error_{names[0]}"] if names else math.nan,
            out_of_frame=numbers["out_of_frame"] if moved else math.nan,
            seconds_left=self.config.batch * (self.config.steps - self.step) / rate,
        )

    def _evaluate(self) -> None:
        """Add a row to the curve."""
        began = time.monotonic()
        frame = evaluation.evaluate(self.forward, self.validation, self.config)
        numbers = evaluation.condensed(frame, self.perturbation.pose_names)
        since, self.since = self.since, _Since(step=self.step)
        self.other_seconds += time.monotonic() - began
        self.curve.append({
            "step": self.step,
            "images": self.step * self.config.batch,
            # the rate of the last step, as `step` counts those already taken
            "rate": self.config.rate_at(self.step - 1),
            "training_loss": since.loss / (self.step - since.step),
            **numbers,
            "localizer_gradient": since.gradient / since.looks,
            "seconds": self.training_seconds + self.other_seconds,
        })

    @contextmanager
    def _random_dropout(self) -> Iterator[None]:
        """Make dropout a function of seed and step, and leave the global state alone."""
        if not self.dropout:
            yield
            return
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):
            torch.manual_seed(torch_seed(self.config.seed, "dropout", self.step))
            yield

    def result(self) -> TrainResult:
        """Evaluate on the stored test poses, and put everything together."""
        names = self.perturbation.pose_names
        began = time.monotonic()
        images, measured = pd.DataFrame(), {"error": math.nan}
        if not self.diverged:
            images = evaluation.evaluate(self.forward, self.test, self.config)
            measured = evaluation.condensed(images, names)
        self.other_seconds += time.monotonic() - began
        network = self.network
        seconds = self.training_seconds + self.other_seconds
        numbers: dict[str, Any] = {
            "outcome": "diverged" if self.diverged else "finished",
            "last_step": self.step,
            **measured,
            "localizer_gradient": self.curve[-1]["localizer_gradient"] if self.curve else math.nan,
            "parameters": sum(p.numel() for p in network.parameters()),
            "localizer_parameters": sum(p.numel() for p in network.localizer_parameters()),
            "test_images": self.test.images,
            "synthetic": self.dataset.source.synthetic,
            "seconds": seconds,
            "images_per_second": self.step * self.config.batch / max(self.training_seconds, 1e-9),
        }
        return TrainResult(
            config=self.config.as_dict(),
            numbers=numbers,
            curve=pd.DataFrame(self.curve),
            images=images,
            provenance={**provenance(seconds), "device": str(self.device)},
        )
