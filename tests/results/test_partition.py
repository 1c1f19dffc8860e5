"""The partition of a layer's variance: shares are steps between methods, and add up."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import Rectangle

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.figures import kinds
from invariance_probe.results.methods import PARTITION_METHODS, Method
from invariance_probe.results.partition import FATES, FEWEST_IMAGES, partition
from invariance_probe.results.shares import FATE_COLOURS, FATE_LABELS, plot_partition
from tests.results.planted import planted

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
LEFT = {
    Method.IDENTITY_GAIN: list(0.9 + SPREAD),
    Method.ORACLE_GAIN: list(0.7 + SPREAD),
    Method.ORACLE_LINEAR: list(0.4 + SPREAD),
    Method.FLOOR: [0.1] * 5,
}
"""Means of 0.9, 0.7, 0.4 and a floor of 0.1: shares of 0.1, 0.2, 0.3, 0.1 and 0.3."""


def _shares(frame: pd.DataFrame, layer: str = "shallow") -> pd.DataFrame:
    return frame[frame["layer"] == layer].set_index("part")


def test_shares_are_the_steps_between_what_methods_leave() -> None:
    """From 1, what the channel means leave, down to 0; a step of the grid counts as the grid's."""
    frame = partition(planted(LEFT))
    shares = _shares(frame)
    assert list(frame["part"].cat.categories) == list(FATES)
    np.testing.assert_allclose(shares["share"], [0.1, 0.2, 0.3, 0.1, 0.3])
    assert (shares["low"] < shares["share"] + 1e-12).all()
    assert (shares["share"] < shares["high"] + 1e-12).all()
    assert set(shares["n_images"]) == {5}
    assert set(shares["reason"]) == {""}
    # half as much is left in the deeper layer
    np.testing.assert_allclose(
        _shares(frame, "deep")["share"], [0.55, 0.1, 0.15, 0.05, 0.15], atol=1e-12
    )


def test_what_else_was_measured_counts_where_it_belongs() -> None:
    """Another warp is a warp, warp and mixing in turns a mixing; chance and the input are none."""
    more = {
        Method.IDENTITY: 0.85,
        Method.AFFINE: 0.6,
        Method.JOINT_LINEAR: 0.3,
        Method.INPUT: 0.0,
        Method.UNRELATED: 0.0,
        Method.UNRELATED_LINEAR: 0.0,
        Method.ANY_WARP: 0.0,
    }
    shares = _shares(partition(planted(LEFT | {m: [v] * 5 for m, v in more.items()})))
    np.testing.assert_allclose(shares["share"], [0.15, 0.25, 0.3, 0.1, 0.2])


residuals = st.lists(st.floats(0, 3), min_size=5, max_size=5)
measured = (*PARTITION_METHODS, Method.IDENTITY, Method.AFFINE, Method.ORACLE_PERMUTATION)


@settings(max_examples=8)
@given(st.fixed_dictionaries(dict.fromkeys(measured, residuals)))
def test_shares_lie_between_0_and_1_and_add_up(left: dict[Method, list[float]]) -> None:
    """Whatever the methods leave, also more than everything."""
    shares = _shares(partition(planted(left, layers=["shallow"])))
    # differences of numbers up to 1: rounding is some 1e-16 of these
    assert shares["share"].between(-1e-14, 1 + 1e-14).all()
    assert shares["share"].sum() == pytest.approx(1)
    assert (shares["low"] <= shares["share"] + 1e-12).all()
    assert (shares["share"] <= shares["high"] + 1e-12).all()
    assert shares[["low", "high"]].stack().between(-1e-14, 1 + 1e-14).all()


MANY = (*PARTITION_METHODS, Method.IDENTITY, Method.ORACLE, Method.AFFINE)


@pytest.mark.parametrize(
    ("means", "images", "least", "of_mixing"),
    [
        ((0.9, 0.6, 0.35, 0.1, 1.3, 1.0, 0.65), 10, 0.9, 0.9),  # methods apart
        ((0.95, 0.93, 0.9, 0.15, 1.1, 0.95, 0.92), 5, 0.9, 0.7),  # all nearly the same
        ((0.05, 0.5, 0.05, 0.05, 0.05, 0.6, 0.05), 10, 0.85, 0.85),  # an invariant layer
    ],
)
def test_intervals_cover_the_shares_of_the_population(
    means: tuple[float, ...], images: int, least: float, of_mixing: float
) -> None:
    """As often as said; draws of means alone would cover what is lost in two of three samples."""
    truth = _truth(means)
    covered = np.zeros(len(FATES))
    for seed in range(150):
        rng = np.random.default_rng(seed)
        # images that are hard for one method are hard for all, in half
        common, own = rng.gamma(4, 1 / 4, images), rng.gamma(4, 1 / 4, (len(means), images))
        values = np.array(means)[:, None] * (common + own) / 2
        left = {method: list(line) for method, line in zip(MANY, values, strict=True)}
        shares = _shares(partition(planted(left, layers=["shallow"])))
        within = (shares["low"] <= truth + 1e-9) & (truth <= shares["high"] + 1e-9)
        covered += within.to_numpy() / 150
    by_fate = dict(zip(FATES, covered, strict=True))
    assert by_fate.pop("mixing") >= of_mixing
    assert min(by_fate.values()) >= least


def _truth(means: tuple[float, ...]) -> np.ndarray:
    """Shares of five images that leave just these means."""
    left = {method: [mean] * 5 for method, mean in zip(MANY, means, strict=True)}
    return _shares(partition(planted(left, layers=["shallow"])))["share"].to_numpy()


@pytest.mark.parametrize("images", [1, 3, FEWEST_IMAGES - 1])
def test_too_few_images_give_no_share_and_the_reason(images: int) -> None:
    """Three images leave two to fit to: there is no number, nor a figure of one."""
    result = planted({method: values[:images] for method, values in LEFT.items()})
    shares = _shares(partition(result))
    assert shares[["share", "low", "high"]].isna().all().all()
    assert set(shares["reason"]) == {f"{images} images have values of all methods; give at least 5"}
    assert "partition" not in kinds(result)
    assert [text.get_text() for text in plot_partition(result).axes[0].texts] == ["no value"] * 2


def test_images_without_a_value_do_not_count() -> None:
    """Where one of five has no value of one method, four are left: too few."""
    missing = LEFT | {Method.ORACLE_LINEAR: [np.nan, *LEFT[Method.ORACLE_LINEAR][1:]]}
    shares = _shares(partition(planted(missing)))
    assert shares["share"].isna().all()
    assert set(shares["n_images"]) == {4}


def test_groups_follow_the_columns_asked_for() -> None:
    """By parameter each transform has its shares; one that changes nothing leaves all unchanged."""
    moves = [Rotation(90), Rotation(0), Scaling(0.5)]
    frame = partition(planted(LEFT, moves=moves), ["layer", "transform_number"])
    assert len(frame) == 2 * 3 * len(FATES)
    still = frame[frame["transform_number"] == 1].set_index(["layer", "part"])["share"]
    assert still["shallow"].tolist() == [1, 0, 0, 0, 0]


def test_a_run_without_the_methods_is_told_which_and_how() -> None:
    """The methods that are missing are named, with the ways to get them."""
    some = planted({m: v for m, v in LEFT.items() if m is not Method.IDENTITY_GAIN})
    with pytest.raises(InvalidInputError, match=r"lacks the methods identity\+gain; .*--explain"):
        partition(some)
    assert not some.partitioned
    with pytest.raises(InvalidInputError, match="every transform of this run is the identity"):
        partition(planted(LEFT, moves=[Rotation(0)]))


def test_a_bar_is_as_high_as_the_whole() -> None:
    """Shares of each layer lie on each other from 0 to 1, in the order of the parts."""
    result = planted(LEFT, moves=[Rotation(90), Scaling(0.5)])
    assert "partition" in kinds(result)
    figure = plot_partition(result)
    assert [axes.get_title() for axes in figure.axes] == ["rotation", "scaling"]
    for axes in figure.axes:
        bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
        np.testing.assert_allclose(
            [bar.get_height() for bar in bars[:5]], [0.1, 0.2, 0.3, 0.1, 0.3]
        )
        assert [bars[i].get_y() + bars[i].get_height() for i in (4, 9)] == pytest.approx([1, 1])
    assert list(FATE_COLOURS) == list(FATE_LABELS) == list(FATES)
    assert len(set(FATE_COLOURS.values())) == len(FATES)
