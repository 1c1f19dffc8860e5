"""How much of what a transform costs a network comes back when maps are re-aligned."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from invariance_probe.errors import InvalidInputError
from invariance_probe.results.methods import Method
from invariance_probe.results.tables import ProbeTables
from invariance_probe.statistics import statistic_interval

RECOVERED = "recovered.csv"
"""Shares of all metrics, in a run folder."""
PUT_BACK = "recovery"
"""Folder within that of a probe, for a run that put the same network's maps back."""
CLASS_METRICS = ("agreement", "kl", "logit_rel_l2", "accuracy")
"""Of outputs that are class vectors. ``agreement``: whether the class of the largest output is that
of the untransformed image. ``kl``: Kullback-Leibler divergence of the softmax of the outputs from
that of the untransformed image, which is the first argument, in nats. ``logit_rel_l2``: distance of
the outputs over the length of the untransformed image's, NaN if that is 0. ``accuracy``: whether
the class is the label."""
OUTPUT_METRICS = ("output_rel_l2", "output_cosine")
"""Of other outputs, all their numbers as one vector: distance from the untransformed image's over
its length, and cosine between the two."""
_SMALLER_IS_BETTER = {"kl", "logit_rel_l2", "output_rel_l2"}

_NOTHING_LOST = "nothing was lost: the metric is no worse without a warp than with one of the input"
_WITHIN_NOISE = "the loss cannot be told from 0: its 95 % interval includes it; give more images"


def recovered_share(
    tables: ProbeTables,
    metric: str | None = None,
    by: Sequence[str] = ("layer", "transform"),
) -> pd.DataFrame:
    """Compare what each method gains with what a warp of the input gains.

    The share is (method - identity) / (input - identity), each a mean over the same images: 0 is no
    better than doing nothing, 1 as good as warping the input, below 0 worse than doing nothing.
    Its interval draws the three means together. `Method.UNRELATED` shows chance under the same
    rules.

    Args:
        tables: Those of a run of `recover` with the methods ``identity`` and ``input``.
        metric: One of the run's metrics; the first by default.
        by: Columns that make a group; transforms that change nothing are left out.

    Returns:
        The columns of `by`, ``method``, ``metric``; ``lost``, what identity lacks of input, above 0
        whichever way the metric points, with ``lost_low`` and ``lost_high``; ``share``, ``low``,
        ``high`` (intervals are NaN below three images) and ``reason``, why there is no share; empty
        where there is one.

    Raises:
        InvalidInputError: If the run has no such metric, or not both methods.
    """
    known = tables.metrics
    outputs = [name for name in known if name in {*CLASS_METRICS, *OUTPUT_METRICS}]
    name = metric or next(iter(outputs), None)
    if name not in outputs:
        raise InvalidInputError(
            f"metric={metric!r}: the run has {', '.join(known)}; "
            f"choose from {', '.join(outputs) or 'those of a run of ip.recover'}"
        )
    if not {Method.IDENTITY, Method.INPUT} <= set(tables.methods):
        raise InvalidInputError(
            f"methods={[str(m) for m in tables.methods]}: a recovered share is measured between "
            "identity and input; recover with both"
        )
    sign = -1.0 if name in _SMALLER_IS_BETTER else 1.0
    keys = list(by)
    seed = int(tables.config["seed"])
    out = []
    groups = (
        each
        for wide in tables.by_image([*keys, "method"], metric=name)
        for each in (sign * wide).groupby(level=keys, observed=True, sort=False)
    )
    for group, one in groups:
        named = dict(zip(keys, group if isinstance(group, tuple) else (group,), strict=True))
        at = {str(index[-1]): place for place, index in enumerate(one.index)}
        for method in tables.methods:
            if method not in {Method.IDENTITY, Method.INPUT}:
                three = [at[m] for m in (method, Method.IDENTITY, Method.INPUT)]
                partner = tables.partners(one)[three]
                found = _share(one.to_numpy(dtype=float)[three], partner, seed)
                out.append({**named, "method": method.value, "metric": name, **found})
    return pd.DataFrame(out)


def _share(
    values: Float[np.ndarray, "3 image"], partner: Int[np.ndarray, "3 image"], seed: int
) -> dict[str, float | str]:
    """The share of a method, from the values of method, identity and input on each image."""
    lost, least, most = (
        float(one[0])
        for one in statistic_interval(values, lambda m: (m[2] - m[1])[None], seed, partner)
    )
    found: dict[str, float | str] = {"lost": lost, "lost_low": least, "lost_high": most}
    found |= {"share": np.nan, "low": np.nan, "high": np.nan, "reason": ""}
    if np.isnan(lost):
        return found | {"reason": "no image has values of all three methods"}
    if lost <= 0:
        return found | {"reason": _NOTHING_LOST}
    if least <= 0:
        return found | {"reason": _WITHIN_NOISE}
    share, low, high = statistic_interval(
        values, lambda m: ((m[0] - m[1]) / (m[2] - m[1]))[None], seed, partner
    )
    return found | {"share": float(share[0]), "low": float(low[0]), "high": float(high[0])}


def measured(tables: ProbeTables) -> list[str]:
    """List the metrics of which a run has shares.

    Args:
        tables: A run's tables.

    Returns:
        Its metrics of outputs; none if it lacks a method that a share is measured between, or
        nothing moves.
    """
    known = tables.metrics
    both = {Method.IDENTITY, Method.INPUT} <= set(tables.methods) and bool(tables.moves)
    return [name for name in known if both and name in {*CLASS_METRICS, *OUTPUT_METRICS}]
