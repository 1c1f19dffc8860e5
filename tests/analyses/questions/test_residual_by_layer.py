"""Residuals by layer: their order, and what is averaged."""

import pandas as pd

from analyses.questions import residual_by_layer
from tests.analyses.questions.measured import assert_answered, measured


def test_the_tiny_preset_is_answered_and_drawn() -> None:
    """Table and figure are whole."""
    assert_answered(residual_by_layer)


def test_residuals_keep_their_order() -> None:
    """On every map, any-warp <= affine <= min(oracle, identity), and no row lacks a value."""
    frame = measured(residual_by_layer)
    keys = ["layer", "transform", "parameter", "image"]
    wide = frame.pivot(index=keys, columns="method", values="value")
    assert not wide.isna().any(axis=None)
    assert (wide["any-warp"] <= wide["affine"] + 1e-5).all()
    assert (wide["affine"] <= wide[["oracle", "identity"]].min(axis=1) + 1e-5).all()


def test_what_changes_nothing_is_left_out_of_the_means() -> None:
    """A rotation by 0 degrees does not lower a mean."""
    frame = measured(residual_by_layer)
    table = residual_by_layer.summary(frame)
    moved = frame[frame["parameter"] != 0]
    pd.testing.assert_frame_equal(table, residual_by_layer.summary(moved))
    assert len(moved) < len(frame)
