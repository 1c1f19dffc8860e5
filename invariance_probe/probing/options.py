"""How a probe measures: its options, and the rules they obey."""

import dataclasses
import difflib
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from invariance_probe.alignment.search import SearchOptions
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import as_list, check_flag, check_integer, check_number
from invariance_probe.plane import regions
from invariance_probe.results.methods import DEFAULT_METHODS, Method, parse_methods


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How to measure: what `probe.probe` takes as keywords, and the command line as options.

    Whatever is given, `methods`, `mean`, `std` and `fill` are tuples afterwards (or None).

    Attributes:
        methods: What to compare: identity, input, oracle, affine, flow, any-warp, floor, unrelated.
            Followed by a mixing of channels, +permutation, +orthogonal or +linear: oracle, affine,
            unrelated, or joint, where warp and mixing are found in turns; or by +gain, which damps
            each channel: identity, oracle, affine, unrelated.
        crop: Side of the square that the model sees, in pixels; by default that of the images, on
            the command line what the model was trained on, or 224.
        mean: Taken off the pixel values after the transform, one value or one for each channel; 0
            by default, on the command line what the model was trained with.
        std: Divisor after that, one value or one for each channel; 1 by default, on the command
            line what the model was trained with.
        fill: Pixel value where a transform shows what the images lack, before normalisation, one
            value or one for each channel; the mean by default.
        device: auto (a CUDA device if there is one), cpu, cuda or cuda:K.
        dtype: Type to compute the maps in: float32 or float64.
        batch_size: Images in one forward pass, originals and transformed ones together.
        seed: Root of all random choices: order of the images, pairing of unrelated ones, intervals.
        antialias: Blur content before it shrinks; if not, aliasing is charged to the network.
        margin: Distance that compared positions keep from the maps' outer edges, in cells.
        shown: Images whose maps are kept to be looked at, on the page that `report` makes: under
            every transform, the strongest channels of each layer, as small pictures.
        search: How thoroughly to search for the best affine warp; how far a flow may distort.

    Raises:
        InvalidInputError: If a value cannot be used.

    Example:
        >>> import invariance_probe as ip
        >>> options = ip.ProbeOptions(crop=64, mean=0.5, methods=["oracle", "affine"])
        >>> options.methods, options.compared == options.methods
        (('oracle', 'affine'), True)
        >>> options.filled  # where a transform shows what the images lack
        (0.5,)
        >>> options.real
        torch.float32
    """

    methods: Sequence[str] = DEFAULT_METHODS
    crop: int | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    fill: float | Sequence[float] | None = None
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int = 16
    seed: int = 0
    antialias: bool = True
    margin: float = regions.DEFAULT_MARGIN
    shown: int = 2
    search: SearchOptions = field(default_factory=SearchOptions)

    def __post_init__(self) -> None:
        """Bring values into one form, and refuse what cannot be used."""
        plain: dict[str, object] = {
            "methods": parse_methods(self.methods),
            **{
                name: by_channel(value)
                for name in ("mean", "std", "fill")
                if (value := getattr(self, name)) is not None
            },
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)  # the way for a frozen dataclass
        if not isinstance(self.search, SearchOptions):
            raise InvalidInputError(f"search={self.search!r}: give SearchOptions(...)")
        self.search.check()
        if not isinstance(self.dtype, str) or self.dtype not in {"float32", "float64"}:
            raise InvalidInputError(
                f"dtype={self.dtype!r}: choose float32 or float64, in which models of half "
                "precision are probed as well"
            )
        check_integer("batch_size", self.batch_size, 1, 2**31 - 1)
        check_integer("seed", self.seed, 0)
        check_integer("shown", self.shown, 0)
        if self.crop is not None:
            check_integer("crop", self.crop, 1)
        for name in ("mean", "std", "fill"):
            if getattr(self, name) is not None:
                values = tuple(check_number(name, value) for value in getattr(self, name))
                object.__setattr__(self, name, values)
        if self.std is not None and not all(value > 0 for value in by_channel(self.std)):
            raise InvalidInputError(f"std={self.std}: give positive numbers")
        for name in ("batch_size", "seed", "crop", "shown"):  # JSON holds Python's numbers alone
            if getattr(self, name) is not None:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
        check_flag("antialias", self.antialias)
        if not isinstance(self.device, str):
            raise InvalidInputError(f"device={self.device!r}: choose auto, cpu, cuda or cuda:K")
        object.__setattr__(self, "margin", check_number("margin", self.margin))
        if self.margin < 0:
            raise InvalidInputError(f"margin={self.margin:g}: give 0 or more cells")

    def replace(self, **changes: Any) -> "ProbeOptions":
        """Change some options.

        Args:
            **changes: New values by name.

        Returns:
            Options with these values.

        Raises:
            InvalidInputError: If there is no option of a name, or a value cannot be used.

        Example:
            >>> options.replace(crop=32).crop
            32
        """
        # None has always stood for the usual search
        if changes.get("search", self.search) is None:
            changes["search"] = SearchOptions()
        names = [one.name for one in dataclasses.fields(self)]
        for unknown in (name for name in changes if name not in names):
            close = difflib.get_close_matches(unknown, names, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InvalidInputError(
                f"unknown option {unknown!r}; {hint}the options are {', '.join(names)}"
            )
        return dataclasses.replace(self, **changes)

    @property
    def compared(self) -> tuple[Method, ...]:
        """What `methods` names."""
        return tuple(map(Method, self.methods))

    @property
    def filled(self) -> tuple[float, ...]:
        """Pixel values where images lack content: `fill`, by default the mean."""
        values = self.mean if self.fill is None else self.fill
        return by_channel(0.0 if values is None else values)

    @property
    def real(self) -> torch.dtype:
        """The type to compute maps in."""
        return {"float32": torch.float32, "float64": torch.float64}[self.dtype]


def by_channel(values: float | Sequence[float]) -> tuple[float, ...]:
    """Bring one value or several into one form.

    Args:
        values: What a caller gave.

    Returns:
        One value, or one for each channel.
    """
    listed = as_list(values)
    return (values,) if listed is None else tuple(listed)  # type: ignore[return-value]  # (checked later)
