"""Images x transforms x layers x methods: the measurement itself, streamed over the images."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.alignment.search import SearchOptions
from invariance_probe.data.pictures import ImageSource, TensorImages
from invariance_probe.errors import InvalidInputError
from invariance_probe.files import check_out
from invariance_probe.machine import pick_device
from invariance_probe.network import hooks
from invariance_probe.plane import regions, sampling
from invariance_probe.plane.transforms import Transform
from invariance_probe.probing.crossfit import JOINT_ROUNDS, CrossFit
from invariance_probe.probing.options import ProbeOptions, values_by_channel
from invariance_probe.probing.pairs import Pairs, Predecessors, View, compare, strips, unknown
from invariance_probe.probing.passes import Chunk, Reader, placed
from invariance_probe.results import result as results
from invariance_probe.results.methods import DEFAULT_METHODS, warp_and_kind
from invariance_probe.results.records import Block, Strip
from invariance_probe.terminal import Progress


def probe(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"] | ImageSource,
    *,
    layers: str | Sequence[str],
    transforms: Sequence[Transform],
    methods: Sequence[str] = DEFAULT_METHODS,
    crop: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    fill: float | Sequence[float] | None = None,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int = 16,
    seed: int = 0,
    antialias: bool = True,
    margin: float = regions.DEFAULT_MARGIN,
    search: SearchOptions | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    name: str | None = None,
) -> results.ProbeResult:
    """Measure how far a spatial warp re-aligns a model's maps after its input was transformed.

    Images are read twice, once for the mean of each channel and once for the measurement, and once
    more if channels are mixed; memory does not grow with their number, but for the table. On the
    CPU the same seed gives the same table; the last digits
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
        seed: Root of all random choices (pairing of unrelated images, intervals).
        antialias: Whether content is blurred before it shrinks; if not, aliasing is charged to the
            network.
        margin: Distance that compared positions keep from the maps' outer edges, in cells.
        search: How thoroughly to search for the best affine warp.
        out: Folder to write the run to; nothing is written by default.
        progress: Whether to show progress and time left on stderr, if that is a terminal.
        name: What to call the model in the table; its class by default.

    Returns:
        The table, with what is needed to read and to draw it.

    Raises:
        InvalidInputError: If anything given cannot be used; nothing is written then.
    """
    options = ProbeOptions(
        methods=tuple(methods),
        crop=crop,
        mean=values_by_channel(mean),
        std=values_by_channel(std),
        fill=values_by_channel(fill),
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        seed=seed,
        antialias=antialias,
        margin=margin,
        search=search or SearchOptions(),
    )
    target = check_out(out)
    source = TensorImages(images) if isinstance(images, Tensor) else images
    if len(source) == 0:
        raise InvalidInputError("there are no images; give at least one")
    if not transforms:
        raise InvalidInputError("there are no transforms; give at least one")
    began = time.monotonic()
    patterns = [layers] if isinstance(layers, str) else list(layers)
    with (
        placed(model, pick_device(options.device), options.real),
        hooks.evaluating(model),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        Progress(progress) as bar,
    ):
        again = any(warp_and_kind(method)[1] for method in options.methods)
        reader = Reader(model, source, patterns, transforms, options, keep=again)
        run = _Run(reader, transforms, options)
        run.measure(bar)
    config = {
        "model": name or type(model).__name__,
        "layers": [layer.name for layer in reader.layers],
        "transforms": [repr(transform) for transform in transforms],
        "images": list(source.names),
        "partners": reader.partners,
        "canvas": list(reader.canvas),
        **asdict(options),
        "device": str(reader.device),
    }
    result = results.assemble(
        run.blocks,
        config=config,
        layers=reader.layers,
        transforms=transforms,
        region_frac=[view.region.double().mean((1, 2)).tolist() for view in run.views.values()],
        filled_frac=reader.filled,
        strips=run.strips,
        permutations=run.mixings.permutations(),
        wall_time=time.monotonic() - began,
    )
    if target is not None:
        result.save(target)
    return result


class _Run:
    """One probe under way: what is fixed for it, and the rows so far."""

    def __init__(self, reader: Reader, moves: Sequence[Transform], options: ProbeOptions) -> None:
        self.reader, self.moves, self.options = reader, moves, options
        self.views = {
            layer.name: View(layer, moves, reader.size, options.margin, reader.device)
            for layer in reader.layers
        }
        self.mixings = CrossFit(self.views, options.methods, reader.order, options.search)
        self.blocks: list[Block] = []
        self.strips: list[Strip] = []
        self._found: dict[tuple[str, int, int], Tensor] = {}
        self._single = len(reader.order) == 1

    def measure(self, bar: Progress) -> None:
        """Read the images as often as the methods ask."""
        images, views = len(self.reader.order), len(self.moves) + 1
        again = self.mixings.folds >= 2
        bar.start(images * (views * (1 + again) + 1))
        for numbers, maps in self.reader.originals():
            for name, view in self.views.items():
                view.add_to_mean(maps[name])
            bar.advance(len(numbers))
        self._read(self._look, self._look_at_unrelated, bar)
        if again:
            self.mixings.fit()
            self._take_turns()
            self._read(self._score, self._score_unrelated, bar)

    def _read(
        self,
        related: Callable[[Pairs, Chunk], None],
        unrelated: Callable[[Pairs], None],
        bar: Progress,
    ) -> None:
        """Go through all pairs of an image and itself, and of an image and the one before it."""
        before = Predecessors()
        asked = any(warp_and_kind(method)[0] == "unrelated" for method in self.options.methods)
        for chunk in self.reader.chunks():
            for view in self.views.values():
                for pairs in view.pairs(chunk):
                    related(pairs, chunk)
                for pairs in before.pairs(view, chunk) if asked else ():
                    unrelated(pairs)
            bar.advance(len(chunk.numbers) * (len(self.moves) + 1))
        for view in self.views.values() if asked else ():
            unrelated(before.closing(view))

    def _look(self, pairs: Pairs, chunk: Chunk) -> None:
        """Apply the methods that look at a pair alone, and collect what mixings are fitted to."""
        warps, methods = self.mixings.warps, self.options.methods
        needed = [*methods, "affine"] if "affine" in warps else methods
        blocks, theta = compare(pairs, needed, self.options)
        self.blocks += [block for block in blocks if block.method in methods]
        if self._single:
            self.blocks += self.mixings.undefined(pairs)
        if "oracle" in warps:
            self.mixings.collect("oracle", pairs, pairs.oracle)
        if "affine" in warps:
            self.mixings.collect("affine", pairs, theta)
            for key, one in zip(self._keys(pairs), theta, strict=True):
                self._found[key] = one
        if chunk.shown is not None:
            self.strips += strips(pairs, theta, self.moves, chunk.shown)

    def _look_at_unrelated(self, pairs: Pairs) -> None:
        """Compare references with the oracle-warped maps of other images."""
        if "unrelated" in self.options.methods:
            self.blocks.append(self._unrelated(pairs))
        if "unrelated" in self.mixings.warps:
            self.mixings.collect("unrelated", pairs, pairs.oracle)

    def _unrelated(self, pairs: Pairs) -> Block:
        if self._single:
            count = len(pairs.oracle)
            outcome = ["one_image"] * count
            return pairs.block("unrelated", unknown(count), pairs.oracle, outcome=outcome)
        warped = sampling.warp(pairs.moved, pairs.oracle, mode=self.options.search.mode)
        return pairs.block("unrelated", pairs.target.score(warped), pairs.oracle)

    def _take_turns(self) -> None:
        """Let warp and mixing be found in turns, until neither gains."""
        for _ in range(JOINT_ROUNDS if self.mixings.joint else 0):
            for chunk in self.reader.chunks():
                for view in self.views.values():
                    for pairs in view.pairs(chunk):
                        for method in self.mixings.joint:
                            _, theta = self.mixings.search_again(method, pairs)
                            self.mixings.collect(method, pairs, theta)
            if not self.mixings.turn():
                break

    def _score(self, pairs: Pairs, chunk: Chunk) -> None:
        """Score mixings on images that they were not fitted to."""
        del chunk
        self.blocks += self.mixings.score("oracle", pairs, pairs.oracle)
        if "affine" in self.mixings.warps:
            theta = torch.stack([self._found[key] for key in self._keys(pairs)])
            self.blocks += self.mixings.score("affine", pairs, theta)
        self.blocks += [self.mixings.score_joint(method, pairs) for method in self.mixings.joint]

    def _score_unrelated(self, pairs: Pairs) -> None:
        self.blocks += self.mixings.score("unrelated", pairs, pairs.oracle)

    @staticmethod
    def _keys(pairs: Pairs) -> Iterator[tuple[str, int, int]]:
        name = pairs.view.layer.name
        return ((name, move, image) for move in pairs.group for image in pairs.numbers)
