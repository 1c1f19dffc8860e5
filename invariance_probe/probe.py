"""Images x transforms x layers x methods: the measurement itself, streamed over the images."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from invariance_probe import features, geometry, hooks, regions, results
from invariance_probe.alignment import metrics
from invariance_probe.alignment.search import Alignment, SearchOptions, align_with
from invariance_probe.errors import InvalidInputError
from invariance_probe.progress import Progress
from invariance_probe.results import METHODS
from invariance_probe.sources import ImageSource, TensorImages
from invariance_probe.transforms import (
    Rotation,
    Transform,
    crop_size,
    filled_fraction,
    render,
    shrinking_blur,
)


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How to measure; the defaults are those of `probe`.

    Attributes:
        methods: Which of `METHODS`.
        crop: Side of the square that the model sees, in pixels; the images by default.
        mean: Taken off the pixel values after the transform, by channel.
        std: Divisor after that, by channel.
        fill: Pixel value where a transform shows what the canvas lacks, before normalisation, by
            channel; the mean by default.
        device: ``"auto"`` (a CUDA device if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:K"``.
        dtype: ``"float32"`` or ``"float64"``.
        batch_size: Images in one forward pass, originals and transformed ones together.
        seed: Root of all random choices (pairing of unrelated images, bootstrap).
        margin: Distance that compared positions keep from the maps' outer edges, in cells.
        search: How thoroughly to search for the best affine warp.
    """

    methods: tuple[str, ...] = METHODS
    crop: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fill: tuple[float, ...] | None = None
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int = 16
    seed: int = 0
    margin: float = regions.DEFAULT_MARGIN
    search: SearchOptions = field(default_factory=SearchOptions)


def probe(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"] | ImageSource,
    *,
    layers: str | Sequence[str],
    transforms: Sequence[Transform],
    methods: Sequence[str] = METHODS,
    crop: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    fill: float | Sequence[float] | None = None,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int = 16,
    seed: int = 0,
    margin: float = regions.DEFAULT_MARGIN,
    search: SearchOptions | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    name: str | None = None,
) -> results.ProbeResult:
    """Measure how far a spatial warp re-aligns a model's maps after its input was transformed.

    Images are read twice: once for the mean of each channel, once for the measurement; only the
    table grows with their number. On the CPU the same seed gives the same table; the last digits
    may change with `batch_size`, as convolutions choose their kernels by the size of the batch.

    Args:
        model: Any module; it is left as it was found.
        images: Images of one size, at least the crop; larger ones spare the transforms from
            inventing what enters at the border.
        layers: Names or patterns, see `features.select_layers`.
        transforms: What is done to the input.
        methods: Which of `METHODS`.
        crop: Side of the square that the model sees, in pixels; the images by default.
        mean: Taken off the pixel values after the transform, one value or one a channel.
        std: Divisor after that, one value or one a channel.
        fill: Pixel value where a transform shows what the images lack, before normalisation; `mean`
            by default, or 0.
        device: ``"auto"`` (a CUDA device if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:K"``.
        dtype: ``"float32"`` or ``"float64"``.
        batch_size: Images in one forward pass, originals and transformed ones together.
        seed: Root of all random choices (pairing of unrelated images, bootstrap).
        margin: Distance that compared positions keep from the maps' outer edges, in cells.
        search: How thoroughly to search for the best affine warp.
        out: Folder to write the run to; nothing is written by default.
        progress: Whether to show progress and time left on stderr, if that is a terminal.
        name: What to call the model in the table; its class by default.

    Returns:
        The table, with what is needed to read and to draw it.

    Raises:
        InvalidInputError: If anything given cannot be used; nothing is written then.
    """  # noqa: DOC502  (raised by what it calls)
    options = ProbeOptions(
        methods=tuple(methods),
        crop=crop,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        fill=(fill,) if isinstance(fill, int | float) else None if fill is None else tuple(fill),
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        seed=seed,
        margin=margin,
        search=search or SearchOptions(),
    )
    target = results.check_out(out)
    source = TensorImages(images) if isinstance(images, Tensor) else images
    _check(source, transforms, options)
    began = time.monotonic()
    place = _device(device)
    real = {"float32": torch.float32, "float64": torch.float64}[dtype]
    patterns = [layers] if isinstance(layers, str) else list(layers)
    with (
        _placed(model, place, real),
        hooks.evaluating(model),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        Progress(progress) as bar,
    ):
        run = _Run(model, source, patterns, transforms, options, place, real)
        run.measure(bar)
    config = {
        "model": name or type(model).__name__,
        "layers": [layer.name for layer in run.layers],
        "transforms": [repr(transform) for transform in transforms],
        "images": list(source.names),
        "canvas": list(run.canvas),
        **asdict(options),
        "device": str(place),
    }
    result = results.assemble(
        run.blocks,
        config=config,
        layers=run.layers,
        transforms=transforms,
        region_frac=run.region_frac,
        filled_frac=run.filled,
        strips=run.strips,
        wall_time=time.monotonic() - began,
    )
    if target is not None:
        result.save(target)
    return result


def _check(source: ImageSource, moves: Sequence[Transform], options: ProbeOptions) -> None:
    unknown = [method for method in options.methods if method not in METHODS]
    if unknown or not options.methods:
        raise InvalidInputError(
            f"methods={list(options.methods)}: choose from {', '.join(METHODS)}"
        )
    if len(source) == 0:
        raise InvalidInputError("there are no images; give at least one")
    if not moves:
        raise InvalidInputError("there are no transforms; give at least one")
    if options.dtype not in {"float32", "float64"}:
        raise InvalidInputError(f"dtype={options.dtype!r}: choose float32 or float64")
    if options.batch_size < 1:
        raise InvalidInputError(f"batch_size={options.batch_size}: give at least 1")
    if options.margin < 0:
        raise InvalidInputError(f"margin={options.margin:g}: give 0 or more cells")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidInputError(f"device={name!r}: choose auto, cpu, cuda or cuda:K") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not torch.cuda.is_available() or (device.index or 0) >= count:
            raise InvalidInputError(
                f"device={name!r} is not there ({count} CUDA devices); use --device cpu or auto"
            )
    elif device.type != "cpu":
        raise InvalidInputError(f"device={name!r}: choose auto, cpu, cuda or cuda:K")
    return device


@contextmanager
def _placed(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Move a model to a device and type, and back."""
    tensors = (*model.parameters(), *model.buffers())
    home = next(((t.device, t.dtype) for t in tensors if t.is_floating_point()), None)
    model.to(device=device, dtype=dtype)
    try:
        yield
    finally:
        if home is not None:
            model.to(device=home[0], dtype=home[1])


PAIRS_AT_ONCE = 64
"""Images and transformed images whose maps are held in memory together."""


class _Run:
    """One probe under way: what is fixed for it, and the blocks of results so far."""

    def __init__(
        self,
        model: nn.Module,
        source: ImageSource,
        patterns: list[str],
        moves: Sequence[Transform],
        options: ProbeOptions,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.source, self.moves, self.options = model, source, moves, options
        self.device, self.dtype = device, dtype
        first = source[0]
        self.canvas = (first.shape[-2], first.shape[-1])
        self.size = crop_size(options.crop, *self.canvas)
        channels = first.shape[0]
        self.mean = self._by_channel("mean", options.mean, 0.0, channels)
        self.std = self._by_channel("std", options.std, 1.0, channels)
        self.fill = self._by_channel("fill", options.fill or options.mean, 0.0, channels)
        self.layers = self._find_layers(first, patterns)
        self.filled = [filled_fraction(move, self.canvas, options.crop) for move in moves]
        self.views = {layer.name: self._view(layer) for layer in self.layers}
        self.region_frac = [
            view.region.double().mean((1, 2)).tolist() for view in self.views.values()
        ]
        self.blocks: list[results.Block] = []
        self.strips: list[results.Strip] = []
        self.order = results.generator(options.seed, "order").permutation(len(source)).tolist()

    def _by_channel(
        self, name: str, values: tuple[float, ...] | None, default: float, channels: int
    ) -> Tensor:
        given = (default,) if values is None else values
        if len(given) not in {1, channels}:
            raise InvalidInputError(
                f"{name}={list(given)}: give one value, or one for each of the {channels} channels"
            )
        return torch.tensor(given, device=self.device, dtype=self.dtype).view(1, -1, 1, 1)

    def _find_layers(self, first: Tensor, patterns: list[str]) -> list[features.Layer]:
        image = next(self._render(first[None].to(self.device, self.dtype), [_STAY]))
        try:
            return features.find_layers(self.model, image, patterns)
        except InvalidInputError:
            raise
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            raise InvalidInputError(
                f"the model refuses an image of shape {tuple(image.shape[1:])}: {first_line}"
            ) from error

    def _view(self, layer: features.Layer) -> "_View":
        """Where the layer's maps are compared, for each transform."""
        oracle = torch.stack([layer.oracle(move.matrix, *self.size) for move in self.moves])
        oracle = oracle.to(self.device)
        region = regions.visible(oracle, layer.height, layer.width, self.options.margin)
        return _View(layer=layer, oracle=oracle, region=region)

    def _render(self, canvases: Tensor, moves: Sequence[Transform]) -> Iterator[Tensor]:
        """Transform canvases, cut the crop out, normalise."""
        fill = self.fill.flatten().tolist()
        for moved in render(canvases, moves, crop=self.options.crop, fill=fill):
            yield (moved - self.mean) / self.std

    def _canvases(self, numbers: Sequence[int]) -> Tensor:
        loaded = [self.source[i] for i in numbers]
        for i, image in zip(numbers, loaded, strict=True):
            if tuple(image.shape[-2:]) != self.canvas:
                raise InvalidInputError(
                    f"image {self.source.names[i]!r} is {tuple(image.shape[-2:])} pixels, the "
                    f"first one {self.canvas}; give images of one size"
                )
        return torch.stack(loaded).to(self.device, self.dtype)

    def _forward(self, images: Tensor) -> dict[str, Tensor]:
        """Tap all layers, in passes of at most the batch size."""
        parts = [
            features.tap(self.model, part, self.layers)
            for part in torch.split(images, self.options.batch_size)
        ]
        return {layer.name: torch.cat([p[layer.name] for p in parts]) for layer in self.layers}

    def _refuse_non_finite(self, maps: Tensor, layer: str, numbers: Sequence[int]) -> None:
        finite = maps.flatten(1).isfinite().all(1).tolist()
        if not all(finite):
            name = self.source.names[numbers[finite.index(False) % len(numbers)]]
            raise InvalidInputError(
                f"layer {layer!r}: image {name!r} gives NaN or infinite activations; check the "
                "weights and the image, or use --dtype float64"
            )

    def measure(self, bar: Progress) -> None:
        """Run both passes over the images."""
        moves = len(self.moves) + 1
        bar.start(len(self.source) * (moves + 1))
        for numbers in _chunks(self.order, self.options.batch_size):
            maps = self._forward(next(self._render(self._canvases(numbers), [_STAY])))
            for name, view in self.views.items():
                self._refuse_non_finite(maps[name], name, numbers)
                view.add_to_mean(maps[name])
            bar.advance(len(numbers))
        last: dict[str, Tensor] = {}
        opening: dict[str, Tensor] = {}
        # enough pairs for the search to work on many at once
        for numbers in _chunks(self.order, max(1, PAIRS_AT_ONCE // moves)):
            images = torch.cat(list(self._render(self._canvases(numbers), [_STAY, *self.moves])))
            maps = self._forward(images)
            shown = None
            if 0 in numbers:
                shown = images[[i * len(numbers) + numbers.index(0) for i in range(moves)]]
            for name, view in self.views.items():
                self._refuse_non_finite(maps[name], name, numbers)
                reference, moved = maps[name][: len(numbers)], maps[name][len(numbers) :]
                moved = moved.reshape(len(self.moves), len(numbers), *moved.shape[1:])
                before = last.get(name)
                last[name] = moved[:, -1:].clone()
                opening.setdefault(name, reference[:1].clone())
                for group in _chunks(range(len(self.moves)), _transforms_at_once(reference)):
                    pairs = _Pairs(view, group, numbers, reference, moved[group])
                    found = self._compare(pairs)
                    if "unrelated" in self.options.methods:
                        self._compare_with_previous(pairs, before)
                    if shown is not None:
                        self._keep_strips(pairs, found, shown)
            bar.advance(moves * len(numbers))
        if "unrelated" in self.options.methods:
            for name, view in self.views.items():
                # the first image has no predecessor: its partner is the last one
                everything = range(len(self.moves))
                self._compare_unrelated(
                    _Pairs(view, everything, self.order[:1], opening[name], last[name])
                )

    def _compare(self, pairs: "_Pairs") -> Tensor:
        """Apply all methods but ``unrelated``; return the warps of ``affine`` (or the oracle's)."""
        methods, mode = self.options.methods, self.options.search.mode
        identity = torch.eye(2, 3).to(pairs.oracle).expand_as(pairs.oracle)
        if "affine" in methods:
            found = align_with(pairs.target, pairs.moved, pairs.oracle, self.options.search)
            scores = {"identity": found.identity, "oracle": found.oracle}
            self._add(pairs, "affine", found.scores, found.theta, found)
        else:
            found = None
            scores = {
                "identity": pairs.score(pairs.moved),
                "oracle": pairs.score(geometry.warp(pairs.moved, pairs.oracle, mode=mode)),
            }
        for method, theta in (("identity", identity), ("oracle", pairs.oracle)):
            if method in methods:
                self._add(pairs, method, scores[method], theta)
        if "floor" in methods:
            back = geometry.warp(pairs.sent(mode), pairs.oracle, mode=mode)
            self._add(pairs, "floor", pairs.score(back), pairs.oracle)
        return pairs.oracle if found is None else found.theta

    def _compare_with_previous(self, pairs: "_Pairs", before: Tensor | None) -> None:
        """Compare each reference with the moved map of the image before it."""
        count = len(pairs.numbers)
        moved = pairs.moved.reshape(len(pairs.group), count, *pairs.moved.shape[1:])
        reference = pairs.reference[:count]
        if before is None:
            if count > 1:
                self._compare_unrelated(
                    _Pairs(pairs.view, pairs.group, pairs.numbers[1:], reference[1:], moved[:, :-1])
                )
            return
        shifted = torch.cat([before[pairs.group], moved[:, :-1]], dim=1)
        self._compare_unrelated(
            _Pairs(pairs.view, pairs.group, pairs.numbers, reference, shifted, pairs.target)
        )

    def _compare_unrelated(self, pairs: "_Pairs") -> None:
        """Compare references with the oracle-warped maps of other images."""
        if len(self.source) == 1:
            blank = torch.full((len(pairs.oracle),), torch.nan, dtype=torch.float64)
            scores = metrics.Scores(fvu=blank, rel_l2=blank, cosine=blank)
            self._add(pairs, "unrelated", scores, pairs.oracle, reason="one_image")
            return
        warped = geometry.warp(pairs.moved, pairs.oracle, mode=self.options.search.mode)
        self._add(pairs, "unrelated", pairs.score(warped), pairs.oracle)

    def _add(
        self,
        pairs: "_Pairs",
        method: str,
        scores: metrics.Scores,
        theta: Tensor,
        found: Alignment | None = None,
        reason: str = "",
    ) -> None:
        """Keep the scores of one method."""
        if found is not None:
            outcome, n_iter = [o.name.lower() for o in found.outcome], found.n_iter.tolist()
        else:
            seen = pairs.region.flatten(1).any(1).tolist()
            outcome = [
                (reason or ("constant" if s else "empty_region")) if undefined else ""
                for undefined, s in zip(scores.fvu.isnan().tolist(), seen, strict=True)
            ]
            n_iter = [0] * len(outcome)
        self.blocks.append(
            results.Block(
                layer=self.layers.index(pairs.view.layer),
                method=method,
                images=list(pairs.numbers) * len(pairs.group),
                transforms=[t for t in pairs.group for _ in pairs.numbers],
                values=torch.stack([getattr(scores, m) for m in metrics.METRICS], dim=1).cpu(),
                theta=theta.flatten(1).cpu(),
                outcome=outcome,
                n_iter=n_iter,
            )
        )

    def _keep_strips(self, pairs: "_Pairs", theta: Tensor, shown: Tensor) -> None:
        """Keep what the picture of the maps shows: image 0 under one transform of each family."""
        for number in set(pairs.group) & set(results.shown_transforms(self.moves)):
            pair = pairs.group.index(number) * len(pairs.numbers) + pairs.numbers.index(0)
            one = slice(pair, pair + 1)
            reference, moved = pairs.reference[one], pairs.moved[one]
            strongest = reference[0].flatten(1).std(1).argsort(descending=True)[:2]
            stages = [
                reference,
                moved,
                geometry.warp(moved, pairs.oracle[one]),
                geometry.warp(moved, theta[one]),
            ]
            self.strips.append(
                results.Strip(
                    layer=pairs.view.layer.name,
                    transform=number,
                    channels=strongest.tolist(),
                    maps=torch.cat(stages)[:, strongest].cpu().numpy(),
                    region=pairs.region[pair].cpu().numpy(),
                    images=(shown[[0, number + 1]] * self.std + self.mean).cpu().numpy(),
                )
            )


_STAY = Rotation(0)


class _View:
    """One layer of a run: oracle warps, regions and channel means, one for each transform."""

    def __init__(
        self,
        *,
        layer: features.Layer,
        oracle: Float[Tensor, "transform 2 3"],
        region: Bool[Tensor, "transform height width"],
    ) -> None:
        self.layer, self.oracle, self.region = layer, oracle, region
        self._total: Tensor | None = None
        self._count = 0

    def add_to_mean(self, maps: Tensor) -> None:
        """Take reference maps into the channel means."""
        flat = maps.flatten(2).double().sum(0)  # the mean over images is all that is needed
        total = self.region.flatten(1).double() @ flat.T
        self._total = total if self._total is None else self._total + total
        self._count += len(maps)

    @property
    def mean(self) -> Tensor:
        """Channel means over the region, (transform, channel)."""
        assert self._total is not None
        cells = self.region.flatten(1).sum(1, keepdim=True).clamp(min=1)
        return self._total / (cells * self._count)


class _Pairs:
    """References and moved maps of some images under some transforms, ordered (transform, image).

    Args:
        view: The layer they are of.
        group: Numbers of the transforms.
        numbers: Numbers of the images.
        reference: Their maps, (image, channel, height, width).
        moved: Maps to compare them with, (transform, image, channel, height, width).
        target: The references prepared for scoring, if they have been already.
    """

    def __init__(
        self,
        view: _View,
        group: Sequence[int],
        numbers: Sequence[int],
        reference: Tensor,
        moved: Tensor,
        target: metrics.Target | None = None,
    ) -> None:
        self.view, self.group, self.numbers = view, list(group), list(numbers)
        self.reference = reference.expand(len(group), *reference.shape).flatten(0, 1)
        self.moved = moved.flatten(0, 1)
        self.oracle, self.region, mean = (
            each[self.group].repeat_interleave(len(numbers), dim=0)
            for each in (view.oracle, view.region, view.mean)
        )
        self.target = target or metrics.Target(self.reference, self.region, mean)

    def sent(self, mode: str) -> Tensor:
        """Do to the references, at the layer's resolution, what was done to the images."""
        height, width = self.reference.shape[-2:]
        count = len(self.numbers)
        inverse = torch.linalg.inv(geometry.homogeneous(self.oracle))[:, :2]
        pull_back = geometry.index_matrix_from_theta(inverse, height, width)[:, :2, :2].cpu()
        sharp = self.reference
        for i in range(0, len(sharp), count):
            blur = shrinking_blur(pull_back[i])
            if blur is not None:
                sharp = sharp.clone() if sharp is self.reference else sharp
                sharp[i : i + count] = geometry.blurred(self.reference[i : i + count], blur)
        return geometry.warp(sharp, inverse, mode=mode)

    def score(self, warped: Tensor) -> metrics.Scores:
        """Compare warped maps with the references."""
        return self.target.score(warped)


def _transforms_at_once(reference: Tensor) -> int:
    """Transforms compared together, so that a copy of their maps stays within about 32 MB."""
    return max(1, 2**25 // (reference.numel() * reference.element_size()))


def _chunks(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
