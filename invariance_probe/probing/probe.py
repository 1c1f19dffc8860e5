"""Images x transforms x layers x methods: the measurement itself, streamed over the images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.engines import Engine, EngineName, engine_of
from invariance_probe.machine import in_order, memory_kept
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
from invariance_probe.probing.shards import Brought, Collected, Stage
from invariance_probe.progress import Progress
from invariance_probe.results.methods import Method, Warp
from invariance_probe.results.result import ProbeResult, assemble
from invariance_probe.results.rows import Layout


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
    engine: Engine | EngineName = "here",
    **changes: Any,
) -> ProbeResult:
    """Measure how far a spatial warp re-aligns a model's maps after its input was transformed.

    Images are read three times, for copies among them, for the mean of each channel and for the
    measurement, and once more if channels are mixed. Each passes through the model once as it is
    and once under each transform that changes it; where `passes.CACHE_BYTES` do not hold the maps,
    images are read and maps made again. Some images are shifted for the method ``floor``, about a
    tenth of the passes more. Memory does not grow with the number of images, but for the table and,
    until copies among them have been told, 4 KB an image. On the CPU the same seed gives the same
    table; the last digits may change with `batch_size` and the number of threads, as passes are
    shared out among these and convolutions choose their kernels by the size of a batch.

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
        progress: Whether to show the first result, progress and time left: as a bar on a terminal,
            a line in a notebook, a line every half minute in a log (stderr).
        name: What to call the model in the table; its class by default.
        engine: Who works: this process, or with ``"ray"`` or an `engines.Engine` others, each on
            some of the images. The table is that of a single process with as many threads as each
            of theirs, bit for bit.
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

    Example:
        >>> import torch, invariance_probe as ip
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU())
        >>> images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> result = ip.probe(model, images, layers="1", transforms=ip.Rotation(90), crop=21)
        >>> fvu = result.summary().query("metric == 'fvu'").set_index("method")["mean"]
        >>> bool(fvu["affine"] <= fvu["oracle"])
        True
    """  # noqa: DOC502  (raised by what is called)
    options, work = (options or ProbeOptions()).replace(**changes), engine_of(engine)
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
        run = _Run(passes, transforms, options)
        with work.ready() if work else nullcontext():
            permutations = run.measure(journal, bar, work)
        layout = Layout(
            config=about | seen(passes) | run.floor.about,
            layers=passes.layers,
            transforms=transforms,
            region_frac=[view.region.double().mean((1, 2)).tolist() for view in run.views.values()],
            filled_frac=passes.filled,
        )
        result = assemble(
            journal.rows(layout),
            layout,
            strips=journal.strips,
            permutations=permutations,
            wall_time=journal.seconds,
        )
        return journal.finish(result)


class _Run:
    """One probe under way: what is fixed for it, and what its stages have found."""

    def __init__(
        self, passes: ForwardPasses, moves: Sequence[Transform], options: ProbeOptions
    ) -> None:
        self.passes, self.moves, self.options = passes, moves, options
        self.views = {
            layer.name: View(layer, moves, passes.size, options.margin, passes.device)
            for layer in passes.layers
        }
        self.floor = Floor(passes, list(self.views.values()))
        self.brought = Collected([layer.name for layer in passes.layers])
        self.moving = [number for number, move in enumerate(moves) if not is_identity(move)]

    def measure(self, journal: Journal, bar: Progress, engine: Engine | None) -> pd.DataFrame:
        """Read the images as often as the methods ask; tell which channel took whose place."""
        images, views = len(self.passes.shuffled), len(self.moves) + 1
        mixes = any(method.mixing for method in self.options.compared)
        bar.start(images * (views * (2 if mixes else 1) + 1))
        self._originals().carry_out(journal, bar, engine)
        self.floor.settle()
        self._group()
        sums, found = Sums(self._folds), BestWarps(self.views.values(), images)
        self._reading(
            "look",
            sums.tensors,
            partial(self._look, sums, found),
            partial(self._look_at_unrelated, sums),
            found.theta if self._folds.methods else {},
        ).carry_out(journal, bar, engine)
        fits = sums.fit()
        del sums  # the largest thing in memory, and of no more use
        held_out = HeldOut(self._after_turns(fits, journal, bar, engine))
        if self._folds.methods:
            self._reading(
                "score",
                held_out.tensors,
                partial(self._score, held_out, found),
                partial(self._score_unrelated, held_out),
            ).carry_out(journal, bar, engine)
        return held_out.permutations()

    def _originals(self) -> Stage:
        """The first reading: images as they are."""
        passes = self.passes
        return self._stage(
            "originals",
            passes.batch_counts,
            [len(numbers) for numbers in passes.batches],
            {f"sum/{name}": view.total for name, view in self.views.items()}
            | {f"count/{name}": view.count for name, view in self.views.items()},
            self._look_at_originals,
            {f"copies/{name}": rows for name, rows in self.floor.copies.items()}
            | {"patterns": passes.patterns, "checks": passes.checks},
        )

    def _reading(
        self,
        name: str,
        sums: Mapping[str, Tensor],
        related: Callable[[Pairs, Chunk], Brought],
        unrelated: Callable[[Pairs], Brought] | None,
        entries: Mapping[str, Tensor] | None = None,
    ) -> Stage:
        """A reading of the images under all transforms; at a shard's end its first meets its last.

        Args:
            name: Of the stage.
            sums: What is added to.
            related: What to do with an image and itself.
            unrelated: What to do with an image and the one before it, if anything.
            entries: What is set by image.

        Returns:
            The stage.
        """
        numbers = self.passes.chunk_numbers
        views = [len(some) * (len(self.moves) + 1) for some in numbers]
        pairs = unrelated if self._chance else None
        steps = partial(self._chunks, related, pairs)
        return self._stage(name, self.passes.chunk_counts, views, sums, steps, entries or {})

    def _stage(
        self,
        name: str,
        counts: Sequence[int],
        views: Sequence[int],
        sums: Mapping[str, Tensor],
        steps: Callable[[range, int], Iterator[None]],
        entries: Mapping[str, Tensor],
    ) -> Stage:
        """Put a stage together, of steps that go through the batches or chunks of a shard."""
        each, edges = iter(views), [0, *accumulate(counts)]
        return Stage(
            name=name,
            views=[list(islice(each, count)) for count in counts],
            sums=sums,
            entries=entries,
            steps=partial(_of_shard, steps, edges),
            collected=self.brought,
            device=self.passes.device,
        )

    def _look_at_originals(self, places: range, done: int) -> Iterator[None]:
        """Go through some batches of images as they are."""
        for numbers, maps in self.passes.originals(
            batches=self.passes.batches[places.start + done : places.stop]
        ):
            for name, view in self.views.items():
                view.add_to_mean(maps[name])
            self.floor.look(numbers, maps)
            yield

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

    def _chunks(
        self,
        related: Callable[[Pairs, Chunk], Brought],
        unrelated: Callable[[Pairs], Brought] | None,
        places: range,
        done: int,
    ) -> Iterator[None]:
        """Go through some chunks; at the end the first image of the shard meets the last one."""
        before = Predecessors()
        if done and unrelated is not None:
            before.go_on(self.passes.chunk(places[0]), self.passes.chunk(places[done - 1]))
        for place in places[done:]:
            chunk = self.passes.chunk(place)
            last = place == places[-1]
            tasks = self._tasks(related, unrelated, chunk, before, last)
            for brought in in_order(tasks, self.passes.device):
                self.brought.add(brought)
            yield

    def _tasks(
        self,
        related: Callable[[Pairs, Chunk], Brought],
        unrelated: Callable[[Pairs], Brought] | None,
        chunk: Chunk,
        before: Predecessors,
        last: bool,
    ) -> Iterator[Callable[[], Brought]]:
        """What is to be done with a chunk: no two of them touch the same rows or sums."""
        for view in self.views.values():
            for pairs in view.pairs(chunk):
                yield partial(related, pairs, chunk)
            if unrelated is None:
                continue
            for pairs in chain(before.pairs(view, chunk), before.closing(view) if last else ()):
                # images whose predecessor is a near duplicate are passed over
                paired = pairs.only(self._paired)
                if paired is not None:
                    yield partial(unrelated, paired)

    def _look(self, sums: Sums, found: BestWarps, pairs: Pairs, chunk: Chunk) -> Brought:
        """Apply the methods that look at a pair alone, and collect what mixings are fitted to."""
        methods = self.options.compared
        searching = any(method.needs_search for method in self._folds.methods)
        needed = {*methods, Method.AFFINE} if searching else methods
        compared, theta, smooth = compare(pairs, needed, self.options)
        blocks = [block for block in compared if block.method in methods]
        blocks += [pairs.undefined(m, self._why) for m in self._undefined]
        alone = pairs.only(self._alone) if self._chance else None
        if alone is not None:
            blocks += [alone.undefined(m, Outcome.NEAR_DUPLICATES) for m in self._chance]
        sums.add(Warp.IDENTITY, pairs, pairs.still)
        sums.add(Warp.ORACLE, pairs, pairs.oracle)
        sums.add(Warp.AFFINE, pairs, theta)
        found.keep(pairs, theta)
        shown = (
            strips(pairs, theta, self.moving, views, image, smooth)
            for image, views in chunk.shown.items()
        )
        return blocks, list(chain.from_iterable(shown))

    def _look_at_unrelated(self, sums: Sums, pairs: Pairs) -> Brought:
        """Compare references with the oracle-warped maps of other images."""
        blocks = []
        if Method.UNRELATED in self.options.compared:
            mode = self.options.search.mode
            scores = pairs.target.score_warp(pairs.moved, pairs.oracle, mode)
            blocks.append(pairs.block(Method.UNRELATED, scores, pairs.oracle))
        sums.add(Warp.UNRELATED, pairs, pairs.oracle)
        return blocks, []

    def _after_turns(
        self, fits: Fits, journal: Journal, bar: Progress, engine: Engine | None
    ) -> Fits:
        """Let warp and mixing be found in turns, until neither gains."""
        for number in range(JOINT_ROUNDS if self._folds.joint else 0):
            turn = Turn(fits)
            stage = self._reading(
                f"turn {number}", turn.tensors, partial(_without_chunk, turn.add), None
            )
            stage.carry_out(journal, bar, engine)
            fits, gaining = turn.fit()
            if not gaining:
                break
        return fits

    def _score(self, held_out: HeldOut, found: BestWarps, pairs: Pairs, _: Chunk) -> Brought:
        """Score mixings on images that they were not fitted to."""
        blocks = [
            *held_out.score(Warp.IDENTITY, pairs, pairs.still),
            *held_out.score(Warp.ORACLE, pairs, pairs.oracle),
            *held_out.score(Warp.AFFINE, pairs, found.of(pairs)),
            *held_out.score_joint(pairs),
        ]
        return blocks, []

    def _score_unrelated(self, held_out: HeldOut, pairs: Pairs) -> Brought:
        return list(held_out.score(Warp.UNRELATED, pairs, pairs.oracle)), []


# what follows are functions of the module, and no closures: stages go to other processes


def _of_shard(
    steps: Callable[[range, int], Iterator[None]], edges: Sequence[int], shard: int, done: int
) -> Iterator[None]:
    """Carry out what is left of a shard, whose batches or chunks lie between two edges."""
    return steps(range(edges[shard], edges[shard + 1]), done)


def _without_chunk(add: Callable[[Pairs], None], pairs: Pairs, _: Chunk) -> Brought:
    add(pairs)
    return [], []
