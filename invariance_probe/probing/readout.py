"""What the rest of a network makes of re-aligned maps: put them back, and run it.

Lenc and Vedaldi, "Understanding image representations by measuring their equivariance and
equivalence" (CVPR 2015; IJCV 2019), judge learnt transformations of features like this. Here the
transformations are spatial warps, beside warping the input, the floor and chance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from invariance_probe.alignment.aligning import Alignment, align_with
from invariance_probe.alignment.flow import flow_from
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.data import inputs
from invariance_probe.data.pictures import ImageSource
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_choice, check_tensor
from invariance_probe.machine import memory_kept
from invariance_probe.network import features
from invariance_probe.network.hooks import Key
from invariance_probe.network.replay import Replay, maps_and_outputs, outputs
from invariance_probe.plane import sampling
from invariance_probe.plane.rendering import crop_size
from invariance_probe.plane.transforms import Transform
from invariance_probe.probing.crossfit import Fits, Folds, Sums
from invariance_probe.probing.floor import Floor
from invariance_probe.probing.journal import Journal
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.pairs import Pairs, View
from invariance_probe.probing.passes import CACHE_BYTES, ForwardPasses
from invariance_probe.probing.setup import (
    LayerNames,
    computing,
    identity,
    motions,
    named,
    opened,
    seen,
)
from invariance_probe.probing.showing import Shown
from invariance_probe.progress import Progress
from invariance_probe.results.methods import METHODS, RECOVERY_METHODS, Method, Warp
from invariance_probe.results.recovery import CLASS_METRICS, OUTPUT_METRICS
from invariance_probe.results.result import ProbeResult, assemble
from invariance_probe.results.rows import Block, Layout, wide_table
from invariance_probe.results.store import InMemory

_PUT_BACK = tuple(method for method in METHODS if method.warp not in {Warp.ANY_WARP, Warp.JOINT})
"""Methods that leave a map to put back."""
_NO_VALUE = (Outcome.EMPTY_REGION, Outcome.ONE_IMAGE, Outcome.NEAR_DUPLICATES)
"""Why there is nothing to put back, or nothing that may be."""
_Key = tuple[str, int, int]
"""Layer, first transform and first image of a batch's pairs."""
_SUMS_TO_ONE = 1e-3
"""How far rows of probabilities may be from 1: float16 rounds each of many classes."""


class Outside(StrEnum):
    """What a map holds outside the region of the comparison when it is put back.

    ``reference``: the untransformed image's own map, for every method and control alike: whatever
    is lost is lost within the region. ``mean``: the channel means of the untransformed images over
    the region. ``moved``: nothing is replaced, so it is what the method makes of the moved map;
    warps read the nearest edge where they look out of sight. ``disc``: the same, but all of the
    images outside the crop's inscribed disc is filled before anything else is done, so that
    rotations move nothing out of sight.
    """

    REFERENCE = "reference"
    MEAN = "mean"
    MOVED = "moved"
    DISC = "disc"


@memory_kept()
def recover(
    model: nn.Module,
    images: object,
    *,
    layers: LayerNames,
    transforms: Transform | Sequence[Transform],
    labels: Int[Tensor, " batch"] | Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    outside: Outside | str = Outside.REFERENCE,
    options: ProbeOptions | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    name: str | None = None,
    **changes: Any,
) -> ProbeResult:
    """Put re-aligned maps back into the network, run the rest and compare what it says.

    For each image, transform, layer and method the network goes on from the transformed image (for
    ``input`` from the image that was warped back) with the layer's map replaced; the controls
    ``floor`` and ``unrelated`` are no exception. Inside the region of the comparison the map is the
    method's; outside, where a re-aligned map holds nothing honest, it is by default the
    untransformed image's, for every method and control alike. So a small region (``region_frac``)
    flatters all of them: compare with ``identity`` and ``unrelated``, or see
    `ProbeResult.recovered_share`. The map of ``floor`` is the untransformed image's with an error
    as large as a perfect layer's. What goes around the layer, such as a skip connection, carries
    the transformed image: choose layers that everything passes through.

    Recover a network that was never trained on such transforms: a transformer would let it see
    none. One that was trained on them knows transformed images by maps of their own; to warp these
    back takes away what it knows, and says nothing of a transformer.

    Each image passes once as it is, once under each transform, and once more under each for
    ``input``; the rest of the network runs for each layer and method (see `network.replay`, which
    says what is kept for that: what modules return for one batch). The floor takes shifted copies
    of some images (`probing.floor`), mixings another pass of all.

    This is no option of `probe`: a probe compares maps and needs no output, and its metrics,
    methods and cost are others. Both tables have the same columns, so that
    ``pandas.concat([probed.frame(), recovered.frame()])`` is one tidy table.

    Args:
        model: Any module; it is left as it was found (see `probe`). Its output counts as a class
            vector, of logits, if it is a single tensor of shape (batch, class) with two classes or
            more.
        images: In any form, see `inputs.as_source`; of one size, at least the crop.
        layers: Names or patterns, see `features.select_layers`, or modules of the model.
        transforms: What is done to the input.
        labels: Class of each image, by default as the images bring it; adds the metric
            ``accuracy``.
        classes: Names of the model's classes, for the picture; their numbers by default.
        outside: What a map that is put back holds outside the region: a member of `Outside`, or
            its text.
        options: How to measure, as for `probe`; by default `RECOVERY_METHODS` are compared. All
            methods but ``any-warp`` and ``joint+...`` can be.
        out: Folder to write the run to, as of `probe`; a run that was stopped begins anew.
        progress: Whether to show progress and time left on stderr, if that is a terminal.
        name: What to call the model in the table; its class by default.
        **changes: Options by name, such as ``methods=["input", "oracle"]``; before `options`.

    Returns:
        The tidy table of `probe` with other metrics: `recovery.CLASS_METRICS`, or
        `recovery.OUTPUT_METRICS` where the output is no class vector.

    Raises:
        InvalidInputError: If anything given cannot be used, or the output cannot be compared;
            nothing is written then.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from invariance_probe.controls import c4_pooled_network
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(
        ...     c4_pooled_network(), torch.nn.Flatten(), torch.nn.Linear(8 * 15 * 15, 4)
        ... )
        >>> result = ip.recover(
        ...     model, torch.rand(4, 3, 27, 27), layers="0.1", transforms=[ip.Rotation(90)]
        ... )
        >>> means = result.summary().set_index(["method", "metric"])["mean"]
        >>> float(means["oracle", "agreement"])
        1.0
    """
    options = (options or ProbeOptions(methods=RECOVERY_METHODS)).replace(**changes)
    unknown = [str(method) for method in options.compared if method not in _PUT_BACK]
    if unknown:
        raise InvalidInputError(
            f"methods={unknown}: no map to put back; choose from {', '.join(_PUT_BACK)}"
        )
    check_choice("outside", outside, [*Outside])
    if not (classes is None or (isinstance(classes, Sequence) and {*map(type, classes)} <= {str})):
        raise InvalidInputError(f"classes={classes!r}: give a list of names")
    rule = Outside(outside)
    transforms = motions(transforms)
    source = opened(model, images, options)
    labels = inputs.labels_of(source) if labels is None else labels
    if rule is Outside.DISC:
        source = _Discs(source, options)
    patterns = named(model, layers)
    with (
        Journal.opened(out) as journal,
        computing(model, options) as own,
        Progress(progress) as bar,
    ):
        passes = ForwardPasses(own, source, patterns, transforms, options, keep=False, whole=True)
        run = _Run(passes, options, _checked_labels(labels, len(source)), rule, classes)
        about = identity(
            passes, transforms, options, type(model).__name__ if name is None else name
        )
        about |= {
            "outside": rule.value,
            "labels": None if run.labels is None else run.labels.tolist(),
            "classes": None if classes is None else list(classes),
        }
        there = journal.begin(about, lambda: passes.pixels)
        if there is not None:
            return there
        run.measure(bar)
        layout = Layout(
            config=seen(passes) | about | run.floor.about | {"replayed": run.replay.replayed},
            layers=passes.layers,
            transforms=transforms,
            region_frac=[view.region.double().mean((1, 2)).tolist() for view in run.views.values()],
            filled_frac=passes.filled,
            metrics=run.metrics,
        )
        result = assemble(
            InMemory(layout.tidy(wide_table(run.blocks, about["layers"], run.metrics))),
            layout,
            strips=run.shown.strips,
            permutations=pd.DataFrame(),
            wall_time=journal.seconds,
            predictions=pd.DataFrame(run.shown.predictions),
        )
        return journal.finish(result)


@dataclass(frozen=True)
class _Discs:
    """Images of which only the disc inscribed in the crop is left; the rest is the fill."""

    source: ImageSource
    options: ProbeOptions

    @property
    def names(self) -> Sequence[str]:
        return self.source.names

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Float[Tensor, "channel height width"]:
        image, fill = self.source[index], self.options.filled
        channels, height, width = image.shape
        radius = min(crop_size(self.options.crop, height, width)) / 2
        y, x = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
        # the edge is two pixels wide: a sharper one would ring when the images are resampled
        inside = ((radius - torch.hypot(y[:, None], x)) / 2).clamp(0, 1).to(image)
        # a wrong number of values is refused by name where all options are read
        around = torch.tensor(fill if len(fill) in {1, channels} else (0.0,)).to(image)
        return torch.lerp(around.view(-1, 1, 1).expand_as(image), image, inside)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Some images under some transforms, as they go through the network together.

    Attributes:
        numbers: Numbers of the images.
        group: Numbers of the transforms.
        inputs: The images as they are, then under each transform of the run.
        reference: Maps of the images as they are, by layer.
        moved: Maps of the transformed images, by layer.
        others: Those of the image before each of them, by layer.
        said: What the network says of the images as they are.
    """

    numbers: list[int]
    group: list[int]
    inputs: Float[Tensor, "view image _ _ _"]
    reference: dict[str, Float[Tensor, "image _ _ _"]]
    moved: dict[str, Float[Tensor, "transform image _ _ _"]]
    others: dict[str, Float[Tensor, "transform image _ _ _"]]
    said: dict[str, Tensor]

    def pairs(self, view: View, warp: Warp) -> Pairs:
        """Pair the images with the maps of a layer that a warp is applied to."""
        name = view.layer.name
        maps = self.others if warp is Warp.UNRELATED else self.moved
        return Pairs(view, self.group, self.numbers, self.reference[name], maps[name])


class _Warped(NamedTuple):
    """Maps to put back; see `Block`."""

    maps: Float[Tensor, "pair channel height width"]
    theta: Float[Tensor, "pair 2 3"]
    outcome: Sequence[Outcome | None]
    n_iter: list[int]


class _Best(NamedTuple):
    """What is kept of a search: what the table will say of it; see `Block`."""

    theta: Float[Tensor, "pair 2 3"]
    outcome: Sequence[Outcome]
    n_iter: list[int]


class _Run:
    """One measurement under way: the rows so far, and the batch at hand."""

    def __init__(
        self,
        passes: ForwardPasses,
        options: ProbeOptions,
        labels: Int[Tensor, " image"] | None,
        outside: Outside,
        classes: Sequence[str] | None,
    ) -> None:
        self.passes, self.options, self.labels, self.outside = passes, options, labels, outside
        self.views = {
            layer.name: View(layer, passes.moves, passes.size, options.margin, passes.device)
            for layer in passes.layers
        }
        self.blocks: list[Block] = []
        image = passes.inputs(passes.shuffled[:1])[0]
        # what cannot be compared is refused before anything is measured
        said = outputs(passes.model, image)
        passes.refuse_unsteady({Key("", 1, path) for path in said})
        _as_rows(said)
        self.metrics = _metrics(said, labels, classes)
        self.replay = Replay(passes.model, image, passes.layers)
        self.floor = Floor(passes, list(self.views.values()))
        self.shown = Shown(passes, classes)
        self._reference = torch.empty(0)
        self._originals: dict[tuple[int, ...], tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
        self._room = CACHE_BYTES
        self._found: dict[_Key, _Best] = {}
        self._last_search: tuple[_Key, Alignment] | None = None

    def measure(self, bar: Progress) -> None:
        """Look at the images as they are, if that is asked for, then under all transforms."""
        passes, methods = self.passes, self.options.compared
        mixes = any(method.mixing for method in methods)
        first = self.outside is Outside.MEAN or Method.FLOOR in methods
        first |= any(method.needs_search for method in methods)
        bar.start(len(passes.shuffled) * (1 + first + mixes))
        said: list[dict[str, Tensor]] = []
        for numbers, maps in passes.originals(partial(self._forward, said)) if first else ():
            self._keep(numbers, maps, said.pop())
            for name, view in self.views.items():
                view.add_to_mean(maps[name])
            self.floor.look(numbers, maps)
            bar.advance(len(numbers))
        self.floor.settle()
        self._why = Outcome.ONE_IMAGE if len(passes.order) == 1 else Outcome.NEAR_DUPLICATES
        self._paired = {n for n, partner in enumerate(passes.partners) if partner is not None}
        self._folds = folds = Folds.of(
            methods, self.views, passes.order, passes.groups, self.options.search
        )
        sums = Sums(folds)
        for batch in self._batches(bar) if folds.methods else ():
            for view in self.views.values():
                for warp in folds.warps:
                    own = batch.pairs(view, warp)
                    pairs = own.only(self._paired) if warp is Warp.UNRELATED else own
                    if pairs is not None:
                        theta = pairs.still if warp is Warp.IDENTITY else pairs.oracle
                        best = warp is Warp.AFFINE
                        sums.add(warp, pairs, self._best(pairs).theta if best else theta)
        fits = sums.fit()
        for batch in self._batches(bar):
            self._reference = _as_rows(batch.said).repeat(len(batch.group), 1)
            if not self.blocks and self.metrics[0] in CLASS_METRICS:
                self.shown.choose(batch.numbers, self._reference[: len(batch.numbers)])
            self._compare(batch, fits)

    def _forward(self, said: list[dict[str, Tensor]], images: Tensor) -> dict[str, Tensor]:
        """Maps of all layers, and what the network says, for images as they are."""
        with features.forwarding(images):
            maps, output = maps_and_outputs(self.passes.model, images, self.passes.layers)
        said.append(output)
        return {name: each.to(self.passes.dtype) for name, each in maps.items()}

    def _keep(
        self, numbers: Sequence[int], maps: dict[str, Tensor], said: dict[str, Tensor]
    ) -> None:
        """Spare images another pass as they are, if there is room."""
        tensors = (*maps.values(), *said.values())
        self._room -= sum(each.numel() * each.element_size() for each in tensors)
        if self._room >= 0:
            self._originals[tuple(numbers)] = maps, said

    def _as_they_are(
        self, numbers: list[int], images: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps of some images, and what the network says of them."""
        if tuple(numbers) not in self._originals:
            said: list[dict[str, Tensor]] = []
            maps = self._forward(said, images)
            self.passes.refuse_non_finite(maps, numbers)
            return maps, said.pop()
        return self._originals[tuple(numbers)]

    def _batches(self, bar: Progress) -> Iterator[_Batch]:
        """Pass images through the network: as they are, and some transforms at a time."""
        passes, size = self.passes, self.options.batch_size
        order, moves = passes.order, list(range(len(passes.moves)))
        # the first image follows on the last one
        before = passes.inputs(order[-1:])[1:, 0]
        parts = [self._tapped(part[:, None], order[-1:]) for part in torch.split(before, size)]
        last = {name: torch.cat([part[name][:, 0] for part in parts]) for name in self.views}
        for start in range(0, len(order), size):
            numbers = order[start : start + size]
            inputs = passes.inputs(numbers)
            reference, said = self._as_they_are(numbers, inputs[0])
            at_once = max(1, size // len(numbers))
            for first in range(0, len(moves), at_once):
                group = moves[first : first + at_once]
                images = inputs[1:][group]
                moved = self._tapped(images, numbers)
                others = {
                    name: torch.cat([last[name][group, None], maps[:, :-1]], dim=1)
                    for name, maps in moved.items()
                }
                yield _Batch(
                    numbers=numbers,
                    group=group,
                    inputs=inputs,
                    reference=reference,
                    moved=moved,
                    others=others,
                    said=said,
                )
                for name, maps in moved.items():
                    last[name][group] = maps[:, -1]
            bar.advance(len(numbers))

    def _tapped(
        self, images: Float[Tensor, "transform image colour height width"], numbers: list[int]
    ) -> dict[str, Float[Tensor, "transform image _ _ _"]]:
        """Maps by layer; what is put back next goes on from these images."""
        maps = self.replay.tap(images.flatten(0, 1))
        self.passes.refuse_non_finite(maps, numbers)
        shape = images.shape[:2]
        return {
            name: each.reshape(*shape, *each.shape[1:]).to(self.passes.dtype)
            for name, each in maps.items()
        }

    def _compare(self, batch: _Batch, fits: Fits) -> None:
        """Put back what each method makes of the maps of a batch."""
        methods = self.options.compared
        searched = any(method.needs_search for method in methods)
        for view in self.views.values():
            for warp in dict.fromkeys(method.warp for method in methods):
                if warp is not Warp.INPUT:
                    pairs = batch.pairs(view, warp)
                    warped = self._warped(pairs, warp)
                    for method in (method for method in methods if method.warp is warp):
                        self._put_back(batch, pairs, method, warped, fits)
            pairs = batch.pairs(view, Warp.ORACLE)
            theta = self._best(pairs).theta if searched else pairs.oracle
            self.shown.look(pairs, theta, batch.inputs)
            self._found.pop(self._key(pairs), None)
        if Method.INPUT in methods:
            # last, as the network goes on from other images
            images = self.passes.returned(batch.inputs[1:][batch.group], batch.group)
            returned = self._tapped(images, batch.numbers)
            for name, view in self.views.items():
                pairs = batch.pairs(view, Warp.INPUT)
                maps, count = returned[name].flatten(0, 1), len(pairs.oracle)
                warped = _Warped(maps, pairs.oracle, [None] * count, [0] * count)
                self._put_back(batch, pairs, Method.INPUT, warped, fits)

    def _key(self, pairs: Pairs) -> _Key:
        return pairs.view.layer.name, pairs.group[0], pairs.numbers[0]

    def _best(self, pairs: Pairs) -> _Best:
        """The best affine warps of a batch's pairs, searched for once and kept while needed."""
        key = self._key(pairs)
        if key not in self._found:
            found = self._alignment(pairs)
            self._found[key] = _Best(found.theta, found.outcome, found.n_iter.tolist())
        return self._found[key]

    def _alignment(self, pairs: Pairs) -> Alignment:
        """All that a search found; only the last one is kept, as it takes ten times the memory."""
        key = self._key(pairs)
        if self._last_search is None or self._last_search[0] != key:
            found = align_with(pairs.target, pairs.moved, pairs.oracle, self.options.search)
            self._last_search = key, found
        return self._last_search[1]

    def _warped(self, pairs: Pairs, warp: Warp) -> _Warped:
        """What a warp makes of the moved maps."""
        search = self.options.search
        if warp is Warp.AFFINE:
            best = self._best(pairs)
            return _Warped(sampling.warp(pairs.moved, best.theta, mode=search.mode), *best)
        if warp is Warp.FLOW:
            affine = self._alignment(pairs)
            flow = flow_from(affine, pairs.target, pairs.moved, pairs.oracle, search)
            return _Warped(flow.warp(pairs.moved), affine.theta, flow.outcome, flow.n_iter.tolist())
        theta = pairs.oracle
        if warp is Warp.IDENTITY:
            maps, theta = pairs.moved, pairs.still
        elif warp is Warp.FLOOR:
            maps = pairs.perfect(search.mode, self.options.antialias)
        else:
            maps = sampling.warp(pairs.moved, theta, mode=search.mode)
        return _Warped(maps, theta, [None] * len(theta), [0] * len(theta))

    def _put_back(
        self, batch: _Batch, pairs: Pairs, method: Method, warped: _Warped, fits: Fits
    ) -> None:
        """Mix channels if the method does, run the rest of the network, and write the scores."""
        maps, outcome, numbers = warped.maps, warped.outcome, batch.numbers * len(batch.group)
        if method.mixing and method not in self._folds.methods:
            outcome = [self._why] * len(numbers)
        elif method.mixing:
            maps = fits.mixed(method, pairs, maps)
            doubts = fits.doubts(method, pairs)
            outcome = [doubt or one for doubt, one in zip(doubts, outcome, strict=True)]
        if method.warp is Warp.UNRELATED:
            outcome = [
                one if n in self._paired else self._why
                for n, one in zip(numbers, outcome, strict=True)
            ]
        if self.outside is Outside.REFERENCE:
            maps = torch.where(pairs.region[:, None], maps, pairs.reference)
        elif self.outside is Outside.MEAN:
            maps = torch.where(pairs.region[:, None], maps, pairs.mean.to(maps)[..., None, None])
        said = _as_rows(self.replay.rest(pairs.view.layer, maps))
        labels = None if self.labels is None else self.labels[numbers].to(said.device)
        values = _scores(said, self._reference, self.metrics, labels)
        self.shown.put_back(pairs, method, said)
        seen = pairs.region.flatten(1).any(1).tolist()
        outcome = [
            one if there else Outcome.EMPTY_REGION for one, there in zip(outcome, seen, strict=True)
        ]
        values[[one in _NO_VALUE for one in outcome]] = torch.nan
        self.blocks.append(
            Block(
                layer=pairs.view.layer.name,
                method=method,
                images=numbers,
                transforms=[t for t in batch.group for _ in batch.numbers],
                values=values.cpu(),
                theta=warped.theta.flatten(1).cpu(),
                outcome=outcome,
                n_iter=warped.n_iter,
            )
        )


def _checked_labels(
    labels: Int[Tensor, " batch"] | Sequence[int] | None, images: int
) -> Int[Tensor, " image"] | None:
    """Labels as a tensor, one for each image."""
    if labels is None:
        return None
    try:
        given = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"labels={labels!r}: give class numbers") from error
    check_tensor("labels", given, "image")
    if given.shape != (images,) or given.is_floating_point() or given.dtype == torch.bool:
        raise InvalidInputError(
            f"labels of shape {tuple(given.shape)} and type {given.dtype}: give one class number "
            f"for each of the {images} images"
        )
    return given.long().cpu()


def _metrics(
    said: dict[str, Tensor], labels: Tensor | None, classes: Sequence[str] | None
) -> tuple[str, ...]:
    """Which metrics an output has; refuse what they would mismeasure."""
    single = next(iter(said.values())) if len(said) == 1 else None
    if single is None or single.dim() != 2 or single.shape[1] < 2:
        if labels is not None:
            raise InvalidInputError(
                "labels are given, but the model's output is not a tensor of shape (batch, class); "
                "leave labels out, or wrap the model so that it returns its logits alone"
            )
        return OUTPUT_METRICS
    if bool((single >= 0).all()) and bool(((single.sum(1) - 1).abs() < _SUMS_TO_ONE).all()):
        raise InvalidInputError(
            "the model's outputs are 0 or more and sum to 1, like probabilities; give the model "
            "without its softmax, as the metrics take logits"
        )
    if classes is not None and len(classes) != single.shape[1]:
        raise InvalidInputError(
            f"classes: {len(classes)} names are given, but the model has {single.shape[1]} "
            "classes; give a name for each"
        )
    if labels is None:
        return tuple(name for name in CLASS_METRICS if name != "accuracy")
    if int(labels.min()) < 0 or int(labels.max()) >= single.shape[1]:
        raise InvalidInputError(
            f"labels from {int(labels.min())} to {int(labels.max())}: the model has "
            f"{single.shape[1]} classes; give numbers from 0 to {single.shape[1] - 1}"
        )
    return CLASS_METRICS


def _as_rows(said: dict[str, Tensor]) -> Float[Tensor, "image value"]:
    """All outputs side by side, one row an image, in float64."""
    sizes = {tensor.shape[0] if tensor.dim() else 0 for tensor in said.values()}
    if len(sizes) != 1 or 0 in sizes:
        shapes = {path: tuple(tensor.shape) for path, tensor in said.items()}
        raise InvalidInputError(
            f"the model's outputs {shapes} do not have one row for each image; wrap the model so "
            "that it returns real tensors whose first dimension is the batch"
        )
    rows = torch.cat([tensor.flatten(1).double() for tensor in said.values()], dim=1)
    if bool(rows.isnan().any()):
        raise InvalidInputError(
            "the model's output holds NaN; check the weights and the images, or use dtype='float64'"
        )
    return rows


def _scores(
    said: Float[Tensor, "pair value"],
    reference: Float[Tensor, "pair value"],
    metrics: Sequence[str],
    labels: Int[Tensor, " pair"] | None,
) -> Float[Tensor, "pair metric"]:
    """Compare outputs with those of the untransformed images."""
    length = torch.linalg.vector_norm(reference, dim=1)
    length = torch.where(length > 0, length, torch.nan)  # zeros have no scale
    distance = torch.linalg.vector_norm(said - reference, dim=1) / length
    if tuple(metrics) == OUTPUT_METRICS:
        overlap = (said * reference).sum(1)
        cosine = overlap / (length * torch.linalg.vector_norm(said, dim=1))
        return torch.stack([distance, cosine], dim=1)
    answer = said.argmax(1)
    log_p, log_q = reference.log_softmax(1), said.log_softmax(1)
    # a class of probability 0 adds nothing, where 0 times infinity would make NaN
    terms = torch.where(log_p.exp() > 0, log_p.exp() * (log_p - log_q), 0.0)
    columns = [
        (answer == reference.argmax(1)).double(),
        terms.sum(1).clamp(min=0),  # rounding can take it below 0
        distance,
        *([] if labels is None else [(answer == labels).double()]),
    ]
    return torch.stack(columns, dim=1)
