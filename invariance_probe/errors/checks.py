"""What public functions refuse before they compute: values that no computation stands."""

import math
import operator
from collections.abc import Collection
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from invariance_probe.errors import InvalidInputError

LARGEST = 1e6
"""Entries of a warp; where positions are larger, single precision tells no cells apart."""
MAPS = ("pair", "channel", "height", "width")
"""Dimensions of maps that are compared pair by pair."""


def check_tensor(name: str, value: object, *dims: str) -> None:
    """Refuse what does not hold real numbers in memory, or not in these dimensions.

    Args:
        name: Of the argument.
        value: What was given.
        *dims: Names of the dimensions that it must have.

    Raises:
        InvalidInputError: If it is no tensor, sparse, on the device ``meta``, complex, quantized or
            of another number of dimensions.
    """
    if not isinstance(value, Tensor):
        raise InvalidInputError(
            f"{name}: a {type(value).__name__} was given; give a tensor, as torch.as_tensor makes"
        )
    if value.layout is not torch.strided:
        raise InvalidInputError(f"{name}: a sparse tensor was given; give {name}.to_dense()")
    if value.is_meta:
        raise InvalidInputError(f"{name}: a tensor without values (device meta) was given")
    if value.dim() != len(dims):
        raise InvalidInputError(
            f"{name}: a tensor of shape {tuple(value.shape)} was given; give one of shape "
            f"({', '.join(dims)})"
        )
    if value.is_complex() or value.is_quantized:
        raise InvalidInputError(f"{name}: {value.dtype} holds no real numbers; give float32")


def check_maps(name: str, value: object, *dims: str) -> None:
    """Refuse what is no floating point tensor that arithmetic is defined for.

    Args:
        name: Of the argument.
        value: What was given.
        *dims: Names of the dimensions that it must have; those of `MAPS` by default.

    Raises:
        InvalidInputError: If it is not.
    """
    check_tensor(name, value, *(dims or MAPS))
    assert isinstance(value, Tensor)
    if not value.is_floating_point() or value.dtype.itemsize < 2:
        raise InvalidInputError(f"{name}: maps of {value.dtype} were given; give {name}.float()")


def check_warp(name: str, value: object, pairs: int | None = None) -> None:
    """Refuse what is no warp of the plane onto itself.

    Args:
        name: Of the argument.
        value: What was given.
        pairs: There may be one for each of so many.

    Raises:
        InvalidInputError: If it is not of shape (2, 3), not finite, or maps the plane onto a line.
    """
    many = isinstance(value, Tensor) and value.dim() == 3 and pairs is not None
    check_tensor(name, value, *(("pair",) if many else ()), "2", "3")
    assert isinstance(value, Tensor)
    if value.shape not in {(2, 3), (pairs, 2, 3)}:
        raise InvalidInputError(
            f"{name}: a tensor of shape {tuple(value.shape)} was given; give one 2 x 3 matrix"
            + ("" if pairs is None else f", or {pairs} of them")
        )
    wide = value.detach().double()
    if not bool((wide.abs() < LARGEST).all()) or not bool(
        (wide[..., :2].det().abs() > 1e-12).all()
    ):
        raise InvalidInputError(
            f"{name}: a matrix is singular or not finite, or holds numbers beyond {LARGEST:g}; "
            "give warps that can be undone"
        )


def check_integer(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse what is no integer, or too small.

    Args:
        name: Of the argument.
        value: What was given.
        least: The smallest that is allowed.
        most: The largest; none by default.

    Raises:
        InvalidInputError: If it is something else.
    """
    try:
        number = operator.index(value) if isinstance(value, SupportsIndex) else None
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        most_words = "" if most is None else f" and at most {most}"
        raise InvalidInputError(f"{name}={value!r}: give at least {least}{most_words}, an integer")


def check_number(name: str, value: object) -> float:
    """Refuse what is no finite number.

    Args:
        name: Of the argument.
        value: What was given.

    Returns:
        The number.

    Raises:
        InvalidInputError: If it is something else.
    """
    if not math.isfinite(number := as_number(value)):
        raise InvalidInputError(f"{name}={value!r}: the value must be a finite number")
    return number


def as_number(value: object) -> float:
    """Read one real number, or what holds one.

    Args:
        value: A number, or a tensor or array without dimensions.

    Returns:
        The number; NaN for anything else, texts and what no float can hold among it.
    """
    with suppress(TypeError, ValueError, RuntimeError, OverflowError):
        dense = getattr(value, "layout", torch.strided) is torch.strided
        if isinstance(value, Real) or (dense and getattr(value, "ndim", None) == 0):
            return float(value)  # type: ignore[arg-type]  # (so much is known of it)
    return math.nan


def as_list(value: object) -> list[Any] | None:
    """List what something holds.

    Args:
        value: Anything.

    Returns:
        Its items; None for a text, and for what holds none.
    """
    with suppress(TypeError, RuntimeError):
        return None if isinstance(value, str | bytes) else list(value)  # type: ignore[call-overload]  # (tried)
    return None


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse what is none of a few words.

    Args:
        name: Of the argument.
        value: What was given.
        choices: The words.

    Raises:
        InvalidInputError: If it is something else.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidInputError(f"{name}={value!r}: choose from {', '.join(choices)}")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Args:
        name: Of the argument.
        value: What was given.

    Raises:
        InvalidInputError: If it is something else.
    """
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name}={value!r}: give True or False")


def check_path(name: str, value: object) -> Path:
    """Refuse what no file system can hold.

    Args:
        name: Of the argument.
        value: What was given.

    Returns:
        The path; nothing need be there.

    Raises:
        InvalidInputError: If it is no path, too long, holds a NUL, or may not be looked at.
    """
    if not isinstance(value, str | Path):
        raise InvalidInputError(f"{name}={value!r}: give a path")
    path = Path(value)
    try:
        path.exists()  # a NUL is no name, and so nowhere
    except OSError as error:
        raise InvalidInputError(f"{name} {str(value)!r}: {error.strerror}; give another") from error
    return path


def check_device(name: str) -> torch.device:
    """Find a device by name.

    Args:
        name: ``auto`` (a CUDA device if there is one), ``cpu``, ``cuda`` or ``cuda:K``.

    Returns:
        A device that is there.

    Raises:
        InvalidInputError: If it is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unknown = InvalidInputError(f"device={name!r}: choose auto, cpu, cuda or cuda:K")
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError) as error:
        raise unknown from error
    if device.type not in {"cpu", "cuda"}:
        raise unknown
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InvalidInputError(
            f"device={name!r} is not available ({count} CUDA devices); use --device cpu or auto"
        )
    return device
