"""Images x transforms x layers x methods: the measurement itself, streamed over the images."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.machine import memory_kept
from invariance_probe.plane import sampling
from invariance_probe.plane.transforms import Transform, is_identity
from invariance_probe.probing.crossfit import JOINT_ROUNDS, Fits, Folds, HeldOut, Sums, Turn
from invariance_probe.probing.floor import Floor
from invariance_probe.probing.journal import Journal
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.pairs import BestWarps, Pairs, Predecessors, View, compare, strips
from invariance_probe.probing.passes import Chunk, ForwardPasses
from invariance_probe.probing.setup import (
    LayerNames,
    computing,
    identity,
    motions,
    named,
    opened,
    seen,
)
from invariance_probe.progress import Progress
from invariance_probe.results.methods import Method, Warp
from invariance_probe.results.result import ProbeResult, assemble


@memory_kept()
def probe(
    model: nn.Module,
    images: object,
    *,
    layers: LayerNames,
    transforms: Transform | Sequence[Transform],
    options: ProbeOptions | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    name: str | None = None,
    **changes: Any,
) -> ProbeResult:
    """Measure how far a spatial warp re-aligns a model's maps after its input was transformed.

    Images are read three times, for copies among them, for the mean of each channel and for the
    measurement, and once more if channels are mixed. Each passes through the model once as it is
    and once under each transform that changes it; where `passes.CACHE_BYTES` do not hold the maps,
    images are read and maps made again. Some images are shifted for the method ``floor``, about a
    tenth of the passes more. Memory does not grow with the number of images, but for the table and,
    until copies among them have been told, 4 KB an image. On the CPU the same seed gives the same
    table; the last digits may change with `batch_size`, as convolutions choose their kernels by the
    size of the batch.

    Args:
        model: Any module; it is left as it was found, to the last bit, however the probe ends, as a
            copy is worked on, which takes the memory of its weights once more. A model that answers
            the same image differently the second time is refused.
        images: In any form, see `inputs.as_source`: a tensor, a folder, files, pictures, a data set
            or a loader. Of one size, at least the crop; larger ones spare the transforms from
            inventing what enters at the border.
        layers: Names or patterns, see `features.select_layers`, or modules of the model.
        transforms: What is done to the input, one or several.
        options: How to measure; the defaults of `ProbeOptions` if not given.
        out: Folder to write the run to, new or empty; nothing is written by default. It is checked
            before anything is computed. A run that was stopped, by whatever, goes on where the
            folder's ``unfinished`` holds it, if model, images and all options are the same, and
            ends with the table of a run that was not; a run that is whole is read. What counts
            between two steps is saved every few seconds (see `journal`).
        progress: Whether to show progress and time left on stderr, if that is a terminal.
        name: What to call the model in the table; its class by default.
        **changes: Options by name, such as ``methods=["oracle", "affine"], crop=64``: any of
            ``methods``, ``crop``, ``mean``, ``std``, ``fill``, ``device``, ``dtype``,
            ``batch_size``, ``seed``, ``antialias``, ``margin``, ``shown`` and ``search``, which
            `ProbeOptions` describes. They go before `options`.

    Returns:
        The table, with what is needed to read and to draw it.

    Raises:
        InvalidInputError: If anything given cannot be used, an image is another one the second time
            it is read, or `out` holds something else; nothing is written then but what was measured
            in more than a few seconds.
    """  # noqa: DOC502  (raised by what is called)
    options = (options or ProbeOptions()).replace(**changes)
    transforms = motions(transforms)
    source = opened(model, images, options)
    patterns = named(model, layers)
    with (
        Journal.opened(out) as journal,
        computing(model, options) as own,
        Progress(progress) as bar,
    ):
        again = any(method.mixing for method in options.compared)
        passes = ForwardPasses(own, source, patterns, transforms, options, keep=again)
        about = identity(
            passes, transforms, options, type(model).__name__ if name is None else name
        )
        there = journal.begin(about, lambda: passes.pixels)
        if there is not None:
            return there
        run = _Run(passes, transforms, options, journal)
        permutations = run.measure(bar)
        result = assemble(
            journal.table(),
            config=about | seen(passes) | run.floor.about,
            layers=passes.layers,
            transforms=transforms,
            region_frac=[view.region.double().mean((1, 2)).tolist() for view in run.views.values()],
            filled_frac=passes.filled,
            strips=journal.strips,
            permutations=permutations,
            wall_time=journal.seconds,
        )
        journal.finish(result)
    return result


class _Run:
    """One probe under way: what is fixed for it, and the rows so far."""

    def __init__(
        self,
        passes: ForwardPasses,
        moves: Sequence[Transform],
        options: ProbeOptions,
        journal: Journal,
    ) -> None:
        self.passes, self.moves, self.options, self.journal = passes, moves, options, journal
        self.views = {
            layer.name: View(layer, moves, passes.size, options.margin, passes.device)
            for layer in passes.layers
        }
        self.floor = Floor(passes, list(self.views.values()))
        self.moving = [number for number, move in enumerate(moves) if not is_identity(move)]

    def measure(self, bar: Progress) -> pd.DataFrame:
        """Read the images as often as the methods ask; tell which channel took whose place."""
        images, views = len(self.passes.shuffled), len(self.moves) + 1
        mixes = any(method.mixing for method in self.options.compared)
        bar.start(images * (views * (2 if mixes else 1) + 1))
        originals = partial(self._originals, bar)
        for numbers, maps in self.journal.stage("originals", self._first_sums, originals):
            for name, view in self.views.items():
                view.add_to_mean(maps[name])
            self.floor.look(numbers, maps)
        self.floor.settle()
        self._group()
        sums, found = Sums(self._folds), BestWarps(self.views.values(), images)
        kept = sums.tensors | (found.theta if self._folds.methods else {})
        self._read(
            ("look", kept),
            partial(self._look, sums, found),
            partial(self._look_at_unrelated, sums),
            bar,
        )
        fits = sums.fit()
        del sums, kept  # the largest thing in memory, and of no more use
        held_out = HeldOut(self._after_turns(fits))
        if self._folds.methods:
            self._read(
                ("score", held_out.tensors),
                partial(self._score, held_out, found),
                partial(self._score_unrelated, held_out),
                bar,
            )
        return held_out.permutations()

    @property
    def _first_sums(self) -> dict[str, Tensor]:
        """What the first reading adds to."""
        passes = self.passes
        return (
            {f"total/{name}": view.total for name, view in self.views.items()}
            | {f"count/{name}": view.count for name, view in self.views.items()}
            | {f"copies/{name}": rows for name, rows in self.floor.copies.items()}
            | {"patterns": passes.patterns, "checks": passes.checks}
        )

    def _originals(self, bar: Progress, done: int) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Go through the images as they are."""
        bar.advance(sum(map(len, self.passes.batches[:done])))
        for numbers, maps in self.passes.originals(done=done):
            yield numbers, maps
            bar.advance(len(numbers))

    def _group(self) -> None:
        """Say which images are compared and fitted apart, now that all have been seen."""
        passes, options = self.passes, self.options
        self._folds = Folds.of(
            options.compared, self.views, passes.order, passes.groups, options.search
        )
        single = len(set(passes.groups)) == 1
        self._undefined = [m for m in options.compared if single and m.needs_another_image]
        self._why = Outcome.ONE_IMAGE if len(passes.order) == 1 else Outcome.NEAR_DUPLICATES
        unrelated = [m for m in options.compared if m.warp is Warp.UNRELATED]
        self._chance = [] if single else unrelated
        partners = list(enumerate(passes.partners))
        self._paired = {number for number, partner in partners if partner is not None}
        self._alone = {number for number, _ in partners} - self._paired

    def _read(
        self,
        stage: tuple[str, dict[str, Tensor]],
        related: Callable[[Pairs, Chunk], None],
        unrelated: Callable[[Pairs], None],
        bar: Progress,
    ) -> None:
        """Go through all pairs of an image and itself, and of an image and the one before it."""
        before = Predecessors()
        for chunk in self.journal.stage(*stage, partial(self._chunks, before, bar)):
            for view in self.views.values():
                if chunk is not None:
                    for pairs in view.pairs(chunk):
                        related(pairs, chunk)
                if self._chance:
                    left = before.closing(view) if chunk is None else before.pairs(view, chunk)
                    for pairs in left:
                        self._where_paired(unrelated, pairs)

    def _chunks(self, before: Predecessors, bar: Progress, done: int) -> Iterator[Chunk | None]:
        """Go through the chunks; None at the end, when the first image meets the last one."""
        passes, views = self.passes, len(self.moves) + 1
        chunks = len(passes.chunk_numbers)
        bar.advance(sum(map(len, passes.chunk_numbers[:done])) * views)
        if 0 < done <= chunks and self._chance:
            before.go_on(passes.chunk(0), passes.chunk(done - 1))
        for chunk in passes.chunks(done):
            yield chunk
            bar.advance(len(chunk.numbers) * views)
        if done <= chunks:
            yield None

    def _where_paired(self, unrelated: Callable[[Pairs], None], pairs: Pairs) -> None:
        """Pass over images whose predecessor is a near duplicate."""
        paired = pairs.only(self._paired)
        if paired is not None:
            unrelated(paired)

    def _look(self, sums: Sums, found: BestWarps, pairs: Pairs, chunk: Chunk) -> None:
        """Apply the methods that look at a pair alone, and collect what mixings are fitted to."""
        methods = self.options.compared
        searching = any(method.needs_search for method in self._folds.methods)
        needed = {*methods, Method.AFFINE} if searching else methods
        blocks, theta = compare(pairs, needed, self.options)
        self.journal.add(*(block for block in blocks if block.method in methods))
        self.journal.add(*(pairs.undefined(m, self._why) for m in self._undefined))
        alone = pairs.only(self._alone) if self._chance else None
        if alone is not None:
            self.journal.add(*(alone.undefined(m, Outcome.NEAR_DUPLICATES) for m in self._chance))
        sums.add(Warp.ORACLE, pairs, pairs.oracle)
        sums.add(Warp.AFFINE, pairs, theta)
        found.keep(pairs, theta)
        for image, views in chunk.shown.items():
            self.journal.strips += strips(pairs, theta, self.moving, views, image)

    def _look_at_unrelated(self, sums: Sums, pairs: Pairs) -> None:
        """Compare references with the oracle-warped maps of other images."""
        if Method.UNRELATED in self.options.compared:
            warped = sampling.warp(pairs.moved, pairs.oracle, mode=self.options.search.mode)
            scores = pairs.target.score(warped)
            self.journal.add(pairs.block(Method.UNRELATED, scores, pairs.oracle))
        sums.add(Warp.UNRELATED, pairs, pairs.oracle)

    def _after_turns(self, fits: Fits) -> Fits:
        """Let warp and mixing be found in turns, until neither gains."""
        for number in range(JOINT_ROUNDS if self._folds.joint else 0):
            turn = Turn(fits)
            for chunk in self.journal.stage(f"turn {number}", turn.tensors, self.passes.chunks):
                for view in self.views.values():
                    for pairs in view.pairs(chunk):
                        turn.add(pairs)
            fits, gaining = turn.fit()
            if not gaining:
                break
        return fits

    def _score(self, held_out: HeldOut, found: BestWarps, pairs: Pairs, _: Chunk) -> None:
        """Score mixings on images that they were not fitted to."""
        self.journal.add(
            *held_out.score(Warp.ORACLE, pairs, pairs.oracle),
            *held_out.score(Warp.AFFINE, pairs, found.of(pairs)),
            *held_out.score_joint(pairs),
        )

    def _score_unrelated(self, held_out: HeldOut, pairs: Pairs) -> None:
        self.journal.add(*held_out.score(Warp.UNRELATED, pairs, pairs.oracle))
