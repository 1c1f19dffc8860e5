"""Where transformers sit in a classifier, and what their localizers see: CNN, C0, CX, DLX, SLX.

Source: Finnveden, Jansson, Lindeberg, "Understanding when spatial transformer networks do not
support invariance, and what to do about it" (ICPR 2020), section 4.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.stn import networks
from invariance_probe.stn.networks import Classifier
from invariance_probe.stn.transformer import SpatialTransformer, shrunk

_PART = re.compile(r"(c|dl|sl)(\d{1,3})(?:x(\d{1,3})(s?))?")
_HOW = (
    "write cnn, c0, cX, dlX or slX for a layer X, with xN for N steps (c0x2, sl1x2) or xNs for N "
    "steps of one localizer (c0x2s), several joined with + (c0+c1)"
)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One transformer.

    Attributes:
        kind: ``"c"``: sees and transforms the map after layer `depth` (0: the image); ``"dl"``:
            transforms the image and sees it through its own copy of the first `depth` layers;
            ``"sl"``: the same, through the classifier's own first layers.
        depth: The layer.
        steps: Times that the image is looked at; the matrices are multiplied.
        shared: Whether one localizer serves all steps, as the authors' later code has it; by
            default each step has its own, as in the paper.
    """

    kind: str
    depth: int
    steps: int = 1
    shared: bool = False

    @property
    def at_input(self) -> bool:
        """Whether the image is transformed, and not a map."""
        return self.kind != "c" or self.depth == 0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A network of the papers.

    Attributes:
        name: As on the command line, in lower case.
        placements: Its transformers, the one at the input first; none for the CNN.
    """

    name: str
    placements: tuple[Placement, ...]

    @property
    def depth(self) -> int:
        """The deepest layer that a transformer uses."""
        return max((placement.depth for placement in self.placements), default=0)

    def resampled(self, sizes: Sequence[tuple[int, int, int]], share: float) -> dict[int, int]:
        """List where transformers leave maps of another side than they read.

        Args:
            sizes: What `Architecture.map_sizes` returned of the images.
            share: Side of what transformers return over that of what they read.

        Returns:
            Sides in cells by layer, 0 for the image.

        Raises:
            InvalidInputError: If maps would shrink twice.
        """
        if share == 1 or not self.placements:
            return {}
        if len(self.placements) > 1 or self.placements[0].shared:
            raise InvalidInputError(
                f"variant {self.name!r} with output_share={share:g}: only one transformer, with a "
                "localizer of its own for each step, can change the side of its maps"
            )
        (placement,) = self.placements
        place = 0 if placement.at_input else placement.depth
        return {place: shrunk(sizes[place][1], share)}


def parse_variant(text: str) -> Variant:
    """Read a variant as it is written on the command line.

    Args:
        text: ``cnn``; ``c0``; ``cX``, ``dlX`` or ``slX`` for any layer X; with ``xN`` for N steps
            (``c0x2``, ``sl1x3``), with ``xNs`` for N steps of one localizer (``c0x2s``);
            transformers at several depths joined by ``+`` (``c0+c1``).

    Returns:
        The variant.

    Raises:
        InvalidInputError: If it cannot be read, or asks for what the papers do not have.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"variant {text!r} is no text; {_HOW}")
    name = text.strip().lower()
    if name == "cnn":
        return Variant(name=name, placements=())
    placements = []
    for part in name.split("+"):
        match = _PART.fullmatch(part)
        if match is None:
            raise InvalidInputError(f"variant {text!r} is unknown; {_HOW}")
        kind, depth, steps = match[1], int(match[2]), int(match[3] or 1)
        if steps < 1:
            raise InvalidInputError(f"variant {text!r}: at least one step is needed")
        if kind != "c" and depth == 0:
            raise InvalidInputError(f"variant {text!r}: without layers, {part!r} is c0; write c0")
        placement = Placement(kind=kind, depth=depth, steps=steps, shared=match[4] == "s")
        if steps > 1 and not placement.at_input:
            raise InvalidInputError(
                f"variant {text!r}: only transformers of the image iterate (c0, dlX, slX)"
            )
        placements.append(placement)
    places = [0 if placement.at_input else placement.depth for placement in placements]
    if len(set(places)) < len(places):
        raise InvalidInputError(
            f"variant {text!r}: two transformers at the same place; choose different layers"
        )
    order = sorted(range(len(places)), key=lambda i: places[i])
    return Variant(name=name, placements=tuple(placements[i] for i in order))


class Prediction(NamedTuple):
    """What a network says about a batch.

    Attributes:
        logits: By image, slot and class.
        pull_backs: By image, all transformers multiplied (see the Convention of `transformer`), in
            the coordinates of the image wherever they act; identities for the CNN.
    """

    logits: Float[Tensor, "batch slot class"]
    pull_backs: Float[Tensor, "batch 3 3"]


class VariantNetwork(nn.Module):
    """A classifier with the transformers of a variant.

    Attributes:
        classifier: The classifier.
        transformers: One `SpatialTransformer` for each placement and each step that has a localizer
            of its own, in order.
        trunks: For each of these the layers that a DLX localizer has for itself; empty for others.

    Args:
        classifier: The classifier; taken over, not copied.
        variant: Which transformers.
        localizer: One of `networks.LOCALIZERS`, or ``"auto"``: the papers' for the classifier and
            the size of its images.
        localizer_width: Factor of the numbers of the localizers' units.
        parametrisation: Which motions are predicted, see `transformer.PARAMETRISATIONS`.
        mode: Sampler.
        padding: What is read outside images and maps.
        output_share: Side of what transformers return over that of what they read; the classifier
            must be built for it, see `Variant.resampled`.
        gradient_scale: Factor of the gradient where it enters a localizer.
        trunk: First weights of the layers that a DLX localizer has for itself: ``"anew"``, drawn
            for themselves, or ``"copy"``, those of the classifier.

    Raises:
        InvalidInputError: If the variant is deeper than the classifier, or a name is unknown.
    """

    def __init__(
        self,
        classifier: Classifier,
        variant: Variant,
        *,
        localizer: str = "auto",
        localizer_width: float = 1.0,
        parametrisation: str = "affine",
        mode: str = "bilinear",
        padding: str = "border",
        output_share: float = 1.0,
        gradient_scale: float = 1.0,
        trunk: str = "anew",
    ) -> None:
        super().__init__()
        layers = len(classifier.layers)
        if variant.depth > layers:
            raise InvalidInputError(
                f"variant {variant.name!r} is deeper than the network "
                f"{classifier.architecture.name!r}, which has {layers} layers; "
                f"choose a layer of at most {layers}"
            )
        self.classifier, self.variant = classifier, variant
        if localizer == "auto":
            small = classifier.sizes[0][1] <= networks.SMALL_SIDE
            localizer = classifier.architecture.localizer or ("fc" if small else "conv")
        self.transformers, self.trunks = nn.ModuleList(), nn.ModuleList()
        self._looks: list[list[int]] = []
        sizes = classifier.architecture.map_sizes(*classifier.sizes[0][:2], classifier.width)
        for placement in variant.placements:
            first = len(self.transformers)
            for step in range(1 if placement.shared else placement.steps):
                channels, side, _ = sizes[placement.depth]
                if step > 0:
                    # later steps see what the first has resampled
                    side = classifier.sizes[placement.depth][1]
                    side = shrunk(side, output_share) if placement.depth == 0 else side
                body, features = networks.build_localizer(
                    localizer, (channels, side, side), width=localizer_width
                )
                self.transformers.append(
                    SpatialTransformer(
                        body,
                        features,
                        parametrisation=parametrisation,
                        mode=mode,
                        padding=padding,
                        output_share=output_share,
                        gradient_scale=gradient_scale,
                    )
                )
                own = placement.depth if placement.kind == "dl" else 0
                layers_seen = classifier.copy_of_layers(own)
                if trunk == "copy":
                    layers_seen.load_state_dict(classifier.layers[:own].state_dict())
                self.trunks.append(layers_seen)
            # which transformer looks at each step
            step = 0 if placement.shared else 1
            self._looks.append([first + step * number for number in range(placement.steps)])

    def localizer_parameters(self) -> list[nn.Parameter]:
        """List what only serves to predict motions; layers shared with the classifier do not.

        Returns:
            Parameters of the localizers and of their own trunks.
        """
        return [*self.transformers.parameters(), *self.trunks.parameters()]

    def _transformer(self, number: int) -> SpatialTransformer:
        transformer = self.transformers[number]
        assert isinstance(transformer, SpatialTransformer)
        return transformer

    def _look(self, placement: Placement, number: int, images: Tensor) -> Tensor:
        """What a transformer of the input predicts from what its localizer sees."""
        if placement.kind == "sl":
            for layer in self.classifier.layers[: placement.depth]:
                images = layer(images)
        else:
            images = self.trunks[number](images)
        return self._transformer(number).predict(images)

    def _predict_at_input(self, place: int, images: Tensor) -> Tensor:
        """Pull-backs of all steps multiplied; each step looks at the original, resampled once."""
        placement, (first, *later) = self.variant.placements[place], self._looks[place]
        total = self._look(placement, first, images)
        for number in later:
            seen = self._transformer(number).resample(images, total)
            total = total @ self._look(placement, number, seen)
        return total

    def forward(
        self,
        images: Float[Tensor, "batch channel height width"],
        pull_backs: Float[Tensor, "batch 3 3"] | None = None,
    ) -> Prediction:
        """Predict motions, undo them and classify.

        Args:
            images: Perturbed images.
            pull_backs: What to use in place of all predictions, such as the inverse of the motion
                that was applied, in the coordinates of the image: the transformer nearest the input
                is given them, others are left out. By default the networks predict.

        Returns:
            Logits and pull-backs.
        """
        maps = images
        total: Tensor | None = None
        places = {
            0 if placement.at_input else placement.depth: place
            for place, placement in enumerate(self.variant.placements)
        }
        for depth in range(len(self.classifier.layers) + 1):
            if depth > 0:
                maps = self.classifier.layers[depth - 1](maps)
            if depth not in places or (pull_backs is not None and total is not None):
                continue
            place = places[depth]
            transformer = self._transformer(self._looks[place][0])
            frame = self.classifier.frames[depth]
            if pull_backs is not None:
                # of a smaller output the middle, each cell as large as it was
                step = frame.from_image(pull_backs) @ _zoom(transformer.output_share, pull_backs)
            elif depth == 0:
                step = self._predict_at_input(place, maps)
            else:
                step = transformer.predict(maps)
            maps = transformer.resample(maps, step)
            seen = frame.to_image(step)
            total = seen if total is None else total @ seen
        if total is None:
            total = torch.eye(3, device=images.device).expand(len(images), 3, 3)
        return Prediction(self.classifier.classify(maps), total)


def _zoom(share: float, like: Tensor) -> Tensor:
    """The pull-back that reads the middle of a map, so large a share of its side."""
    return torch.diag(like.new_tensor([share, share, 1.0]))
