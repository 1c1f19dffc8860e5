"""Equivariance, invariance or loss: what becomes of a layer's variance when the input moves."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from invariance_probe.alignment.mixing import Kind
from invariance_probe.errors import InvalidInputError
from invariance_probe.results.decomposition import by_group
from invariance_probe.results.methods import PARTITION_METHODS, Method, Warp
from invariance_probe.results.tables import ProbeTables
from invariance_probe.statistics import statistic_interval

FATES = ("unchanged", "warp", "mixing", "grid", "lost")
"""What becomes of a layer's variance, from the bottom of the stack to its top. ``unchanged``: the
same channel has it at the same place (invariance); ``warp``: the same channel has it where it was
moved to; ``mixing``: other channels have it (both are equivariance); ``grid``: the grid of cells
alone costs it, so that a perfect layer loses it, too; ``lost``: nothing that was measured finds it
in the moved map."""

FEWEST_IMAGES = 5
"""Below this there are no shares: each is of images that a fit has not seen, and what fits to fewer
than four images find was not measured (`guide.numbers`)."""

_WARPS = frozenset({Warp.ORACLE, Warp.AFFINE, Warp.FLOW})


def partition(tables: ProbeTables, by: Sequence[str] = ("layer", "transform")) -> pd.DataFrame:
    """Split the variance of a layer's maps by what becomes of it when the input moves.

    A share is how much more of the variance of the maps F can be predicted, on images outside the
    fit, from the maps G of the moved images: from the same channel at the same place; as well from
    the same channel under a warp; as well from other channels. Within a channel a prediction is
    anything between G and the channel's mean (``+gain``): without that a channel of noise would
    count twice, with its own variance and with that of the noise that took its place.

    A layer that the transform leaves alone is ``unchanged`` as a whole, one that moves with the
    image ``warp`` (and ``grid``, where that interpolates), one whose channels change places
    ``mixing``; noise and unrelated images are ``lost``. What is ``lost`` is bounded from above: a
    warp, a matrix or a function of other kinds that was not tried, or that so few images do not
    teach, may find some of it. What stays at its place in some channels while others move is
    counted by the larger of the two.

    The question is that of SEIS (Lin, Farrahi, Cai 2026, arXiv 2602.04054), which answers it by
    canonical correlations of subspaces of F and G, as far as its abstract says. This is a
    definition of our own: it knows the warp, is held out, and adds up.

    Args:
        tables: Those of a probe with the methods `PARTITION_METHODS`; other warps and mixings that
            were measured count as well.
        by: Columns that make a group, as of `decomposition.decomposition`.

    Returns:
        These columns; ``part``, one of `FATES`; ``share`` in [0, 1], those of a group add up to 1;
        ``low``, ``high`` (95 % intervals over images; simulated, they cover 93 % and more where the
        methods leave different amounts, 88 % where some leave the same, and of ``mixing`` 77 % at
        five images where all do); ``n_images``; ``reason``, why there is no share, empty where
        there is one.

    Raises:
        InvalidInputError: If the probe lacks a method, or no transform of it changes anything.
    """
    missing = [method for method in PARTITION_METHODS if method not in tables.methods]
    if missing:
        raise InvalidInputError(
            f"this run lacks the methods {', '.join(missing)}; probe with --explain, or with "
            "methods=PARTITION_METHODS"
        )

    def shares(values: pd.DataFrame, layer: str | None) -> pd.DataFrame:
        known = {Warp.IDENTITY, Warp.JOINT, Warp.FLOOR, *_WARPS}
        used = values.loc[[text for text in values.index if Method(text).warp in known]]
        numbers = used.to_numpy(dtype=float)
        images = int(np.isfinite(numbers).all(0).sum())
        reason = ""
        if images < FEWEST_IMAGES:
            reason = f"{images} images have values of all methods; give at least {FEWEST_IMAGES}"
            numbers = np.full_like(numbers, np.nan)
        found, low, high = statistic_interval(
            numbers,
            partial(_shares, [Method(text) for text in used.index]),
            int(tables.config["seed"]),
            common=tables.common_errors(used, layer),
        )
        # The least of several means lies below the least of their truths, and a draw's below that:
        # where methods leave nearly the same the draws alone cover as little as 65 %. Their mirror
        # image about the share makes up for it, and the outer ends of both are taken.
        ends = {
            "low": np.minimum(low, 2 * found - high).clip(0, 1),
            "high": np.maximum(high, 2 * found - low).clip(0, 1),
        }
        about = {"part": FATES, "share": found, **ends}
        return pd.DataFrame(about | {"n_images": images, "reason": reason})

    return by_group(tables, by, shares, FATES)


def _shares(
    methods: Sequence[Method], values: Float[np.ndarray, "method resample"]
) -> Float[np.ndarray, "part resample"]:
    """Means by method to shares of `FATES`."""
    # With m(x) the mean that method x leaves of the variance, the channel means leaving 1:
    #     l0 = min(1,  m(identity), m(identity+gain))
    #     l1 = min(l0, m(WARP), m(WARP+gain) of all warps)            the same channels, moved
    #     l2 = min(l1, m(WARP+KIND) of all warps and mixings)         other channels
    #     l3 = min(l1, m(floor))
    # and l2 counts for no less than the floor l3, whatever reduces that. The parts are the steps
    # 1 - l0, l0 - l1, l1 - h2, l3, h2 - l3 with h2 = max(l2, l3): none is negative, their sum is 1.
    # a mean that is drawn for an interval may lie below 0, which no residual does
    means = dict(zip(methods, np.maximum(values, 0), strict=True))

    def least(
        most: Float[np.ndarray, " resample"], warps: frozenset[Warp], *kinds: Kind | None
    ) -> Float[np.ndarray, " resample"]:
        some = [v for m, v in means.items() if m.warp in warps and m.mixing in kinds]
        best: np.ndarray = np.min([most, *some], axis=0)
        return best

    still = least(np.ones(values.shape[1]), frozenset({Warp.IDENTITY}), None, Kind.GAIN)
    moved = least(still, _WARPS, None, Kind.GAIN)
    grid = np.minimum(moved, means[Method.FLOOR])
    mixed = np.maximum(least(moved, _WARPS | {Warp.JOINT}, *Kind), grid)
    return np.stack([1 - still, still - moved, moved - mixed, grid, mixed - grid])
