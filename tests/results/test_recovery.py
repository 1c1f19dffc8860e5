"""The recovered share: a ratio of means over the same images, or the reason why there is none."""

import numpy as np
import pandas as pd
import pytest

import invariance_probe as ip
from invariance_probe.results.recovery import recovered_share
from invariance_probe.results.store import InMemory
from invariance_probe.results.tables import ProbeTables

METHODS = ("identity", "input", "oracle", "unrelated")


def _tables(values: dict[str, list[float]], metric: str = "kl") -> ProbeTables:
    """A run of one layer and one rotation with these values, one for each image."""
    count = len(next(iter(values.values())))
    names = [f"image {i}" for i in range(count)]
    table = pd.DataFrame([
        {
            "layer": "a",
            "transform": "rotation",
            "parameter": 90.0,
            "transform_number": 0,
            "image": name,
            "method": method,
            "metric": metric,
            "value": value,
        }
        for method, each in values.items()
        for name, value in zip(names, each, strict=True)
    ])
    table["metric"] = table["metric"].astype("category")
    turn = [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    config = {
        "methods": list(values),
        "moves": [{"kind": "rotation", "parameter": 90.0, "matrix": turn}],
        "images": names,
        "seed": 0,
    }
    return ProbeTables(rows=InMemory(table), layers=pd.DataFrame(), config=config)


def _drawn(count: int, seed: int = 0) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    lost = 1 + rng.random(count)
    noise = 0.05 * rng.random(count)
    return {
        "identity": list(lost),
        "input": list(0.1 * lost),
        "oracle": list(0.6 * lost + noise),
        "unrelated": list(2 * lost),
    }


@pytest.mark.parametrize(("metric", "sign"), [("kl", 1), ("agreement", -1)])
def test_the_share_is_a_ratio_of_means(metric: str, sign: int) -> None:
    """It equals the naive ratio, whichever way the metric points, within its interval."""
    values = {name: [sign * v for v in each] for name, each in _drawn(12).items()}
    share = recovered_share(_tables(values, metric)).set_index("method")
    assert list(share.index) == ["oracle", "unrelated"]
    for method in share.index:
        naive = (np.mean(values[method]) - np.mean(values["identity"])) / (
            np.mean(values["input"]) - np.mean(values["identity"])
        )
        assert share.loc[method, "share"] == pytest.approx(naive)
        assert share.loc[method, "low"] <= naive + 1e-12
        assert share.loc[method, "high"] >= naive - 1e-12
        assert share.loc[method, "reason"] == ""
        lost = sign * (np.mean(values["identity"]) - np.mean(values["input"]))
        assert share.loc[method, "lost"] == pytest.approx(lost)
        assert 0 < share.loc[method, "lost_low"] <= lost <= share.loc[method, "lost_high"]
    assert share.loc["unrelated", "share"] < 0  # worse than doing nothing


def test_images_are_drawn_together() -> None:
    """What is proportional to the loss on every image has a share without uncertainty."""
    values = _drawn(10)
    values["oracle"] = [0.55 * v for v in values["identity"]]
    (row,) = recovered_share(_tables(values)).query("method == 'oracle'").to_dict("records")
    assert row["share"] == pytest.approx(0.5)
    # the skewness correction is the same for proportional values, so nothing is left but rounding
    assert row["high"] - row["low"] < 1e-9


def test_where_nothing_was_lost_there_is_no_share() -> None:
    """NaN with the reason: without a loss, with one that noise hides, and not below 3 images."""
    same = {name: [0.5, 0.7, 0.2, 0.4] for name in METHODS}
    nothing = recovered_share(_tables(same))
    assert nothing["share"].isna().all()
    assert nothing["reason"].str.startswith("nothing was lost").all()
    noisy = {**same, "identity": [0.9, 0.5, 0.3, 0.2]}
    hidden = recovered_share(_tables(noisy))
    assert hidden["share"].isna().all()
    assert hidden["reason"].str.contains("cannot be told from 0").all()
    few = recovered_share(_tables(_drawn(2)))
    assert few["share"].notna().all()
    assert few[["low", "high"]].isna().all(axis=None)


def test_a_share_needs_a_recovery_with_both_ends() -> None:
    """Residuals have no share, nor has a run without `input`."""
    with pytest.raises(ip.InvalidInputError, match="choose from those of a run of"):
        recovered_share(_tables(_drawn(4), "fvu"))
    with pytest.raises(ip.InvalidInputError, match="metric='accuracy': the run has kl"):
        recovered_share(_tables(_drawn(4)), "accuracy")
    values = _drawn(4)
    del values["input"]
    with pytest.raises(ip.InvalidInputError, match="recover with both"):
        recovered_share(_tables(values))
