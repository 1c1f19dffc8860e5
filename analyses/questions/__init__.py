"""One question, one file: what it asks, how it is measured, summed up and drawn."""

import importlib
from types import ModuleType

from invariance_probe.errors import InvalidInputError

NAMES = (
    "residual_by_layer",
    "channel_shift",
    "trained_against_random",
    "placement",
    "depth",
    "iterations",
    "price",
    "recover",
    "related_methods",
    "law",
    "speed",
    "search_quality",
    "few_channels",
    "certificates",
    "controls",
    "floor",
    "sensitivity",
    "learning_curve",
    "mixings",
    "coverage",
    "training_speed",
    "device",
    "zoo",
    "atlas",
    "kills",
    "scale",
)
"""The questions, in the order in which they are listed."""


def load(name: str) -> ModuleType:
    """Import a question.

    Args:
        name: One of `NAMES`.

    Returns:
        Its module, with ``PRESETS``, ``measure``, ``summary`` and ``plot``.

    Raises:
        InvalidInputError: If there is no such question.
    """
    if name not in NAMES:
        raise InvalidInputError(f"there is no question {name!r}; choose from {', '.join(NAMES)}")
    return importlib.import_module(f"analyses.questions.{name}")


def title(name: str) -> str:
    """Say what a question asks.

    Args:
        name: One of `NAMES`.

    Returns:
        The first line of its docstring.
    """
    return (load(name).__doc__ or name).partition("\n")[0]
