"""What the rest of a network makes of re-aligned maps: put them back, and run it.

Lenc and Vedaldi, "Understanding image representations by measuring their equivariance and
equivalence" (CVPR 2015; IJCV 2019), judge learnt transformations of features like this. Here the
transformations are spatial warps, beside warping the input, the floor and chance.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.data.pictures import ImageSource
from invariance_probe.errors import InvalidInputError
from invariance_probe.files import check_out
from invariance_probe.network import hooks
from invariance_probe.network.features import Layer
from invariance_probe.plane import sampling
from invariance_probe.plane.transforms import Transform
from invariance_probe.probing.floor import Floor
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.pairs import Pairs, Predecessors, View, found_warps
from invariance_probe.probing.passes import ForwardPasses
from invariance_probe.probing.setup import computing, configuration, opened
from invariance_probe.progress import Progress
from invariance_probe.results.methods import RECOVERY_METHODS, Method
from invariance_probe.results.recovery import CLASS_METRICS, OUTPUT_METRICS
from invariance_probe.results.result import ProbeResult, assemble
from invariance_probe.results.rows import Block

_SUMS_TO_ONE = 1e-3
"""How far rows of probabilities may be from 1: float16 rounds each of many classes."""


def recover(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"] | ImageSource,
    *,
    layers: str | Sequence[str],
    transforms: Sequence[Transform],
    labels: Int[Tensor, " batch"] | Sequence[int] | None = None,
    options: ProbeOptions | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    name: str | None = None,
    **changes: Any,
) -> ProbeResult:
    """Put re-aligned maps back into the network, run the rest and compare what it says.

    For each image, transform, layer and method the network is run on the transformed image (for
    ``input`` on the image that was warped back) with the layer's map replaced; the controls
    ``floor`` and ``unrelated`` are no exception. Inside the region of the comparison the map is the
    method's; outside, where a re-aligned map holds nothing honest, it is the untransformed image's,
    for every method and control alike. So a small region (``region_frac``) flatters all of them:
    compare with ``identity`` and ``unrelated``, or see `ProbeResult.recovered_share`. The map of
    ``floor`` is the untransformed image's with an error as large as a perfect layer's. What goes
    around the layer, such as a skip connection, carries the transformed image: choose layers that
    everything passes through. Each of these is a pass through the whole network, what comes before
    the layer included.

    Args:
        model: Any module; it is left as it was found. Its output counts as a class vector, of
            logits, if it is a single tensor of shape (batch, class) with two classes or more.
        images: Images of one size, at least the crop.
        layers: Names or patterns, see `features.select_layers`.
        transforms: What is done to the input.
        labels: Class of each image; adds the metric ``accuracy``.
        options: How to measure, as for `probe`; by default `RECOVERY_METHODS` are compared.
        out: Folder to write the run to; nothing is written by default.
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
    possible = (*RECOVERY_METHODS, Method.FLOW)
    unknown = [str(method) for method in options.compared if method not in possible]
    if unknown:
        raise InvalidInputError(
            f"methods={unknown}: no map to put back; choose from {', '.join(possible)}"
        )
    target = check_out(out)
    source = opened(images, transforms)
    began = time.monotonic()
    patterns = [layers] if isinstance(layers, str) else list(layers)
    with computing(model, options), Progress(progress) as bar:
        passes = ForwardPasses(model, source, patterns, transforms, options, keep=False)
        run = _Run(passes, options, _checked_labels(labels, len(source)))
        run.measure(bar)
    result = assemble(
        run.blocks,
        config=configuration(passes, transforms, options, name or type(model).__name__)
        | run.floor.about,
        layers=passes.layers,
        transforms=transforms,
        region_frac=[view.region.double().mean((1, 2)).tolist() for view in run.views],
        filled_frac=passes.filled,
        strips=[],
        permutations=pd.DataFrame(),
        wall_time=time.monotonic() - began,
        metrics=run.metrics,
    )
    if target is not None:
        result.save(target)
    return result


def outputs(
    model: nn.Module, images: Float[Tensor, "batch channel height width"]
) -> dict[str, Float[Tensor, "..."]]:
    """Run a model.

    Args:
        model: Any module, in evaluation mode (see `hooks.evaluating`).
        images: Its input.

    Returns:
        Its real outputs by their paths; an empty path for a bare tensor.
    """
    return _run(model, images, None, None)


def outputs_with(
    model: nn.Module,
    images: Float[Tensor, "batch colour image_height image_width"],
    layer: Layer,
    maps: Float[Tensor, "batch channel height width"],
) -> dict[str, Float[Tensor, "..."]]:
    """Run a model with the map of a layer replaced.

    Args:
        model: Any module, in evaluation mode (see `hooks.evaluating`).
        images: Its input.
        layer: One of its layers, which returns maps of the same shape for these images.
        maps: What it goes on with, channels first.

    Returns:
        See `outputs`.
    """
    return _run(model, images, layer, maps)


def _run(
    model: nn.Module, images: Tensor, layer: Layer | None, maps: Tensor | None
) -> dict[str, Tensor]:
    """Run a model, with a map replaced if one is given."""
    key = None if layer is None else hooks.Key(layer.module, layer.call, layer.path)
    found: dict[str, Tensor] = {}

    def visit(here: hooks.Key, tensor: Tensor) -> Tensor | None:
        new = None
        if here == key and layer is not None and maps is not None:
            # in the strides of what it replaces, which decide on the kernels that follow, and a
            # copy, because an in-place activation may write over it
            new = tensor.clone().copy_(maps.movedim(1, -1) if layer.channels_last else maps)
        if not here.module and tensor.is_floating_point():
            found[here.path] = tensor if new is None else new
        return new

    hooks.run_hooked(model, images, visit, {"" if layer is None else layer.module, ""})
    return found


class _Run:
    """One measurement under way: the rows so far, and the images at hand."""

    def __init__(
        self, passes: ForwardPasses, options: ProbeOptions, labels: Int[Tensor, " image"] | None
    ) -> None:
        self.passes, self.options, self.labels = passes, options, labels
        self.views = [
            View(layer, passes.moves, passes.size, options.margin, passes.device)
            for layer in passes.layers
        ]
        self.floor = Floor(passes, self.views)
        self.blocks: list[Block] = []
        self.metrics: tuple[str, ...] = ()
        self._place: dict[int, int] = {}
        self._inputs = self._reference = torch.empty(0)

    def measure(self, bar: Progress) -> None:
        """Read the images twice: for the channel means, and for everything else."""
        unrelated = Method.UNRELATED in self.options.compared
        bar.start(2 * len(self.passes.order))
        for numbers, maps in self.passes.originals():
            for view in self.views:
                view.add_to_mean(maps[view.layer.name])
            self.floor.look(numbers, maps)
            bar.advance(len(numbers))
        self.floor.settle()
        before = Predecessors()
        for chunk in self.passes.chunks():
            self._take_up(chunk.numbers)
            for view in self.views:
                for pairs in view.pairs(chunk):
                    self._compare(pairs)
                for pairs in before.pairs(view, chunk) if unrelated else ():
                    self._put_back_another(pairs)
            bar.advance(len(chunk.numbers))
        if unrelated:
            self._take_up(self.passes.order[:1])
            for view in self.views:
                self._put_back_another(before.closing(view))

    def _put_back_another(self, pairs: Pairs) -> None:
        """Put back the maps of unrelated images; say why where there is no such image."""
        partners = self.passes.partners
        paired = pairs.only([n for n in pairs.numbers if partners[n] is not None])
        alone = pairs.only([n for n in pairs.numbers if partners[n] is None])
        if paired is not None:
            self._put_back(paired, Method.UNRELATED, self._by_oracle(paired))
        if alone is not None:
            why = Outcome.ONE_IMAGE if len(partners) == 1 else Outcome.NEAR_DUPLICATES
            outcome = [why] * len(alone.oracle)
            self._write(alone, Method.UNRELATED, None, outcome=outcome)

    def _take_up(self, numbers: list[int]) -> None:
        """Hold the inputs of some images, and what the model says of them as they are."""
        self._place = {number: place for place, number in enumerate(numbers)}
        self._inputs = self.passes.inputs(numbers)
        parts = [
            outputs(self.passes.model, part)
            for part in torch.split(self._inputs[0], self.options.batch_size)
        ]
        if not self.metrics:
            self.metrics = _metrics(parts[0], self.labels)
        self._reference = torch.cat([_as_rows(part) for part in parts])

    def _compare(self, pairs: Pairs) -> None:
        """Put back what each method makes of an image's own map."""
        methods = self.options.compared
        if Method.IDENTITY in methods:
            self._put_back(pairs, Method.IDENTITY, pairs.moved)
        if Method.INPUT in methods:
            assert pairs.returned is not None
            self._put_back(pairs, Method.INPUT, pairs.returned)
        if Method.ORACLE in methods:
            self._put_back(pairs, Method.ORACLE, self._by_oracle(pairs))
        if {Method.AFFINE, Method.FLOW} & set(methods):
            affine, found = found_warps(pairs, methods, self.options.search)
            for method, warp in found.items():
                maps, steps = warp.warp(pairs.moved), warp.n_iter.tolist()
                self._put_back(pairs, method, maps, affine.theta, warp.outcome, steps)
        if Method.FLOOR in methods:
            perfect = pairs.perfect(self.options.search.mode, self.options.antialias)
            self._put_back(pairs, Method.FLOOR, perfect)

    def _by_oracle(self, pairs: Pairs) -> Tensor:
        return sampling.warp(pairs.moved, pairs.oracle, mode=self.options.search.mode)

    def _put_back(
        self,
        pairs: Pairs,
        method: Method,
        maps: Tensor,
        theta: Tensor | None = None,
        outcome: Sequence[Outcome | None] | None = None,
        n_iter: list[int] | None = None,
    ) -> None:
        """Run the network with the maps of a method, and write down what it says."""
        places = [self._place[number] for number in pairs.numbers]
        inputs = self._inputs[1:][pairs.group][:, places]
        if method is Method.INPUT:
            inputs = self.passes.returned(inputs, pairs.group)
        mended = torch.where(pairs.region[:, None], maps, pairs.reference)
        size = self.options.batch_size
        said = torch.cat([
            _as_rows(outputs_with(self.passes.model, image, pairs.view.layer, some))
            for image, some in zip(
                torch.split(inputs.flatten(0, 1), size), torch.split(mended, size), strict=True
            )
        ])
        numbers = pairs.numbers * len(pairs.group)
        labels = None if self.labels is None else self.labels[numbers].to(said.device)
        values = _scores(said, self._reference[places * len(pairs.group)], self.metrics, labels)
        self._write(pairs, method, values, theta, outcome, n_iter)

    def _write(
        self,
        pairs: Pairs,
        method: Method,
        values: Tensor | None,
        theta: Tensor | None = None,
        outcome: Sequence[Outcome | None] | None = None,
        n_iter: list[int] | None = None,
    ) -> None:
        """Write rows down; without values, or where the region is empty, they are NaN."""
        count = len(pairs.oracle)
        seen = pairs.region.flatten(1).any(1)
        blank = seen.new_full((count, len(self.metrics)), torch.nan, dtype=torch.float64)
        said = [None] * count if outcome is None else outcome
        self.blocks.append(
            Block(
                layer=pairs.view.layer.name,
                method=method,
                images=pairs.numbers * len(pairs.group),
                transforms=[t for t in pairs.group for _ in pairs.numbers],
                values=(blank if values is None else values.where(seen[:, None], blank)).cpu(),
                theta=(pairs.oracle if theta is None else theta).flatten(1).cpu(),
                outcome=[
                    one if there else Outcome.EMPTY_REGION
                    for one, there in zip(said, seen.tolist(), strict=True)
                ],
                n_iter=[0] * count if n_iter is None else n_iter,
            )
        )


def _checked_labels(
    labels: Int[Tensor, " batch"] | Sequence[int] | None, images: int
) -> Int[Tensor, " image"] | None:
    """Labels as a tensor, one for each image."""
    if labels is None:
        return None
    given = torch.as_tensor(labels)
    if given.shape != (images,) or given.is_floating_point() or given.dtype == torch.bool:
        raise InvalidInputError(
            f"labels of shape {tuple(given.shape)} and type {given.dtype}: give one class number "
            f"for each of the {images} images"
        )
    return given.long().cpu()


def _metrics(said: dict[str, Tensor], labels: Tensor | None) -> tuple[str, ...]:
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
