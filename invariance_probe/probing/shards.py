"""The stages of a run, shard by shard: in this process, or each shard wherever an engine has room.

A stage reads all images once, in steps that add to sums of fixed size, set entries of their own in
tables of fixed size, and bring rows. Sums of floating point numbers depend on the order of the
additions, so that the order is laid down: by step within a shard, then by shard,

    ((a + b) + c) + ((d + e) + f) + ...

Which images make a shard is decided by their number (`ForwardPasses.shards`), and by nothing that
depends on who works. So one process, which has two sets of sums, those of the shard at hand and
those of the shards before it, and a thousand that hand theirs in find the same to the last bit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, pairwise
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from invariance_probe import files
from invariance_probe.engines import Engine, Lost
from invariance_probe.errors import InvalidInputError
from invariance_probe.probing.journal import Journal
from invariance_probe.probing.setup import in_full_precision
from invariance_probe.progress import Progress
from invariance_probe.results.rows import Block, first_result, wide_table
from invariance_probe.results.strips import Strip, load_strips, save_strips

UNSET = -1
"""An integer entry that no step has set; one of floating point numbers is NaN."""


Brought = tuple[list[Block], list[Strip]]
"""Rows of the table, and maps for the picture."""


@dataclass
class Collected:
    """What the steps of a stage bring beside sums.

    Attributes:
        layers: Names of the run's layers.
        blocks: Rows of the table.
        strips: Maps for the picture.
    """

    layers: list[str]
    blocks: list[Block] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)

    def add(self, brought: Brought) -> None:
        """Take in what a part of a step brought.

        Args:
            brought: Blocks and strips.
        """
        blocks, strips = brought
        self.blocks += blocks
        self.strips += strips

    def drained(self) -> Brought:
        """Hand over what was brought.

        Returns:
            Blocks and strips, which are then no longer here.
        """
        brought = self.blocks, self.strips
        self.blocks, self.strips = [], []
        return brought


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One reading of the images.

    Attributes:
        name: Its name.
        views: For each shard, how many images or transformed images each of its steps reads.
        sums: What steps add to, in place, beginning with 0.
        entries: Tables in which each step sets entries of its own, along the first axis, in place;
            NaN or `UNSET` until then.
        steps: Carries out the steps of a shard one by one, but for as many as are done already.
        collected: Where steps put rows and maps.
        device: Where they compute.
    """

    name: str
    views: Sequence[Sequence[int]]
    sums: Mapping[str, Tensor]
    entries: Mapping[str, Tensor]
    steps: Callable[[int, int], Iterator[None]]
    collected: Collected
    device: torch.device

    def carry_out(self, journal: Journal, bar: Progress, engine: Engine | None) -> None:
        """Go through the steps that are still to be done; the sums are then those of all images.

        Args:
            journal: Keeps what is measured.
            bar: Is told of what was read.
            engine: Who works; None for this process.

        Raises:
            InvalidInputError: If shards are lost; the others are kept.
        """  # noqa: DOC502  (raised by what is called)
        # of a single shard, its own sums are all
        totals = {f"total/{n}": t.clone() for n, t in self.sums.items() if len(self.views) > 1}
        kept = {**self.sums, **self.entries, **totals}
        done = journal.resumed(self.name, kept)
        bar.advance(sum(list(chain.from_iterable(self.views))[:done]))
        journal.follow(self.name, kept, self._from(done, totals, journal, bar, engine))

    def _from(
        self,
        done: int,
        totals: Mapping[str, Tensor],
        journal: Journal,
        bar: Progress,
        engine: Engine | None,
    ) -> Iterator[int]:
        """Carry out steps from one on; tell each time how many are done."""
        edges = [0, *accumulate(map(len, self.views))]
        missing = []
        for shard, (first, after) in enumerate(pairwise(edges)):
            if done >= after:
                continue
            # a shard that was begun in this process is ended in it
            if engine is None or done > first:
                for views in self._here(shard, max(0, done - first), totals, journal, bar):
                    bar.advance(views)
                    done += 1
                    yield done
            else:
                missing.append(shard)
        for shard in self._elsewhere(engine, missing, totals, journal) if engine else ():
            bar.advance(sum(self.views[shard]))
            yield edges[shard + 1]
        for name, total in totals.items():
            self.sums[name.removeprefix("total/")].copy_(total)

    def _here(
        self,
        shard: int,
        done: int,
        totals: Mapping[str, Tensor],
        journal: Journal,
        bar: Progress,
    ) -> Iterator[int]:
        """Carry out what is left of a shard; tell what each step has read."""
        left = self.views[shard][done:]
        for number, (views, _) in enumerate(zip(left, self.steps(shard, done), strict=True), 1):
            if number == len(left):
                for name, total in totals.items():
                    own = self.sums[name.removeprefix("total/")]
                    total += own
                    own.zero_()
            blocks, strips = self.collected.drained()
            if blocks:
                bar.first(partial(first_result, blocks))
            journal.add(blocks, strips)
            yield views

    def _elsewhere(
        self, engine: Engine, missing: Sequence[int], totals: Mapping[str, Tensor], journal: Journal
    ) -> Iterator[int]:
        """Have shards carried out by others, and put them together in their order."""
        lost: dict[int, str] = {}
        aside = journal.aside(self.name)
        answers = engine.map(carry_out_shard, self, [n for n in missing if n not in aside])
        for shard in missing:
            part = Part.read(aside[shard]) if shard in aside else next(answers)
            if isinstance(part, Lost):
                lost[shard] = part.why
            elif lost:
                # sums are added up in order: this one has to wait for what is missing before it
                journal.put_aside(self.name, shard, part.write)
            else:
                for name, own in part.sums.items():
                    if totals:
                        totals[f"total/{name}"].add_(own.to(totals[f"total/{name}"].device))
                    else:
                        self.sums[name].copy_(own)
                for name, (rows, values) in part.entries.items():
                    self.entries[name][rows] = values.to(self.entries[name])
                journal.add_table(part.table, part.strips)
                yield shard
        if lost:
            numbers = ", ".join(str(shard + 1) for shard in lost)
            raise InvalidInputError(
                f"shard {numbers} of {len(self.views)} was lost, its processes died each time "
                f"({next(iter(lost.values()))}); run the same again: the others are kept"
            )


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one shard brings to a stage.

    Attributes:
        table: Its rows, as of `rows.wide_table`; None if it has none.
        strips: Its maps for the picture.
        sums: What it adds, by name.
        entries: By name of the table, which entries it sets, and to what.
    """

    table: pd.DataFrame | None
    strips: list[Strip]
    sums: Mapping[str, Tensor]
    entries: Mapping[str, tuple[Tensor, Tensor]]

    def write(self, folder: Path) -> None:
        """Write it into a folder.

        Args:
            folder: An empty folder.
        """
        if self.table is not None:
            self.table.to_parquet(folder / "rows.parquet")
        save_strips(folder / "strips.npz", self.strips)
        tensors = {f"sums/{name}": tensor for name, tensor in self.sums.items()}
        for name, (rows, values) in self.entries.items():
            tensors |= {f"rows/{name}": rows, f"values/{name}": values}
        files.write_tensors(folder / "tensors.safetensors", tensors)

    @classmethod
    def read(cls, folder: Path) -> "Part":
        """Read what `write` wrote.

        Args:
            folder: The folder.

        Returns:
            The part.
        """
        tensors = files.read_tensors(folder / "tensors.safetensors")
        rows = folder / "rows.parquet"
        return cls(
            table=files.read_parquet(rows) if rows.is_file() else None,
            strips=load_strips(folder / "strips.npz"),
            sums={n.removeprefix("sums/"): t for n, t in tensors.items() if n.startswith("sums/")},
            entries={
                name.removeprefix("rows/"): (each, tensors["values/" + name.removeprefix("rows/")])
                for name, each in tensors.items()
                if name.startswith("rows/")
            },
        )


def carry_out_shard(stage: Stage, shard: int) -> Part:
    """Carry out one shard of a stage, in a process that has its own copy of the stage.

    Args:
        stage: The copy; sums and entries that it holds of other shards are dropped.
        shard: Which shard.

    Returns:
        What the shard brings, on the CPU.
    """
    for tensor in stage.sums.values():
        tensor.zero_()
    for tensor in stage.entries.values():
        tensor.fill_(torch.nan if tensor.is_floating_point() else UNSET)
    with in_full_precision(stage.device):
        for _ in stage.steps(shard, 0):
            pass
    blocks, strips = stage.collected.drained()
    return Part(
        table=wide_table(blocks, stage.collected.layers) if blocks else None,
        strips=strips,
        sums={name: tensor.cpu().clone() for name, tensor in stage.sums.items()},
        entries={name: _set(tensor) for name, tensor in stage.entries.items()},
    )


def _set(entries: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries of a table were set, and to what."""
    known = ~entries.isnan() if entries.is_floating_point() else entries != UNSET
    rows = known.flatten(1).any(1) if known.dim() > 1 else known
    numbers = rows.nonzero().flatten().cpu()
    return numbers, entries[rows].cpu()
