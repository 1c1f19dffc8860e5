"""``invariance-probe train``: one training, or a matrix of them, as one job that can be resumed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from invariance_probe.data.catalogue import SOURCES, source_of
from invariance_probe.data.datasets import Dataset, open_dataset
from invariance_probe.engines import EngineOptions
from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.parsing import FORMS, parse_perturbation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import factory, parallel, presets, runs, trainer
from invariance_probe.training.configuration import Execution, TrainConfig

DATA, VARIANT = "mnist-5k", "c0"
"""What is trained if nothing is said."""

Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Train the papers' networks with a spatial transformer, and measure error and pose.

    Killed or interrupted, the same command goes on where it was; finished runs are not trained
    again. Several data sets, perturbations or variants are trained in all combinations.
    """

    data: Annotated[
        Words | None,
        tyro.conf.arg(
            metavar="NAME [NAME ...]",
            help=f"One or more of {', '.join(SOURCES)}.",
            help_behavior_hint=f"(default: {DATA}; with --matrix the preset's)",
        ),
    ] = None
    perturbation: Annotated[
        Words | None,
        tyro.conf.arg(
            metavar="NAME [NAME ...]",
            help=f"One or more of {', '.join(FORMS)}.",
            help_behavior_hint="(default: the data set's, such as rotation for digits; "
            "with --matrix the preset's)",
        ),
    ] = None
    variant: Annotated[
        Words | None,
        tyro.conf.arg(
            metavar="NAME [NAME ...]",
            help="One or more of cnn, c0, cX, dlX or slX for a layer X; c0x2 for two steps; c0+c1 "
            "for several depths.",
            help_behavior_hint=f"(default: {VARIANT}; with --matrix the preset's)",
        ),
    ] = None
    matrix: Annotated[
        bool,
        tyro.conf.arg(
            help="Train all that the preset lists, except where --data, --perturbation, --variant "
            "or --seeds say otherwise."
        ),
    ] = False
    preset: Annotated[
        presets.PresetName,
        tyro.conf.arg(
            help="paper: 150 000 steps of 256, as published; standard: hours; quick: a minute or "
            "two on a core, 20 000 images, half width or less; brief: half a minute; tiny: seconds."
        ),
    ] = "quick"
    seeds: Annotated[
        int | None,
        tyro.conf.arg(
            help="Number of seeds.", help_behavior_hint="(default: 1; with --matrix the preset's)"
        ),
    ] = None
    first_seed: Annotated[int, tyro.conf.arg(help="The first of them.")] = 0
    processes: Annotated[
        int,
        tyro.conf.arg(
            help="Trainings at once, each on a core of its own; with 1, a live line shows its "
            "steps."
        ),
    ] = 1
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Folder of the run folders.", help_behavior_hint="(default: runs/train-PRESET)"
        ),
    ] = None
    json: Annotated[bool, tyro.conf.arg(help="Print JSON instead of a table.", name="json")] = False
    # `presets.Choices` is made from `TrainOptions` when the package is imported: no static type
    training: Annotated[
        Any,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.arg(
            constructor=presets.Choices,
            help="How networks are built and trained, the same for all.",
        ),
    ] = field(default_factory=presets.Choices)
    execution: Annotated[
        Execution,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.arg(help="How trainings are carried out; no number depends on it."),
    ] = field(default_factory=partial(Execution, progress=True))
    engine: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)

    def configs(self) -> list[TrainConfig]:
        """List the runs.

        Returns:
            All combinations, seeds outermost, so that a stopped matrix holds whole comparisons.

        Raises:
            InvalidInputError: If a value cannot be used.
        """
        preset = presets.PRESETS[self.preset]
        listed = preset.data if self.matrix else ()
        texts = self.perturbation or tuple(dict.fromkeys(text for _, text in listed))
        pairs = [
            (data, parse_perturbation(text))
            for data in self.data or tuple(dict.fromkeys(data for data, _ in listed)) or (DATA,)
            for text in texts or (source_of(data).perturbation,)
        ]
        named = self.variant or (preset.variants if self.matrix else (VARIANT,))
        variants = [parse_variant(name) for name in named]
        count = self.seeds if self.seeds is not None else (preset.seeds if self.matrix else 1)
        if count < 1:
            raise InvalidInputError(f"seeds={count}: give at least 1")
        choices = {name: value for name, value in vars(self.training).items() if value is not None}
        return [
            presets.configured(
                self.preset,
                data=data,
                perturbation=perturbation,
                variant=variant,
                seed=seed,
                choices=choices,
            )
            for seed in range(self.first_seed, self.first_seed + count)
            for data, perturbation in pairs
            for variant in variants
        ]

    def run(self) -> None:
        """Train, and print a table.

        Raises:
            KeyboardInterrupt: If interrupted, with the way to go on.
        """
        configs = self.configs()
        out = self.out or Path("runs") / f"train-{self.preset}"
        how = self.execution

        # one data set in memory at a time; the order of the runs may ask for it again
        @lru_cache(maxsize=2)
        def opened(name: str, count: int | None) -> Dataset:
            dataset = open_dataset(name, how.data_root, download=how.download, train=count)
            for note in dataset.parts.notes:
                sys.stderr.write(f"invariance-probe: data set {name!r}: {note}\n")
            return dataset

        self._check(configs, opened)
        new = {config.name for config in configs if not runs.is_finished(out / config.name)}
        finished = []
        try:
            if self.processes != 1 or self.engine.engine != "here":
                parallel.train_all(
                    configs,
                    out,
                    processes=self.processes,
                    execution=how,
                    engine=self.engine.chosen,
                )
            for number, config in enumerate(configs, start=1):
                data = opened(config.data, config.train_images)
                result = trainer.train(config, out / config.name, dataset=data, execution=how)
                finished.append(result.frame())
                if not self.json:
                    said = _said(result, config.name in new)
                    sys.stdout.write(f"[{number}/{len(configs)}] {config.name}: {said}\n")
                    sys.stdout.flush()
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt("the same command goes on from the last checkpoint") from error
        frame = pd.concat(finished, ignore_index=True)
        table = runs.table(frame)
        if self.json:
            rows = {"out": str(out), "table": json.loads(table.to_json(orient="records"))}
            sys.stdout.write(json.dumps(rows) + "\n")
            return
        console = Console()
        console.print(_drawn(table, bool(frame["synthetic"].any())))
        console.print(f"Run folders: {out}", soft_wrap=True, highlight=False)

    def _check(self, configs: Sequence[TrainConfig], opened: Any) -> None:
        """Build every network once, so that a mistake shows before the first hour."""
        each = {(config.data, config.perturbation, config.variant): config for config in configs}
        for config in each.values():
            factory.build_network(config, opened(config.data, config.train_images))


def _said(result: runs.TrainResult, new: bool) -> str:
    numbers = result.numbers
    if result.outcome != "finished":
        return f"diverged by step {numbers['last_step']}"
    text = f"error {100 * numbers['error']:.2f} %"
    for name, value in numbers.items():
        if name.startswith("slope_"):
            text += f", slope {value:.2f}"
    return text + (
        f", {numbers['seconds']:.0f} s, {numbers['images_per_second']:.0f} images/s"
        if new
        else " (finished before)"
    )


def _drawn(table: pd.DataFrame, synthetic: bool) -> Table:
    """Runs down, error with interval and pose statistics across."""
    drawn = Table(
        title="Test error over seeds, poses undone"
        + (" (street-digits: synthetic images)" if synthetic else ""),
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        caption="Interval: 95 %, over seeds. Slope of the undone against the applied pose: 1 is "
        "full compensation; spread: what is left within a class, in the pose's unit; out: share of "
        "the image that is read from beyond its border.",
        caption_justify="left",
    )
    drawn.add_column("run", overflow="fold", min_width=18)
    for name in ("seeds", "error %", "interval", "slope", "spread", "out %", "min"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        shared = {name: value for name, value in row.items() if value == value}
        slopes = [f"{v:.2f}" for name, v in shared.items() if str(name).startswith("slope_")]
        spreads = [f"{v:.2f}" for name, v in shared.items() if str(name).startswith("spread_")]
        ends = (100 * row[name] for name in ("error_low", "error_high") if name in shared)
        lost = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        words = [row["data"], row["perturbation"], row["variant"]]
        words += ["true poses"] if row["alignment"] == "true" else []
        words += [] if row["network"] == "auto" else [row["network"]]
        drawn.add_row(
            " ".join(words),
            f"{row['seeds']}{lost}",
            f"{100 * row['error']:.2f}" if "error" in shared else "-",
            "–".join(f"{end:.2f}" for end in ends),
            " ".join(slopes),
            " ".join(spreads),
            f"{100 * row['out_of_frame']:.1f}" if "out_of_frame" in shared else "",
            f"{row['seconds'] / 60:.1f}",
        )
    return drawn
