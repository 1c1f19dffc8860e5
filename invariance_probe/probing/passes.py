"""Images, transformed, through the model: the maps of a run, some images at a time."""

import hashlib
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from invariance_probe.alignment import metrics
from invariance_probe.data.pictures import ImageSource
from invariance_probe.errors import InvalidInputError, UnmeasuredLayerWarning
from invariance_probe.errors.checks import check_device, check_tensor
from invariance_probe.machine import in_order, side_by_side
from invariance_probe.network import copies, features, hooks
from invariance_probe.plane import coordinates, sampling
from invariance_probe.plane.rendering import crop_size, filled_fraction, render
from invariance_probe.plane.transforms import Rotation, Transform
from invariance_probe.probing import duplicates
from invariance_probe.probing.options import ProbeOptions, by_channel
from invariance_probe.results.methods import Method
from invariance_probe.results.notes import assumed_places
from invariance_probe.results.strips import shrinking
from invariance_probe.statistics import numpy_generator

PAIRS_AT_ONCE = 64
"""Images and transformed images whose maps are held in memory together."""
CACHE_BYTES = 2**30
"""Maps kept for a second reading of the images; those of further images are computed anew."""
SHARDS = 64
"""Parts at most that the images fall into, each of which a process of its own can read."""
CHUNKS = 8
"""Chunks of images in a shard, at least: fewer images stay together in one."""

ROUNDING = 1e-4
"""Part of a map's largest value by which another order of float additions may move its values."""

_STAY = Rotation(0)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Maps of some images.

    Attributes:
        numbers: Numbers of the images.
        reference: Maps of the images as they are, by layer.
        moved: Maps of the transformed images, by layer.
        shown: Pixel values of the images that are shown, as they are and under each transform.
        returned: Maps of the images that were transformed and warped back before the model saw
            them, by layer; none unless the method ``input`` is asked for.
    """

    numbers: list[int]
    reference: Mapping[str, Float[Tensor, "image channel height width"]]
    moved: Mapping[str, Float[Tensor, "transform image channel height width"]]
    shown: Mapping[int, Float[Tensor, "view colour crop_height crop_width"]]
    returned: Mapping[str, Float[Tensor, "transform image channel height width"]] = field(
        default_factory=dict
    )

    @property
    def bytes(self) -> int:
        """Memory that the maps take."""
        maps = (*self.reference.values(), *self.moved.values(), *self.returned.values())
        return sum(each.numel() * each.element_size() for each in maps)


class Inputs:
    """What a model is given: images as they are and transformed, cropped and normalised.

    Args:
        source: The images.
        moves: What is done to them.
        options: How to measure.

    Attributes:
        canvas: Height and width of the images.
        size: Height and width of what the model sees.
        mean: Taken off the pixel values, by channel.
        std: Divisor after that, by channel.
        fill: Pixel values where content is missing, by channel.
        first: The first image, which was read to learn their size.

    Raises:
        InvalidInputError: If the images and the options do not fit together.
    """

    def __init__(
        self, source: ImageSource, moves: Sequence[Transform], options: ProbeOptions
    ) -> None:
        self.source, self.moves, self.options = source, moves, options
        self.device, self.dtype = check_device(options.device), options.real
        self.first = first = source[0]
        check_tensor(f"image {source.names[0]!r}", first, "channel", "height", "width")
        if not first.numel():
            raise InvalidInputError(f"images of shape {tuple(first.shape)} hold no pixel")
        self.canvas = (first.shape[-2], first.shape[-1])
        self.size = crop_size(options.crop, *self.canvas)
        for move in moves:
            # maps are blurred as far as content shrinks, and padded by as much
            if float(torch.linalg.svdvals(move.matrix[:2, :2]).min()) * min(self.canvas) < 2:
                raise InvalidInputError(
                    f"{move!r} shrinks images of {self.canvas[0]} x {self.canvas[1]} pixels to "
                    "less than two; use a weaker transform, or larger images"
                )
        channels = first.shape[0]
        self.mean = self._by_channel("mean", options.mean, 0.0, channels)
        self.std = self._by_channel("std", options.std, 1.0, channels)
        self.fill = self._by_channel("fill", options.filled, 0.0, channels)
        self.checks = torch.full((len(source),), -1)
        index_from_centred = coordinates.index_from_centred(*self.size)
        self._undo = torch.stack([
            coordinates.theta_from_index_matrix(
                index_from_centred @ move.matrix @ index_from_centred.inverse(), *self.size
            )
            for move in moves
        ]).to(self.device)

    def _by_channel(
        self, name: str, values: float | Sequence[float] | None, default: float, channels: int
    ) -> Tensor:
        given = by_channel(default if values is None else values)
        if len(given) not in {1, channels}:
            raise InvalidInputError(
                f"{name}={list(given)}: give one value, or one for each of the {channels} channels"
            )
        return torch.tensor(given, device=self.device, dtype=self.dtype).view(1, -1, 1, 1)

    def inputs(
        self, numbers: Sequence[int]
    ) -> Float[Tensor, "view image colour crop_height crop_width"]:
        """Make what the model is given.

        Args:
            numbers: Numbers of some images.

        Returns:
            These images, normalised: as they are, then under each transform.
        """
        return torch.stack(list(self._render(self._canvases(numbers), [_STAY, *self.moves])))

    def returned(
        self,
        moved: Float[Tensor, "transform image colour crop_height crop_width"],
        group: Sequence[int],
    ) -> Float[Tensor, "transform image colour crop_height crop_width"]:
        """Warp transformed images back, as a transformer of the input does that knows the motion.

        Args:
            moved: Images under some transforms.
            group: Numbers of these transforms.

        Returns:
            The images, read by the sampler of the maps; what left the crop is lost.
        """
        undo = self._undo[list(group)].repeat_interleave(moved.shape[1], dim=0)
        back = sampling.warp(moved.flatten(0, 1), undo, mode=self.options.search.mode)
        return back.reshape(moved.shape)

    def _render(self, canvases: Tensor, moves: Sequence[Transform]) -> Iterator[Tensor]:
        """Transform canvases, cut the crop out, normalise."""
        options, fill = self.options, self.fill.flatten().tolist()
        matrices = [move.matrix for move in moves]
        for moved in render(
            canvases, matrices, crop=options.crop, fill=fill, antialias=options.antialias
        ):
            yield (moved - self.mean) / self.std

    def _canvases(self, numbers: Sequence[int]) -> Tensor:
        return torch.stack(list(map(self._load, numbers))).to(self.device, self.dtype)

    def _load(self, number: int) -> Tensor:
        """Read an image, which must be the same each time."""
        image, name = self.source[number], self.source.names[number]
        if tuple(image.shape[-2:]) != self.canvas:
            raise InvalidInputError(
                f"image {name!r} is {tuple(image.shape[-2:])} pixels, the first one {self.canvas}; "
                "give images of one size"
            )
        flat = image.detach().cpu().contiguous().flatten().view(torch.uint8)
        check = zlib.crc32(flat.numpy().data)
        if int(self.checks[number]) not in {-1, check}:
            raise InvalidInputError(
                f"image {name!r} is another one than when it was first read; leave out random "
                "augmentation, and files alone while a run goes on"
            )
        self.checks[number] = check
        return image


class ForwardPasses(Inputs):
    """Passes images, in a seeded order, through the model as they are and transformed.

    Args:
        model: The model, in place and in evaluation mode.
        source: The images.
        patterns: Names or patterns of layers.
        moves: What is done to the input.
        options: How to measure.
        keep: Whether the transformed images will be read more than once.
        whole: Whether the model is also run to its end, whose layers were not tried out with images
            that lie otherwise in memory; the images then stay together in one shard.

    Raises:
        InvalidInputError: If the model, the images and the options do not fit together.
    """

    def __init__(
        self,
        model: nn.Module,
        source: ImageSource,
        patterns: Sequence[str],
        moves: Sequence[Transform],
        options: ProbeOptions,
        *,
        keep: bool,
        whole: bool = False,
    ) -> None:
        super().__init__(source, moves, options)
        self.model = model
        image = next(self._render(self.first[None].to(self.device, self.dtype), [_STAY]))
        self.layers = self._find_layers(image, list(patterns))
        self._format = torch.contiguous_format if whole else self._quickest_format(image)
        self._most = 1 if whole else SHARDS
        if self.unmeasured:
            warnings.warn(assumed_places(self.unmeasured), UnmeasuredLayerWarning, stacklevel=3)
        self.filled = [filled_fraction(move.matrix, self.canvas, options.crop) for move in moves]
        self.shuffled = numpy_generator(options.seed, "order").permutation(len(source)).tolist()
        self.patterns = torch.full((len(source), duplicates.SIDE**2), torch.nan)
        self._keep, self._room = keep, CACHE_BYTES
        self._kept: dict[int, Chunk] = {}
        self._originals: dict[int, dict[str, Tensor]] = {}
        self._anew: dict[int, dict[str, Tensor]] = {}
        self._twins: list[nn.Module] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave maps out, as another process makes those of its images."""
        without = {"_kept": {}, "_originals": {}, "_anew": {}, "_room": CACHE_BYTES, "_twins": []}
        # a memory format is pickled as `torch.NAME` of whatever module holds torch, even a script
        return vars(self) | without | {"_format": self._format == torch.channels_last}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the format from whether it is the one or the other."""
        last = state["_format"]
        vars(self).update(state, _format=torch.channels_last if last else torch.contiguous_format)

    @property
    def unmeasured(self) -> list[str]:
        """Names of layers whose cells are taken to cover the input evenly."""
        return [layer.name for layer in self.layers if not layer.measured]

    @cached_property
    def groups(self) -> list[int]:
        """Group of near duplicates of each image; images that were not yet read are read for it."""
        for number in self.shuffled:
            if self.patterns[number].isnan().any():
                self.patterns[number] = duplicates.pattern(self._load(number))
        found = duplicates.near_duplicates(self.patterns)
        self.patterns = torch.empty(0)  # 4 KB an image, and of no more use
        return found

    @cached_property
    def order(self) -> list[int]:
        """Numbers of the images as chunks bring them, near duplicates apart."""
        return duplicates.apart(self.shuffled, self.groups)

    @property
    def pixels(self) -> str:
        """Digest of the images' content; images that were not yet read are read for it."""
        for number in (self.checks < 0).nonzero().flatten().tolist():
            self._load(number)
        return hashlib.blake2b(self.checks.numpy().tobytes(), digest_size=16).hexdigest()

    @property
    def partners(self) -> list[int | None]:
        """For each image the number of the one that it is compared with as an unrelated one.

        That is the one before it in its shard, the last one for the first. None where that would be
        the image itself or a near duplicate.
        """
        before: dict[int, int] = {}
        for places in self.shards:
            some = [self.order[place] for place in places]
            before |= zip(some, [some[-1], *some[:-1]], strict=True)
        groups = self.groups
        return [
            before[i] if groups[before[i]] != groups[i] else None for i in range(len(self.order))
        ]

    def _find_layers(self, image: Tensor, patterns: list[str]) -> list[features.Layer]:
        with features.forwarding(image):
            layers = features.find_layers(self.model, image, patterns)
            self._unsteady = hooks.unsteady(self.model, image)
        self.refuse_unsteady({hooks.Key(each.module, each.call, each.path) for each in layers})
        return layers

    def refuse_unsteady(self, wanted: Set[hooks.Key]) -> None:
        """Stop where the same image does not give the same twice.

        Args:
            wanted: What is to be measured.

        Raises:
            InvalidInputError: If it differs between two passes.
        """
        if wanted.isdisjoint(self._unsteady):
            return
        first = self._unsteady[0].module or "(model)"
        raise InvalidInputError(
            f"the model is not deterministic: layer {first!r} answers the same image otherwise the "
            "second time (dropout, random numbers or a counter in forward?); leave that out"
        )

    def _quickest_format(self, image: Tensor) -> torch.memory_format:
        """How images lie in memory: channels last if the model takes it and maps stay the same."""
        plain, last = torch.contiguous_format, torch.channels_last
        # what the CPU's convolutions want, of these networks a third off; the layers hand it on
        if self.device.type != "cpu" or self.dtype != torch.float32:
            return plain
        want = features.tap(self.model, image, self.layers)
        try:
            got = features.tap(self.model, image.contiguous(memory_format=last), self.layers)
        except Exception:  # such as a `view` that needs the usual order
            return plain
        same = (
            (got[name] - each).abs().max() <= ROUNDING * each.abs().max()
            for name, each in want.items()
        )
        return last if all(same) else plain

    def originals(
        self,
        forward: Callable[[Tensor], dict[str, Tensor]] | None = None,
        batches: list[list[int]] | None = None,
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Pass the images through the model as they are, as they were shuffled.

        Args:
            forward: From images to the maps of all layers; by default a pass as far as these.
            batches: Numbers of images, some of `batches`; by default all.

        Yields:
            Numbers of some images, and their maps by layer.
        """
        for numbers in self.batches if batches is None else batches:
            canvases = self._canvases(numbers)
            if "groups" not in vars(self):
                # which are near duplicates is asked later, and then needs no reading of its own
                self.patterns[numbers] = torch.stack(list(map(duplicates.pattern, canvases.cpu())))
            maps = (forward or self._forward)(next(self._render(canvases, [_STAY])))
            self.refuse_non_finite(maps, numbers)
            size = sum(each.numel() * each.element_size() for each in maps.values())
            if forward is None and size <= self._room:
                self._room -= size
                self._originals |= _by_image(maps, numbers)
            yield numbers, maps

    @cached_property
    def shards(self) -> list[range]:
        """Places in the order of the run, in parts that are read independently of each other."""
        # by the number of images alone: sums are added up shard by shard, and whoever adds them up
        # is to find the same
        chunks = math.ceil(len(self.shuffled) / self._chunk_size)
        count = max(1, min(self._most, chunks // CHUNKS))
        edges = [self._chunk_size * (chunks * number // count) for number in range(count)]
        return [range(*ends) for ends in pairwise([*edges, len(self.shuffled)])]

    @property
    def _chunk_size(self) -> int:
        # enough pairs for the search to work on many at once
        return max(1, PAIRS_AT_ONCE // (len(self.moves) + 1))

    @cached_property
    def batch_counts(self) -> list[int]:
        """Batches of each shard."""
        return [math.ceil(len(places) / self.options.batch_size) for places in self.shards]

    @cached_property
    def batches(self) -> list[list[int]]:
        """Numbers of the images that pass through the model together as they are."""
        return self._split(self.shuffled, self.options.batch_size)

    @cached_property
    def _batch_of(self) -> dict[int, list[int]]:
        return {number: batch for batch in self.batches for number in batch}

    def _split(self, numbers: Sequence[int], size: int) -> list[list[int]]:
        """Numbers of images, some at a time, none of two shards together."""
        return [
            list(numbers[start : min(start + size, places.stop)])
            for places in self.shards
            for start in places[::size]
        ]

    def shifted(self, numbers: Sequence[int], moves: Sequence[Transform]) -> dict[str, Tensor]:
        """Pass images through the model, each under a transform of its own.

        Args:
            numbers: Numbers of the images; an image may come several times.
            moves: What is done to each.

        Returns:
            Their maps, by layer.
        """
        pairs = zip(self._canvases(numbers), moves, strict=True)
        maps = self._forward(
            torch.cat([next(self._render(canvas[None], [move])) for canvas, move in pairs])
        )
        self.refuse_non_finite(maps, numbers)
        return maps

    @cached_property
    def chunk_counts(self) -> list[int]:
        """Chunks of each shard."""
        return [math.ceil(len(places) / self._chunk_size) for places in self.shards]

    @cached_property
    def chunk_numbers(self) -> list[list[int]]:
        """Numbers of the images of each chunk; always the same together, in the same order."""
        return self._split(self.order, self._chunk_size)

    def chunks(self) -> Iterator[Chunk]:
        """Pass the images through the model as they are and under each transform.

        Yields:
            The maps of some images.
        """
        for place in range(len(self.chunk_numbers)):
            yield self.chunk(place)

    def chunk(self, place: int) -> Chunk:
        """Pass the images of one chunk through the model, unless its maps were kept.

        Args:
            place: Which chunk.

        Returns:
            Its maps: the same to the last bit, whatever was read before it.
        """
        chunk = self._kept.get(place) or self._read(self.chunk_numbers[place])
        if self._keep and place not in self._kept and chunk.bytes <= self._room:
            self._room -= chunk.bytes
            self._kept[place] = chunk
        return chunk

    def _read(self, numbers: list[int]) -> Chunk:
        images = self.inputs(numbers)
        reference, moved = self._reference_and_moved(images, numbers)
        cells = shrinking(images.shape[3:])
        shown = {
            number: functional.avg_pool2d(images[:, place] * self.std + self.mean, cells)
            for place, number in enumerate(numbers)
            if number < self.options.shown
        }
        returned = {}
        if Method.INPUT in self.options.compared:
            returned = self._forward_views(
                self.returned(images[1:], range(len(self.moves))), numbers
            )
        return Chunk(
            numbers=numbers,
            reference=reference,
            moved=moved,
            shown=shown,
            returned=returned,
        )

    def _reference_and_moved(
        self, images: Tensor, numbers: Sequence[int]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps of images as they are, and of all other views; what is the same passes once."""
        views = range(1, len(images))
        anew = [view for view in views if not torch.equal(images[view], images[0])]
        reference = self._as_they_are(numbers)
        maps = self._forward_views(images[anew], numbers) if anew else {}
        moved = {
            name: maps[name]
            if len(anew) == len(views)
            else torch.stack([maps[name][anew.index(v)] if v in anew else own for v in views])
            for name, own in reference.items()
        }
        return reference, moved

    def _as_they_are(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Maps of images as they are, those of the first reading, which are then no longer kept."""
        # Where they were not kept, whole batches pass again: convolutions choose their kernels by
        # the size of the batch, so that the same image in another one has other last digits.
        found = []
        for number in numbers:
            if number in self._originals:
                maps = self._originals.pop(number)
                self._room += sum(m.numel() * m.element_size() for m in maps.values())
            else:
                if number not in self._anew:
                    if len(self._anew) > 2 * self.options.batch_size:
                        self._anew.clear()  # left over where the order parts near duplicates
                    batch = self._batch_of[number]
                    views = next(self._render(self._canvases(batch), [_STAY]))
                    self._anew |= _by_image(self._forward(views), batch)
                maps = self._anew.pop(number)
            found.append(maps)
        return {name: torch.stack([maps[name] for maps in found]) for name in found[0]}

    def _forward_views(self, images: Tensor, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Tap all layers for several views of the same images; refuse what is not finite."""
        maps = self._forward(images.flatten(0, 1))
        self.refuse_non_finite(maps, numbers)
        return {
            name: each.reshape(*images.shape[:2], *each.shape[1:]) for name, each in maps.items()
        }

    def _forward(self, images: Tensor) -> dict[str, Tensor]:
        """Tap all layers, in passes of at most the batch size, several beside each other."""
        found = {
            layer.name: images.new_empty(len(images), layer.channels, layer.height, layer.width)
            for layer in self.layers
        }
        threads = side_by_side(self.device)
        # as many passes for each thread, of as many images
        turns = math.ceil(len(images) / (threads * self.options.batch_size))
        parts = torch.arange(len(images)).tensor_split(min(len(images), threads * turns))
        models = self._models(min(threads, len(parts)))

        def fill(places: Tensor) -> None:
            some = slice(int(places[0]), int(places[-1]) + 1)
            model = models.get()
            try:
                given = images[some].contiguous(memory_format=self._format)
                maps = features.tap(model, given, self.layers)
            finally:
                models.put(model)
            for name, into in found.items():
                # a model may compute in half precision inside, which no search or score would stand
                into[some].copy_(maps[name].reshape(into[some].shape))

        with features.forwarding(images):
            if len(parts) == 1 or threads == 1:
                for places in parts:
                    fill(places)
            else:
                list(in_order((partial(fill, places) for places in parts), self.device))
        return found

    def _models(self, count: int) -> SimpleQueue[nn.Module]:
        """So many models of the same weights: a thread must not find what another left in one."""
        while len(self._twins) < count - 1:
            self._twins.append(copies.twin(self.model))
        free: SimpleQueue[nn.Module] = SimpleQueue()
        for model in (self.model, *self._twins[: count - 1]):
            free.put(model)
        return free

    def refuse_non_finite(self, maps: Mapping[str, Tensor], numbers: Sequence[int]) -> None:
        """Stop where a map cannot be measured.

        Args:
            maps: Maps by layer, of these images once or, one after another, several times.
            numbers: Numbers of the images.

        Raises:
            InvalidInputError: If a map holds NaN or infinity.
        """
        for layer, each in maps.items():
            finite = metrics.finite(each).tolist()
            if not all(finite):
                name = self.source.names[numbers[finite.index(False) % len(numbers)]]
                raise InvalidInputError(
                    f"layer {layer!r}: image {name!r} gives NaN or infinite activations; check the "
                    "weights and the image, or use --dtype float64"
                )


def _by_image(maps: Mapping[str, Tensor], numbers: Sequence[int]) -> dict[int, dict[str, Tensor]]:
    """Maps of each image, by its number."""
    return {
        number: {name: each[place] for name, each in maps.items()}
        for place, number in enumerate(numbers)
    }
