"""Runs that are to be the same to the last bit."""

import numpy as np
import pandas as pd

import invariance_probe as ip


def assert_same(got: ip.ProbeResult, want: ip.ProbeResult) -> None:
    """Compare two runs; their provenance may differ.

    Args:
        got: A run.
        want: Another one.
    """
    pd.testing.assert_frame_equal(got.table, want.table, check_exact=True)
    pd.testing.assert_frame_equal(got.layers, want.layers, check_exact=True)
    pd.testing.assert_frame_equal(got.channels, want.channels, check_exact=True)
    assert {**got.config, "provenance": 0} == {**want.config, "provenance": 0}
    assert len(got.strips) == len(want.strips) > 0
    for one, other in zip(got.strips, want.strips, strict=True):
        np.testing.assert_array_equal(one.maps, other.maps)
