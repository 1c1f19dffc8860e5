"""Digits that need no file, and untrained networks on them."""

from functools import cache

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.related import measuring
from analyses.related.acting import Acting
from analyses.related.learning import Built
from analyses.related.methods import METHODS, RECIPES, Method, Motions
from tests.tolerances import ROUNDED

EXACT = 10 * ROUNDED**2
"""Of a ratio of squares, for values that a few layers have rounded."""
LABELS = torch.arange(6)


def digits() -> Tensor:
    """Six smooth blobs in the middle 20 of 28 pixels, none like its turns."""
    noise = torch.rand(6, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    blobs = F.interpolate(noise, size=18, mode="bilinear")
    return F.pad((2 * blobs - 1).clamp(min=0), (5,) * 4)


@cache
def untrained(recipe: str) -> Acting:
    """A network with first weights."""
    found = RECIPES[recipe]
    assert isinstance(found, Built)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return found.build(0.5).eval()


def method(name: str) -> Method:
    """One of the list."""
    return next(each for each in METHODS if each.name == name)


@cache
def measured(name: str) -> pd.DataFrame:
    """What a method leaves on its untrained network, means by group of motions."""
    found = method(name)
    acting = found.view(untrained(found.recipe), digits()).eval()
    rows = measuring.rows(found, acting, digits(), LABELS)
    return rows.groupby("motions").mean(numeric_only=True)


def at(name: str, motions: Motions, column: str = "left") -> float:
    """One number of it."""
    return float(measured(name).loc[str(motions), column])
