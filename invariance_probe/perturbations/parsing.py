"""Perturbations as they are written on the command line and in the tables."""

from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.kinds import (
    NoPerturbation,
    RandomRotation,
    RandomScaling,
    RandomTranslation,
)
from invariance_probe.perturbations.perturbation import PIECES, Perturbation

FORMS = (
    *("none", "rotation", "rotation=DEGREES", "translation", "translation=clean"),
    *("scaling", "scaling=LOW:HIGH", "scaling=clean", "scaling=LOW:HIGH,clean"),
)
"""What `parse_perturbation` reads."""


def parse_perturbation(text: str) -> Perturbation:
    """Read a perturbation as it is written on the command line.

    Args:
        text: ``none``; ``rotation`` or ``rotation=90`` (largest angle, degrees); ``translation`` or
            ``translation=clean`` (no clutter); ``scaling``, ``scaling=-1:2`` (binary logarithms of
            the smallest and largest factor), ``scaling=clean`` or ``scaling=-1:2,clean``.

    Returns:
        The perturbation.

    Raises:
        InvalidInputError: If there is no such perturbation, or its value cannot be used.
    """
    name, equals, value = text.strip().partition("=")
    try:
        if name == "none" and not equals:
            return NoPerturbation()
        if name == "rotation":
            return RandomRotation(limit=float(value)) if equals else RandomRotation()
        if name == "translation" and (not equals or value == "clean"):
            return RandomTranslation(pieces=0) if equals else RandomTranslation()
        if name == "scaling":
            words = value.split(",") if equals else []
            clean = words[-1:] == ["clean"]
            pieces, words = (0, words[:-1]) if clean else (PIECES, words)
            if not words:
                return RandomScaling(pieces=pieces)
            low, high = (float(number) for number in ",".join(words).split(":"))
            return RandomScaling(low=low, high=high, pieces=pieces)
    except InvalidInputError:
        raise
    except ValueError:
        pass
    raise InvalidInputError(
        f"perturbation {text!r} cannot be read; give {', '.join(FORMS[:-1])} or {FORMS[-1]}"
    )
