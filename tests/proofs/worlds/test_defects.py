"""Bounds on how far a filter is from the criterion stay below what is measured."""

import numpy as np
import pytest
from hypothesis import given

from proofs.draws.gaussians import gaussian_sums, rotations, scalings, shears
from proofs.worlds import defects, plane_maps
from proofs.worlds.gaussians import GaussianSum

SLACK = 1e-7
"""Norms are roots of what is rounded at 1e-15."""


@given(filter_=gaussian_sums(), h=scalings())
def test_a_change_of_area_bounds_the_defect(filter_: GaussianSum, h: np.ndarray) -> None:
    """No filter comes closer to its scaled self than the norms do."""
    assert defects.defect(filter_, h) >= defects.norm_bound(h) - SLACK


@given(filter_=gaussian_sums(), h=shears() | rotations())
def test_the_orbit_bounds_the_defect(filter_: GaussianSum, h: np.ndarray) -> None:
    """Where areas are kept, many steps bound one."""
    assert defects.norm_bound(h) == pytest.approx(0, abs=1e-12)
    assert defects.defect(filter_, h) >= defects.orbit_bound(filter_, h) - SLACK


@given(filter_=gaussian_sums(isotropic=True))
def test_a_filter_that_meets_the_criterion_has_no_defect(filter_: GaussianSum) -> None:
    """Isotropic filters are unchanged by every rotation, and changed by a shear."""
    turn, shear = plane_maps.rotation(17), plane_maps.shear(1)
    assert defects.pointwise_defect(filter_, turn) < 1e-12
    assert defects.defect(filter_, turn) < 1e-6
    assert defects.pointwise_defect(filter_, shear) > 1e-3
