"""How a probe measures: its options, and the rules they obey."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from invariance_probe.alignment.search import SearchOptions
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import regions
from invariance_probe.results.methods import DEFAULT_METHODS, METHODS


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How to measure; the defaults are those of `probe.probe`.

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
        seed: Root of all random choices (order of the images, intervals).
        antialias: Whether content is blurred before it shrinks.
        margin: Distance that compared positions keep from the maps' outer edges, in cells.
        search: How thoroughly to search for the best affine warp.
    """

    methods: tuple[str, ...] = DEFAULT_METHODS
    crop: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fill: tuple[float, ...] | None = None
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int = 16
    seed: int = 0
    antialias: bool = True
    margin: float = regions.DEFAULT_MARGIN
    search: SearchOptions = field(default_factory=SearchOptions)

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            raise InvalidInputError(
                f"methods={list(self.methods)}: choose from {', '.join(METHODS)}"
            )
        if self.dtype not in {"float32", "float64"}:
            raise InvalidInputError(f"dtype={self.dtype!r}: choose float32 or float64")
        if self.batch_size < 1:
            raise InvalidInputError(f"batch_size={self.batch_size}: give at least 1")
        if self.margin < 0:
            raise InvalidInputError(f"margin={self.margin:g}: give 0 or more cells")

    @property
    def real(self) -> torch.dtype:
        """The type to compute maps in."""
        return {"float32": torch.float32, "float64": torch.float64}[self.dtype]


def values_by_channel(values: float | Sequence[float] | None) -> tuple[float, ...] | None:
    """Bring one value, several, or none into one form.

    Args:
        values: What a caller gave.

    Returns:
        A tuple, or None.
    """
    if values is None:
        return None
    return (values,) if isinstance(values, int | float) else tuple(values)
