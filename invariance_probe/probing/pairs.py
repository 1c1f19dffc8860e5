"""Pairs of maps, and the methods that need nothing but the pair."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from invariance_probe.alignment import metrics
from invariance_probe.alignment.aligning import Alignment, align_with
from invariance_probe.alignment.flow import Flow, flow_from
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.certificates import any_warp
from invariance_probe.network import features
from invariance_probe.plane import coordinates, regions, rendering, sampling
from invariance_probe.plane.transforms import Transform
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import Chunk
from invariance_probe.results.methods import Method
from invariance_probe.results.rows import Block
from invariance_probe.results.strips import SHOWN_CHANNELS, Strip, shrinking, stored


class View:
    """One layer of a run: oracle warps, regions and channel means, one for each transform.

    Args:
        layer: The layer.
        moves: The run's transforms.
        size: Height and width of what the model sees, in pixels.
        margin: Distance that compared positions keep from the maps' outer edges, in cells.
        device: Where its maps are.

    Attributes:
        layer: The layer.
        oracle: Its oracle warps.
        region: Where a comparison is fair.
        factor: How many times what a map's own spline shows a perfect layer leaves, by transform;
            1 until `floor.Floor` has measured it.
        total: Sums of the reference maps over the region, by transform and channel.
        count: Number of these maps.
    """

    def __init__(
        self,
        layer: features.Layer,
        moves: Sequence[Transform],
        size: tuple[int, int],
        margin: float,
        device: torch.device,
    ) -> None:
        self.layer = layer
        oracle = torch.stack([layer.oracle(move.matrix, *size) for move in moves])
        self.oracle: Float[Tensor, "transform 2 3"] = oracle.to(device)
        self.region: Bool[Tensor, "transform height width"] = regions.visible(
            self.oracle, layer.height, layer.width, margin
        )
        self.factor: Float[Tensor, " transform"] = oracle.new_ones(len(moves))
        self.total = torch.zeros(len(moves), layer.channels, dtype=torch.float64, device=device)
        self.count = torch.zeros(1, dtype=torch.int64)

    def add_to_mean(self, maps: Float[Tensor, "image channel height width"]) -> None:
        """Take reference maps into the channel means.

        Args:
            maps: Maps of some images.
        """
        flat = maps.flatten(2).double().sum(0)  # the mean over images is all that is needed
        self.total += self.region.flatten(1).double() @ flat.T
        self.count += len(maps)

    @property
    def mean(self) -> Float[Tensor, "transform channel"]:
        """Channel means of all reference maps over the region."""
        cells = self.region.flatten(1).sum(1, keepdim=True).clamp(min=1)
        return self.total / (cells * int(self.count))

    def pairs(self, chunk: Chunk) -> Iterator["Pairs"]:
        """Pair the images of a chunk with themselves, transformed.

        Args:
            chunk: Maps of some images.

        Yields:
            Pairs of all these images, for some transforms at a time.
        """
        reference, moved = chunk.reference[self.layer.name], chunk.moved[self.layer.name]
        returned = chunk.returned.get(self.layer.name)
        for group in self.groups(reference):
            back = None if returned is None else returned[group]
            yield Pairs(self, group, chunk.numbers, reference, moved[group], back)

    def groups(self, reference: Float[Tensor, "image channel height width"]) -> list[list[int]]:
        """Split the transforms, so that a copy of a group's maps stays within about 8 MB.

        Args:
            reference: Maps of the images that are compared together.

        Returns:
            Numbers of the transforms, by group.
        """
        size = max(1, _GROUP // max(1, reference.numel() * reference.element_size()))
        everything = list(range(len(self.oracle)))
        return [everything[start : start + size] for start in range(0, len(everything), size)]


_GROUP = 2**23
"""Bytes of maps that are looked at together; several groups are, beside each other."""


class Pairs:
    """References and moved maps of some images under some transforms, ordered (transform, image).

    Args:
        view: The layer they are of.
        group: Numbers of the transforms.
        numbers: Numbers of the images.
        reference: Their maps.
        moved: Maps to compare them with.
        returned: Maps of the images that were transformed and warped back, for ``input``.
    """

    def __init__(
        self,
        view: View,
        group: Sequence[int],
        numbers: Sequence[int],
        reference: Float[Tensor, "image channel height width"],
        moved: Float[Tensor, "transform image channel height width"],
        returned: Float[Tensor, "transform image channel height width"] | None = None,
    ) -> None:
        self.view, self.group, self.numbers = view, list(group), list(numbers)
        self.reference = reference.expand(len(group), *reference.shape).flatten(0, 1)
        self.moved = moved.flatten(0, 1)
        self.returned = None if returned is None else returned.flatten(0, 1)
        self.oracle, self.region = self._each(view.oracle), self._each(view.region)

    def _each(self, by_transform: Tensor) -> Tensor:
        """Values by transform, one a pair."""
        return by_transform[self.group].repeat_interleave(len(self.numbers), dim=0)

    @cached_property
    def target(self) -> metrics.Target:
        """What warped maps are scored by; it takes the channel means of the run."""
        return metrics.Target(self.reference, self.region, self.mean)

    @property
    def mean(self) -> Float[Tensor, "pair channel"]:
        """Channel means of all reference maps over the region."""
        return self._each(self.view.mean)

    @property
    def still(self) -> Float[Tensor, "pair 2 3"]:
        """Warps that move nothing."""
        return torch.eye(2, 3).to(self.oracle).expand_as(self.oracle)

    def only(self, numbers: Collection[int]) -> "Pairs | None":
        """Keep the pairs of some images.

        Args:
            numbers: Numbers of the images.

        Returns:
            Their pairs; None if there are none.
        """
        places = [place for place, number in enumerate(self.numbers) if number in numbers]
        if len(places) in {0, len(self.numbers)}:
            return self if places else None

        def some(maps: Tensor) -> Tensor:
            return maps.reshape(len(self.group), len(self.numbers), *maps.shape[1:])[:, places]

        return Pairs(
            self.view,
            self.group,
            [self.numbers[place] for place in places],
            self.reference[places],  # those of the first transform, as of all
            some(self.moved),
            None if self.returned is None else some(self.returned),
        )

    def rows(self) -> Iterator[tuple[int, slice]]:
        """Go through the transforms.

        Yields:
            Number of a transform, and which pairs are of it.
        """
        count = len(self.numbers)
        for place, transform in enumerate(self.group):
            yield transform, slice(place * count, (place + 1) * count)

    def sent(self, antialias: bool) -> Float[Tensor, "pair channel height width"]:
        """Do to the references, as splines, what was done to the images.

        Args:
            antialias: Whether they are blurred as images that shrink are.

        Returns:
            The references as a transform of the maps themselves would leave them.
        """
        height, width = self.reference.shape[-2:]
        stride = self.view.layer.pixel_from_cell()[:2, :2]
        inverse = torch.linalg.inv(coordinates.homogeneous(self.oracle))[:, :2]
        every = coordinates.index_matrix_from_theta(inverse, height, width).cpu()
        pull_backs = [every[rows.start] for _, rows in self.rows()]
        blurs: list[Tensor | None] = []
        for pull_back in pull_backs:
            # the images were blurred by pixels, however many of them a cell is wide
            blur = rendering.shrinking_blur(stride @ pull_back[:2, :2] @ stride.inverse())
            cells = None if blur is None else stride.inverse() @ blur @ stride.inverse()
            blurs.append(cells if antialias else None)
        alike = self.reference[: len(self.numbers)]  # those of the first transform, as of all
        return torch.cat(list(rendering.read(alike, pull_backs, (height, width), blurs)))

    def perfect(self, mode: str, antialias: bool) -> Float[Tensor, "pair channel height width"]:
        """Make up what the oracle warp would leave of a perfect layer: the method ``floor``.

        Args:
            mode: Sampler.
            antialias: Whether images are blurred before they shrink.

        Returns:
            The references, sent there and warped back, their difference from the references made as
            large as the layer's grid makes it (see `floor`).
        """
        back = sampling.warp(self.sent(antialias), self.oracle, mode=mode)
        apart = back - self.reference
        return self.reference + self.factor.sqrt()[:, None, None, None].to(apart) * apart

    def score_perfect(self, mode: str, antialias: bool) -> metrics.Scores:
        """Score a perfect layer without writing its maps down.

        Args:
            mode: Sampler.
            antialias: Whether images are blurred before they shrink.

        Returns:
            What `target` says of `perfect`.
        """
        return self.target.score_further(self.sent(antialias), self.oracle, mode, self.factor)

    @property
    def factor(self) -> Float[Tensor, " pair"]:
        """How many times what the references' own splines show a perfect layer leaves."""
        return self.view.factor[self.group].repeat_interleave(len(self.numbers))

    def block(
        self,
        method: Method,
        scores: metrics.Scores,
        theta: Float[Tensor, "pair 2 3"],
        *,
        outcome: Sequence[Outcome | None] | None = None,
        n_iter: Sequence[int] | None = None,
    ) -> Block:
        """Write down what a method left.

        Args:
            method: What was done to the moved maps.
            scores: What it left.
            theta: The warp.
            outcome: How a search ended or what is to be said of each value; by default only why a
                value is missing.
            n_iter: Steps of a search; 0 by default.

        Returns:
            Rows of the table.
        """
        seen = self.region.flatten(1).any(1).tolist()
        said = [None] * len(seen) if outcome is None else outcome
        missing = scores.fvu.isnan().tolist()
        return Block(
            layer=self.view.layer.name,
            method=method,
            images=self.numbers * len(self.group),
            transforms=[t for t in self.group for _ in self.numbers],
            values=torch.stack([getattr(scores, m) for m in metrics.METRICS], dim=1).cpu(),
            theta=theta.flatten(1).cpu(),
            outcome=[
                one or ((Outcome.CONSTANT if s else Outcome.EMPTY_REGION) if m else None)
                for one, m, s in zip(said, missing, seen, strict=True)
            ],
            n_iter=[0] * len(seen) if n_iter is None else list(n_iter),
        )

    def undefined(
        self, method: Method, why: Outcome, theta: Float[Tensor, "pair 2 3"] | None = None
    ) -> Block:
        """Write down that a method has nothing to say about these pairs.

        Args:
            method: What was asked for.
            why: The reason.
            theta: The warp; the oracle's by default.

        Returns:
            Rows of the table, their values NaN.
        """
        count = len(self.oracle)
        blank = torch.full((count,), torch.nan, dtype=torch.float64)
        scores = metrics.Scores(fvu=blank, rel_l2=blank, cosine=blank)
        theta = self.oracle if theta is None else theta
        return self.block(method, scores, theta, outcome=[why] * count)


class BestWarps:
    """The best affine warps of all pairs of a run, kept from one reading to the next.

    Args:
        views: The layers.
        images: Number of images.

    Attributes:
        theta: The warps by layer, with the axes image, transform, row and column; NaN until they
            are kept.
    """

    def __init__(self, views: Iterable[View], images: int) -> None:
        self.theta = {
            view.layer.name: view.oracle.new_full((images, *view.oracle.shape), torch.nan)
            for view in views
        }

    def keep(self, pairs: Pairs, theta: Float[Tensor, "pair 2 3"]) -> None:
        """Keep the warps of some pairs.

        Args:
            pairs: The pairs.
            theta: Their warps.
        """
        stored = self.theta[pairs.view.layer.name]
        for transform, rows in pairs.rows():
            stored[pairs.numbers, transform] = theta[rows].to(stored)

    def of(self, pairs: Pairs) -> Float[Tensor, "pair 2 3"]:
        """Look up the warps of some pairs.

        Args:
            pairs: The pairs.

        Returns:
            What was kept for them.
        """
        stored = self.theta[pairs.view.layer.name]
        return torch.cat([stored[pairs.numbers, transform] for transform, _ in pairs.rows()])


class Predecessors:
    """Pairs each image with the one before it, for what unrelated images give.

    The first image of the run follows on the last one: its pair comes when all have been read.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[list[int], Tensor]] = {}
        self._last: dict[str, Tensor] = {}

    def pairs(self, view: View, chunk: Chunk) -> Iterator[Pairs]:
        """Pair the images of a chunk with their predecessors.

        Args:
            view: The layer.
            chunk: Maps of some images; chunks come in the order of the run.

        Yields:
            Pairs for some transforms at a time.
        """
        name, numbers = view.layer.name, chunk.numbers
        reference, moved = chunk.reference[name], chunk.moved[name]
        before = self._last.get(name)
        self._last[name] = moved[:, -1:].clone()
        if before is None:
            self._first[name] = (numbers[:1], reference[:1].clone())
            numbers, reference, others = numbers[1:], reference[1:], moved[:, :-1]
        else:
            others = torch.cat([before, moved[:, :-1]], dim=1)
        if numbers:
            for group in view.groups(reference):
                yield Pairs(view, group, numbers, reference, others[group])

    def go_on(self, first: Chunk, last: Chunk) -> None:
        """Begin after some chunks, and not before the first.

        Args:
            first: The first chunk of the run.
            last: The chunk before the next one; it may be the same.
        """
        for name, maps in last.moved.items():
            self._first[name] = (first.numbers[:1], first.reference[name][:1].clone())
            self._last[name] = maps[:, -1:].clone()

    def closing(self, view: View) -> Iterator[Pairs]:
        """Pair the first image with the last one.

        Args:
            view: The layer.

        Yields:
            The pair under each transform.
        """
        numbers, reference = self._first[view.layer.name]
        others = self._last[view.layer.name]
        yield Pairs(view, range(len(others)), numbers, reference, others)


def found_warps(
    pairs: Pairs, methods: Collection[Method], search: SearchOptions
) -> tuple[Alignment, dict[Method, Alignment | Flow]]:
    """Search the best warps of pairs.

    Args:
        pairs: Images and themselves, transformed.
        methods: Those of a run.
        search: How thoroughly to search.

    Returns:
        The best affine warps, and what was found for those of the methods that are searches.
    """
    affine = align_with(pairs.target, pairs.moved, pairs.oracle, search)
    found: dict[Method, Alignment | Flow] = {}
    if Method.AFFINE in methods:
        found[Method.AFFINE] = affine
    if Method.FLOW in methods:
        found[Method.FLOW] = flow_from(affine, pairs.target, pairs.moved, pairs.oracle, search)
    return affine, found


def compare(
    pairs: Pairs, methods: Collection[Method], options: ProbeOptions
) -> tuple[list[Block], Float[Tensor, "pair 2 3"], Flow | None]:
    """Apply the methods that look at a pair alone.

    Args:
        pairs: Images and themselves, transformed.
        methods: Which to apply; those of other stages are passed over.
        options: How to measure.

    Returns:
        Their results, the best affine warps (the oracle's, where no search was asked for), and the
        best smooth ones, if they were.
    """
    search, oracle, target = options.search, pairs.oracle, pairs.target
    mode = search.mode
    blocks, theta = [], oracle
    scores, smooth = {}, None
    if {Method.AFFINE, Method.FLOW} & set(methods):
        affine, found = found_warps(pairs, methods, search)
        theta = affine.theta
        smooth = next((one for one in found.values() if isinstance(one, Flow)), None)
        scores = {Method.IDENTITY: affine.identity, Method.ORACLE: affine.oracle}
        for method, best in found.items():
            steps = best.n_iter.tolist()
            blocks.append(
                pairs.block(method, best.scores, theta, outcome=best.outcome, n_iter=steps)
            )
    elif {Method.IDENTITY, Method.ORACLE} & set(methods):
        scores = {
            Method.IDENTITY: target.score(pairs.moved),
            Method.ORACLE: target.score_warp(pairs.moved, oracle, mode),
        }
    for method, warp in ((Method.IDENTITY, pairs.still), (Method.ORACLE, oracle)):
        if method in methods:
            blocks.append(pairs.block(method, scores[method], warp))
    if Method.INPUT in methods and pairs.returned is not None:
        blocks.append(pairs.block(Method.INPUT, target.score(pairs.returned), oracle))
    if Method.FLOOR in methods:
        perfect = pairs.score_perfect(mode, options.antialias)
        blocks.append(pairs.block(Method.FLOOR, perfect, oracle))
    if Method.ANY_WARP in methods:
        blocks.append(_any_warp(pairs, mode))
    return blocks, theta, smooth


def _any_warp(pairs: Pairs, mode: str) -> Block:
    """The certificate, which holds for bilinear reading alone."""
    blank = torch.full_like(pairs.oracle, torch.nan)
    if mode != "bilinear":
        return pairs.undefined(Method.ANY_WARP, Outcome.BILINEAR_ONLY, blank)
    bound = any_warp.any_warp_bound(pairs.reference, pairs.moved, pairs.region)
    complete = bound.kind is any_warp.BoundKind.ALL_POSITIONS
    outcome = [None if complete else Outcome.OUTSTANDING_POSITIONS] * len(blank)
    return pairs.block(Method.ANY_WARP, pairs.target.bound(bound.error), blank, outcome=outcome)


def strips(
    pairs: Pairs,
    theta: Float[Tensor, "pair 2 3"],
    kept: Collection[int],
    shown: Float[Tensor, "view colour crop_height crop_width"],
    image: int = 0,
    smooth: Flow | None = None,
) -> Iterator[Strip]:
    """Keep what pictures of the maps show: the strongest channels of one image.

    Args:
        pairs: Pairs with the image among them.
        theta: The best warps found.
        kept: Numbers of the transforms that are shown.
        shown: Pixel values of the image as it is and under each transform.
        image: Its number.
        smooth: The best smooth warps found, if they were asked for.

    Yields:
        One strip a transform that is shown.
    """
    pixels = shown.cpu().numpy()
    smoothed = None if smooth is None else smooth.warp(pairs.moved)
    for number in sorted(set(pairs.group) & set(kept)):
        pair = pairs.group.index(number) * len(pairs.numbers) + pairs.numbers.index(image)
        one = slice(pair, pair + 1)
        reference, moved = pairs.reference[one], pairs.moved[one]
        strongest = reference[0].flatten(1).std(1).argsort(descending=True)[:SHOWN_CHANNELS]
        stages = [
            reference,
            moved,
            sampling.warp(moved, pairs.oracle[one]),
            sampling.warp(moved, theta[one]),
            *([] if smoothed is None else [smoothed[one]]),
        ]
        maps = torch.cat(stages)[:, strongest]
        cells = shrinking(maps.shape[2:])
        region = functional.avg_pool2d(pairs.region[one].to(maps), cells, ceil_mode=True)[0] == 1
        yield Strip(
            layer=pairs.view.layer.name,
            transform=number,
            image=image,
            channels=strongest.tolist(),
            maps=stored(functional.avg_pool2d(maps, cells, ceil_mode=True).cpu().numpy()),
            region=region.cpu().numpy(),
            # a view: all strips of an image share its pixels
            images=pixels[0 : number + 2 : number + 1],
        )
