"""Perturbations as they are written on the command line and in the tables."""

from collections.abc import Callable
from typing import Any

from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.kinds import (
    NoPerturbation,
    RandomRotation,
    RandomScaling,
    RandomShear,
    RandomTranslation,
)
from invariance_probe.perturbations.perturbation import PIECES, Perturbation

FORMS = (
    *("none", "rotation", "rotation=DEGREES", "translation", "translation=PIXELS"),
    *("translation=clean", "scaling", "scaling=LOW:HIGH", "scaling=clean", "shear=AMOUNT"),
    "rotation=clutter",
)
"""What `parse_perturbation` reads; words are joined by commas: ``scaling=-1:1,clean,on:60``."""


def _bounds(value: str) -> dict[str, Any]:
    low, high = (float(number) for number in value.split(":"))
    return {"low": low, "high": high}


_VALUES: dict[type[Perturbation], Callable[[str], dict[str, Any]]] = {
    RandomRotation: lambda value: {"limit": float(value)},
    RandomTranslation: lambda value: {"reach": int(value)},
    RandomScaling: _bounds,
    RandomShear: lambda value: {"limit": float(value)},
}
"""How the value behind a name is read; a class that is not here has none."""
_KINDS: tuple[type[Perturbation], ...] = (NoPerturbation, *_VALUES)
_CLASSES = {each.name: each for each in _KINDS}


def parse_perturbation(text: str) -> Perturbation:
    """Read a perturbation as it is written on the command line.

    Args:
        text: ``none``; ``rotation`` or ``rotation=90`` (largest angle, degrees); ``translation`` or
            ``translation=16`` (largest shift, pixels); ``scaling`` or ``scaling=-1:2`` (binary
            logarithms of the smallest and largest factor); ``shear=0.6`` (pixels to the right for
            each pixel down). ``clean`` leaves clutter out where the papers strew it, ``clutter``
            strews it where they do not, ``on:60`` gives the canvas at least 60 pixels:
            ``translation=6,clean,on:40``, ``rotation=30,clutter,on:60``.

    Returns:
        The perturbation.

    Raises:
        InvalidInputError: If there is no such perturbation, or its value cannot be used.
    """
    name, equals, rest = str(text).strip().partition("=")
    words = rest.split(",") if equals else []
    try:
        kind = _CLASSES[name]
        given: dict[str, Any] = {}
        if words and words[-1].startswith("on:"):
            given["least_canvas"] = int(words.pop()[3:])
        if words[-1:] == ["clean" if kind.pieces else "clutter"]:
            words.pop()
            given["pieces"] = 0 if kind.pieces else PIECES
        if words:
            (value,) = words
            given |= _VALUES[kind](value)
        return kind(**given)
    except InvalidInputError:
        raise
    except (KeyError, ValueError) as error:
        raise InvalidInputError(
            f"perturbation {text!r} cannot be read; give {', '.join(FORMS[:-1])} or {FORMS[-1]}"
        ) from error
