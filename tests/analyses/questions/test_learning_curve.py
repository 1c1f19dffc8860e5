"""How many images a mixing needs: the table of means, and what fits leave."""

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.questions import learning_curve
from invariance_probe.alignment.mixing import Moments


def planted() -> pd.DataFrame:
    """Values by kind and number of images, two draws each."""
    return pd.DataFrame([
        {"layer": "a", "channels": 8, "warp": warp, "kind": kind, "images": images, "draw": draw}
        | {"value": place / images + draw}
        for warp in ("oracle", "affine")
        for place, kind in enumerate(learning_curve.KINDS)
        for images in (1, 2)
        for draw in (0, 1)
    ])


def test_draws_are_averaged_kind_by_kind() -> None:
    """Each row has a mean over draws for every kind, and the figure a panel a warp."""
    table = learning_curve.summary(planted())
    assert len(table) == 4
    for place, kind in enumerate(learning_curve.KINDS):
        wanted = place / table["images"] + 0.5
        np.testing.assert_allclose(table[kind], wanted)
    assert len(learning_curve.plot(planted()).axes) == 2


@pytest.mark.parametrize("kind", learning_curve.KINDS)
def test_a_fit_leaves_nothing_of_what_it_can_undo(kind: str) -> None:
    """Swapped channels are undone by each kind of mixing, and by none at all they are not."""
    g = torch.randn(3, 4, 50, generator=torch.Generator().manual_seed(0))
    moments = Moments.of(g[:, [1, 0, 3, 2]], g)
    left = float(learning_curve._fit(kind, moments[:2]).error(moments[2:].sum()))
    whole = float(g[2:].square().sum())
    assert (left > whole) if kind == "none" else (left < 0.05 * whole)
