"""The trainings that questions rest on: found where they exist, trained where they do not."""

import dataclasses
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from invariance_probe.data.datasets import Dataset, open_dataset
from invariance_probe.engines import Engine, EngineName
from invariance_probe.errors import InvalidInputError
from invariance_probe.files import read_parquet, read_tensors, write_file
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.statistics import t_interval
from invariance_probe.stn.variants import VariantNetwork, parse_variant
from invariance_probe.training import factory, parallel, presets, runs, trainer
from invariance_probe.training.configuration import Alignment, Execution, Network, TrainConfig
from invariance_probe.training.runs import TrainResult

FOLDER, MNIST = "INVARIANCE_PROBE_TRAININGS", "INVARIANCE_PROBE_MNIST"
"""Environment variables: folder of the run folders; folder of the published files of MNIST."""
KEPT = Path(__file__).parent / "trainings"
"""Numbers of trainings that took hours: folders of run folders without weights, by preset."""
KEPT_IMAGES = 1000
"""Test images of which a kept run still knows the poses, the first ones."""
NUMBERS = "numbers.parquet"
"""Table in a folder of `KEPT`, of runs of which the final numbers alone are kept, a row each."""
MANY = ("brief",)
"""Presets of so many runs that they are kept as `NUMBERS`: 0.25 kB a run instead of 30."""

TAKEN_OFF = 0.5
"""A localizer has taken off if the slope of undone against applied pose exceeds this."""

Missing = Literal["train", "refuse", "omit"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Networks that are trained alike.

    Attributes:
        perturbations: What is done to the images.
        variants: Where their transformers are.
        network: Classifier, as of `TrainConfig.network`.
        width: Factor of the classifier's filters; by default the plan's.
        steps: Batches to learn from; by default the preset's.
        alignment: Whether poses are predicted or given, as of `TrainConfig.alignment`.
        seeds: Seeds of each; by default the plan's.
    """

    perturbations: tuple[str, ...]
    variants: tuple[str, ...]
    network: Network = "auto"
    width: float | None = None
    steps: int | None = None
    alignment: Alignment = "predicted"
    seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(ABC):
    """Which trainings a question needs, and where they lie: the base of its configuration.

    Attributes:
        preset: Of `invariance_probe.training.presets`: how long each is trained.
        data: Name of the data set; ``auto`` is MNIST where the folder of its files is named, else
            the 5 000 digits of ``mnist-5k``.
        width: Factor of the classifier's filters; by default the preset's.
        seeds: Seeds of each.
        trainings: Folder of the run folders, as ``invariance-probe train`` names them; by default
            what the environment variable `FOLDER` says, or ``runs/trainings/PRESET`` (with another
            width ``runs/trainings/PRESET-WIDTH``).
        data_root: Folder of the data's files; for MNIST by default what the environment variable
            `MNIST` says.
        missing: What becomes of runs that are not there: they are trained, refused with an error,
            or omitted, so that the answer rests on those that are finished so far.
        processes: Trainings at once, see `parallel.train_all`; by default one a core.
        engine: Who trains, see `invariance_probe.engines`; no number depends on it.
    """

    preset: str
    data: str = "auto"
    width: float | None = None
    seeds: int = 5
    trainings: Path | None = None
    data_root: Path | None = None
    missing: Missing = "train"
    processes: int | None = None
    engine: Engine | EngineName = "here"

    @abstractmethod
    def setups(self) -> tuple[Setup, ...]:
        """List the networks of the question.

        Returns:
            Groups of networks that are trained alike.
        """

    @property
    def _name(self) -> str:
        return self.preset if self.width is None else f"{self.preset}-{self.width:g}"

    @cached_property
    def root(self) -> Path:
        """Folder of the run folders."""
        said = os.environ.get(FOLDER)
        default = Path(said) if said else Path("runs") / "trainings" / self._name
        return self.trainings or default

    @property
    def kept(self) -> Path | None:
        """Folder of kept numbers, see `KEPT`; None for a question that needs weights."""
        return KEPT / self._name

    @cached_property
    def _numbers(self) -> dict[str, TrainResult]:
        """Runs by name of which the numbers alone are kept."""
        return {} if self.kept is None else kept_numbers(self.kept)

    @cached_property
    def files(self) -> Path | None:
        """Folder of the data's files; None where nobody names one."""
        if self.data_root is not None or self.data not in {"auto", "mnist"}:
            return self.data_root
        said = os.environ.get(MNIST)
        return Path(said) if said else None

    @cached_property
    def source(self) -> str:
        """Name of the data set, ``auto`` resolved."""
        if self.data != "auto":
            return self.data
        return "mnist" if self.files is not None else "mnist-5k"

    @cached_property
    def dataset(self) -> Dataset:
        """The data; the same for all runs of the plan."""
        return open_dataset(self.source, self.files, train=self.configs()[0].train_images)

    def config(self, setup: Setup, perturbation: str, variant: str, seed: int) -> TrainConfig:
        """Configure one run, as ``invariance-probe train`` does.

        Args:
            setup: How it is trained.
            perturbation: What is done to the images.
            variant: The network.
            seed: Root of all random choices.

        Returns:
            The run.
        """
        choices: dict[str, Any] = {"network": setup.network, "alignment": setup.alignment}
        if setup.steps is not None:
            choices["steps"] = setup.steps
        width = self.width if setup.width is None else setup.width
        if width is not None:
            choices["width"] = width
        return presets.configured(
            self.preset,
            data=self.source,
            perturbation=parse_perturbation(perturbation),
            variant=parse_variant(variant),
            seed=seed,
            choices=choices,
        )

    def configs(self) -> list[TrainConfig]:
        """List the runs.

        Returns:
            All combinations, seeds outermost, so that what is stopped holds whole comparisons.
        """
        return [
            self.config(setup, perturbation, variant, seed)
            for seed in range(self.seeds)
            for setup in self.setups()
            if setup.seeds is None or seed < setup.seeds
            for perturbation in setup.perturbations
            for variant in setup.variants
        ]

    def unfinished(self) -> list[TrainConfig]:
        """List the runs that are not finished.

        Returns:
            Those that `results` would train.
        """
        return [each for each in self.configs() if self._read(each) is None]

    def _read(self, config: TrainConfig) -> TrainResult | None:
        """Read a run if it is finished, from its own folder before the kept numbers."""
        for place in (self.root, self.kept):
            if place is not None and runs.is_finished(place / config.name):
                return trainer.train(config, place / config.name)
        kept = self._numbers.get(config.name)
        if kept is not None and (differs := config.difference(kept.config)):
            raise InvalidInputError(
                f"{str(KEPT)!r} keeps a {config.name} of another configuration ({differs}); remove "
                "it there, or name your own trainings"
            )
        return kept

    def results(self) -> Iterator[TrainResult]:
        """Train what is missing and read all: stopped, the same call goes on where it was.

        Yields:
            Results in the order of `configs`.

        Raises:
            InvalidInputError: If runs are missing and must not be trained, or a folder holds a run
                of another configuration.
        """
        # reads what is there: what does not belong is refused before the first hour, not after it
        unfinished = self.unfinished()
        left_out = len(unfinished) == len(self.configs()) or self.missing == "refuse"
        if unfinished and left_out and self.missing != "train":
            raise InvalidInputError(
                f"{len(unfinished)} of {len(self.configs())} trainings are not in "
                f"{str(self.root)!r} (the first is {unfinished[0].name}); train them"
            )
        if self.missing == "omit":
            unfinished = []
        parallel.train_all(
            unfinished,
            self.root,
            processes=self.processes,
            execution=Execution(data_root=self.files, progress=True),
            engine=self.engine,
        )
        for config in self.configs():
            read = self._read(config)
            if read is not None:
                yield read

    def trained(self, config: TrainConfig) -> VariantNetwork:
        """Build a trained network.

        Args:
            config: A finished run.

        Returns:
            The network with the weights of its folder, on the CPU, in evaluation mode.
        """
        network = factory.build_network(config, self.dataset)
        weights = read_tensors(self.root / config.name / runs.MODEL)
        network.load_state_dict(weights)
        return network.eval()


def keep(result: TrainResult, folder: Path) -> None:
    """Keep what questions ask of a run: all its numbers, its curve, some of its poses; no weights.

    Args:
        result: A finished run.
        folder: Its folder below one of `KEPT`; nothing happens where it is kept already.
    """
    if runs.is_finished(folder):
        return
    images = result.images.head(KEPT_IMAGES)
    posed = [name for name in images if str(name).startswith(("applied_", "predicted_"))]
    poses = images[["image", *posed]].astype(dict.fromkeys(posed, "float32"))
    dataclasses.replace(result, images=poses).save(folder)


def keep_numbers(results: Mapping[str, TrainResult], folder: Path) -> None:
    """Keep the final numbers of runs, beside those that are kept already.

    Args:
        results: Finished runs by name.
        folder: One of `KEPT`.
    """
    together = {**results, **kept_numbers(folder)}
    parts = ("config", "numbers", "provenance")
    table = pd.DataFrame([
        {"name": name, **{part: json.dumps(getattr(each, part)) for part in parts}}
        for name, each in sorted(together.items())
    ])
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / NUMBERS, lambda path: table.to_parquet(path, index=False))


def kept_numbers(folder: Path) -> dict[str, TrainResult]:
    """Read what `keep_numbers` wrote.

    Args:
        folder: One of `KEPT`.

    Returns:
        Runs by name, their curves and images empty; none where nothing is kept so.
    """
    if not (folder / NUMBERS).is_file():
        return {}
    return {
        str(line.pop("name")): TrainResult(
            **{part: json.loads(text) for part, text in line.items()},
            curve=pd.DataFrame(),
            images=pd.DataFrame(),
        )
        for line in read_parquet(folder / NUMBERS).to_dict("records")
    }


def row(result: TrainResult, preset: str) -> dict[str, Any]:
    """Describe a run in one row.

    Args:
        result: A finished run.
        preset: How long it was trained.

    Returns:
        ``preset``, ``machine``, ``data``, ``perturbation``, ``network``, ``width``, ``variant``,
        ``kind`` (``cnn``, ``c``, ``dl``, ``sl``; of several transformers the first), ``depth``,
        ``steps``, ``alignment``, ``seed``, ``images_seen`` (while it learnt, however often each),
        then all final numbers.
    """
    config, made = result.config, result.provenance
    placements = parse_variant(config["variant"]).placements
    first = placements[0] if placements else None
    gpu = made.get("gpu") if str(made.get("device", "cpu")) != "cpu" else None
    threads = made["threads"]
    return {
        "preset": preset,
        "machine": gpu or f"{made['processor']} CPU, {threads} thread{'s' * (threads != 1)}",
        **{name: config[name] for name in ("data", "perturbation", "network", "width", "variant")},
        "kind": first.kind if first else "cnn",
        "depth": first.depth if first else 0,
        "steps": first.steps if first else 0,
        "alignment": config["alignment"],
        "seed": config["seed"],
        "images_seen": config["steps"] * config["batch"],
        **result.numbers,
    }


def table(frame: pd.DataFrame, reference: str, numbers: tuple[str, ...]) -> pd.DataFrame:
    """Average over seeds, and compare each variant with a reference seed by seed.

    Args:
        frame: Rows of `row`, one a run.
        reference: The variant to compare errors with.
        numbers: Columns to average besides ``error``; those that are not there are passed over.

    Returns:
        By ``data``, ``perturbation``, ``network``, ``alignment`` and ``variant``, in the order of
        their first run:
        ``seeds``, ``diverged``; ``error`` and each of `numbers` with ``_low`` and ``_high`` (95 % t
        interval over the runs that finished); ``difference``, error less that of `reference` with
        the same seed, with its ends. Errors are fractions.
    """
    measured = ["error", *(name for name in numbers if name in frame)]
    out = []
    alike = ["data", "perturbation", "network", "alignment"]
    for about, group in frame.groupby(alike, sort=False):
        errors = group.pivot_table(index="seed", columns="variant", values="error", dropna=False)
        for variant, one in group.groupby("variant", sort=False):
            line: dict[str, Any] = {
                **dict(zip(alike, about, strict=True)),
                "variant": variant,
                "seeds": len(one),
                "diverged": int((one["outcome"] != "finished").sum()),
            }
            for name in measured:
                _add(line, name, one[name].to_numpy(dtype=float))
            if reference in errors and variant != reference:
                _add(line, "difference", (errors[variant] - errors[reference]).to_numpy())
            out.append(line)
    return pd.DataFrame(out)


def _add(line: dict[str, Any], name: str, values: np.ndarray) -> None:
    """Mean and ends of the interval under three names."""
    line[name], line[f"{name}_low"], line[f"{name}_high"] = t_interval(values)
