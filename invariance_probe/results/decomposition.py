"""Why a residual is there: its parts, and which channels took whose place."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Bool, Float

from invariance_probe.alignment import mixing
from invariance_probe.alignment.mixing import Kind
from invariance_probe.errors import InvalidInputError
from invariance_probe.results.methods import EXPLAINING_METHODS, Method, Warp
from invariance_probe.results.tables import ProbeTables, numbered
from invariance_probe.statistics import gain_p_value, statistic_interval

PARTS = ("floor", "left", "mixing", "permutation", "other warp")
"""Parts of what the oracle warp leaves, from the bottom of the stack to its top. ``other warp``:
repaired by a warp other than the oracle; ``permutation``: what reassigning channels removes beyond
that; ``mixing``: what any orthogonal or linear mixing of them removes beyond that; ``floor``: what
the grid alone costs, so that a perfect layer leaves it, too; ``left``: all the rest."""

CERTIFIED = "beyond any warp"
"""The one row of a decomposition that is proven (`certificates.any_warp`), not found: no spatial
warp read with bilinear sampling leaves less. It is no part of the stack: it lies across ``floor``,
``left``, ``mixing`` and ``permutation``."""

FALSE_DISCOVERIES = 0.05
"""Expected share of false ones among the channels that are said to have moved (Benjamini and
Hochberg 1995)."""


def decomposition(tables: ProbeTables, by: Sequence[str] = ("layer", "transform")) -> pd.DataFrame:
    """Split what the oracle warp leaves into its parts.

    Each part is the difference of two means over images: of the best that the methods before it
    left, and of the best with it; a method that leaves more than those before it removes nothing,
    and what the grid costs counts as ``floor``, whatever reduces it.
    Mixings are scored on images that they were not fitted to. In a layer that is perfect all is
    ``floor``; in one whose channels only change places all but ``floor`` is ``permutation``; for
    unrelated images ``left`` and ``floor`` make about 1, as mixing can always predict the means.

    Args:
        tables: Those of a probe with the methods `EXPLAINING_METHODS`.
        by: Columns that make a group, of ``layer``, ``transform``, ``parameter`` (which brings
            ``transform_number`` with it, see `tables.numbered`) and ``transform_number``.

    Returns:
        These columns; ``part``, one of `PARTS` or `CERTIFIED`; ``status``, ``"found"`` or
        ``"certified"``; ``mean`` (of ``fvu``), ``low``, ``high``; ``share`` of what the oracle
        leaves, ``share_low``, ``share_high`` (95 % intervals over images); ``n_images``.

    Raises:
        InvalidInputError: If the probe lacks a method, or no transform of it changes anything.
    """
    missing = [method for method in EXPLAINING_METHODS if method not in tables.methods]
    if missing:
        raise InvalidInputError(
            f"this run lacks the methods {', '.join(missing)}; probe with --explain, or with "
            "methods=EXPLAINING_METHODS"
        )
    seed = int(tables.config["seed"])

    def parts(values: pd.DataFrame, layer: str | None) -> pd.DataFrame:
        # a bicubic probe has no certificate, and is decomposed all the same
        stack = values.drop(index=Method.ANY_WARP)
        proven = values.loc[[Method.ORACLE, Method.ANY_WARP]]
        methods = [Method(text) for text in stack.index]
        common = tables.common_errors(stack, layer)
        return pd.concat([
            _rows(stack, partial(_stacked, methods), PARTS, "found", seed, common),
            _rows(proven, _certified, (CERTIFIED,), "certified", seed),
        ])

    return by_group(tables, by, parts, (*PARTS, CERTIFIED))


def by_group(
    tables: ProbeTables,
    by: Sequence[str],
    explain: Callable[[pd.DataFrame, str | None], pd.DataFrame],
    parts: Sequence[str],
) -> pd.DataFrame:
    """Explain the values of each group of a run's pairs.

    Args:
        tables: The run's.
        by: Columns that make a group.
        explain: From a group's values, a row a method and a column an image, and its layer, where
            that is among `by`, to rows with a column ``part``.
        parts: These, in their order.

    Returns:
        The rows of all groups, the columns of `by` first.

    Raises:
        InvalidInputError: If no transform of the run changes anything.
    """
    keys = numbered(by)
    frames, kinds = [], {}
    every = "transform_number" in keys
    for wide in tables.by_image([*keys, "method"], every=every, metric="fvu"):
        kinds = {key: wide.index.get_level_values(key).dtype for key in keys}
        for group, rows in wide.groupby(level=keys, observed=True, sort=True, dropna=False):
            named = dict(zip(keys, group, strict=True))
            frames.append(explain(rows.droplevel(keys), named.get("layer")).assign(**named))
    if not frames:
        raise InvalidInputError(
            "every transform of this run is the identity; there is nothing to explain"
        )
    frame = pd.concat(frames, ignore_index=True)
    for key, kind in kinds.items():
        if isinstance(kind, pd.CategoricalDtype):
            frame[key] = frame[key].astype(kind)
    frame["part"] = pd.Categorical(frame["part"], list(parts), ordered=True)
    return frame[[*keys, *(column for column in frame.columns if column not in keys)]]


def _rows(
    values: pd.DataFrame,
    statistic: Callable[[np.ndarray], np.ndarray],
    parts: Sequence[str],
    status: str,
    seed: int,
    common: np.ndarray | None = None,
) -> pd.DataFrame:
    """Some parts of one group, with their intervals."""
    numbers = values.to_numpy(dtype=float)
    # the statistic gives the parts, then the same parts as shares: two halves of one vector
    found, low, high = statistic_interval(numbers, statistic, seed, common=common)
    count = len(parts)
    return pd.DataFrame({
        "part": list(parts),
        "status": status,
        "mean": found[:count],
        "low": low[:count],
        "high": high[:count],
        "share": found[count:],
        "share_low": low[count:],
        "share_high": high[count:],
        "n_images": int(np.isfinite(numbers).all(0).sum()),
    })


def _stacked(
    methods: Sequence[Method], values: Float[np.ndarray, "method resample"]
) -> Float[np.ndarray, "part_and_share resample"]:
    """Means by method to `PARTS`, then the same as shares of what the oracle leaves."""
    # With m(x) the mean that method x leaves:
    #     l0 = m(oracle)
    #     l1 = min(l0, m(affine), m(flow) if measured)               the best warp alone
    #     l2 = min(l1, m(WARP+permutation) of all warps)             channels reassigned
    #     l3 = min(l2, m(WARP+orthogonal), m(WARP+linear))           channels mixed
    #     l4 = min(l0, m(floor))
    # Each minimum runs over the methods of the levels before it as well, so l0 >= l1 >= l2 >= l3;
    # and no level counts for less than the floor: with h_i = max(l_i, l4) the parts are, from the
    # bottom up, l4, h3 - l4, h2 - h3, h1 - h2, h0 - h1. None is negative; they add up to h0 = l0.
    means = dict(zip(methods, values, strict=True))
    # the floor and unrelated images are no remedies: they repair nothing
    remedies = {Warp.ORACLE, Warp.AFFINE, Warp.FLOW, Warp.JOINT}
    warped = {m: v for m, v in means.items() if m.warp in remedies}

    def least(*mixings: Kind | None) -> Float[np.ndarray, " resample"]:
        best: np.ndarray = np.min([v for m, v in warped.items() if m.mixing in mixings], axis=0)
        return best

    oracle = means[Method.ORACLE]
    floor = np.minimum(means[Method.FLOOR], oracle)
    levels = [oracle, least(None), least(None, Kind.PERMUTATION), least(None, *Kind)]
    levels = [*(np.maximum(level, floor) for level in levels), floor]
    parts = [floor, *(upper - lower for lower, upper in pairwise(levels[::-1]))]
    return _with_shares(np.stack(parts), levels[0])


def _certified(
    values: Float[np.ndarray, "2 resample"],
) -> Float[np.ndarray, "part_and_share resample"]:
    """What the oracle leaves and what any warp must leave, to the latter and its share."""
    return _with_shares(values[1:], values[0])


def _with_shares(
    parts: Float[np.ndarray, "part resample"], whole: Float[np.ndarray, " resample"]
) -> Float[np.ndarray, "part_and_share resample"]:
    # a transform that changes nothing leaves 0, of which there are no shares
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.vstack([parts, parts / whole])


def channel_moves(tables: ProbeTables) -> pd.DataFrame:
    """Sum up which channels took whose place.

    Args:
        tables: Those of a probe with a ``+permutation`` method.

    Returns:
        One row per layer, transform, parameter and warp: ``channels``; ``moved``, share of the
        channels whose place another takes; ``agreement``, mean share of the folds that say the
        same of a channel; ``gain``, mean fvu that the assignment of other images removes, and
        ``p_value``, how often chance would remove as much (see `statistics.gain_p_value`: a
        Hungarian assignment always finds something); ``significant``, share of the channels that
        other images' assignment serves better on more images than chance would (see
        `FALSE_DISCOVERIES`); ``longest_cycle``; for transforms that some number of ``turns``
        undoes ``returning``, the share of the moved channels that as many applications of the
        permutation bring back, and ``returning_by_chance``, what a random permutation would.

    Raises:
        InvalidInputError: If the probe permuted no channels.
    """
    if tables.channels.empty:
        raise InvalidInputError(
            "this run permuted no channels; probe at least two images with --explain, or with "
            "methods=['oracle+permutation']"
        )
    return moves_of(tables, tables.channels)


def moves_of(tables: ProbeTables, channels: pd.DataFrame) -> pd.DataFrame:
    """Sum up some of a run's rows of channels: see `channel_moves`.

    Args:
        tables: Those of the run.
        channels: Rows of `tables.channels`, at least one.

    Returns:
        The same columns.
    """
    keys = ["layer", "transform", "parameter", "transform_number", "warp"]
    place = {name: number for number, name in enumerate(tables.layers["name"])}
    seed = int(tables.config["seed"])
    grouped = ["layer", "transform_number", "method"]
    values = pd.concat(list(tables.by_image(grouped, every=True, metric="fvu")))
    rows = []
    for group, one in channels.groupby(keys, sort=False, dropna=False):
        named = dict(zip(keys, group, strict=True))
        source = one["source"].to_numpy()
        gains = np.full(1, np.nan)
        before, after = (
            (named["layer"], named["transform_number"], method)
            for method in _before_and_after(Warp(named["warp"]))
        )
        if before in values.index and after in values.index:
            gains = (values.loc[before] - values.loc[after]).to_numpy(dtype=float)
        moved = source != one["channel"].to_numpy()
        turns = _turns(str(named["transform"]), float(named["parameter"]))
        rows.append(
            named
            | {
                "channels": len(one),
                "moved": float(moved.mean()),
                "agreement": float(one["agreement"].mean()),
                "gain": float(np.nanmean(gains)) if np.isfinite(gains).any() else np.nan,
                "p_value": gain_p_value(gains, seed),
                "significant": float(discoveries(one["p_value"].to_numpy()).mean()),
                "longest_cycle": len(mixing.cycles(source)[0]),
                "turns": turns,
                "returning": np.nan,
                "returning_by_chance": np.nan,
            }
            | _returning(source, moved, turns)
        )
    frame = pd.DataFrame(rows)
    order = frame["layer"].map(place)
    return frame.iloc[np.lexsort((frame["transform_number"], order))].reset_index(drop=True)


def _before_and_after(warp: Warp) -> tuple[Method, Method]:
    """A warp, and the same with its channels permuted."""
    # there is no joint warp without a mixing: the best warp alone is what it improves on
    alone = Method.AFFINE if warp is Warp.JOINT else Method(warp)
    return alone, Method(f"{warp}+{Kind.PERMUTATION}")


def _returning(source: np.ndarray, moved: np.ndarray, turns: int) -> dict[str, float]:
    """How many of the moved channels a permutation brings back, and how many chance would."""
    if not turns or not moved.any():
        return {}
    # In a random permutation of n channels a channel lies in a cycle of length k with chance 1/n,
    # whatever k <= n: so one channel is expected in the cycles of each length, and `turns`
    # applications bring back those whose length divides `turns`.
    lengths = sum(turns % length == 0 for length in range(2, turns + 1))
    return {
        "returning": float(mixing.returning(source, turns)[moved].mean()),
        "returning_by_chance": min(1.0, lengths / int(moved.sum())),
    }


def discoveries(p_values: Float[np.ndarray, " test"]) -> Bool[np.ndarray, " test"]:
    """Choose the tests that are not chance (Benjamini and Hochberg 1995).

    Args:
        p_values: One a test.

    Returns:
        True for the chosen ones; among them `FALSE_DISCOVERIES` are expected to be false.
    """
    chosen: np.ndarray = (
        scipy.stats.false_discovery_control(p_values, method="bh") <= FALSE_DISCOVERIES
    )
    return chosen


def _turns(kind: str, parameter: float) -> int:
    """How often a transform is applied until nothing has changed; 0 if never or not soon."""
    if kind == "reflection":
        return 2
    if kind == "rotation" and parameter % 360:
        for turns in range(2, 13):
            if abs((parameter * turns + 180) % 360 - 180) < 1e-9:
                return turns
    return 0
