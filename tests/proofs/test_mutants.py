"""Each claim's formula, broken in one place, is caught by the claim's own check."""

import math
from types import ModuleType

import numpy as np
import pytest
import torch

from proofs import claims
from proofs.checking import measure
from proofs.claim import Kind
from proofs.worlds import defects, plane_maps, sampled_spectral, spectral
from proofs.worlds.gaussians import warped_back
from proofs.worlds.lattice import Symmetry
from tests.certificates import exact_hulls


def nearest_vectors(reference, offered):
    """Distances to single feature vectors instead of hulls."""
    channels, height, width = reference.shape
    flat = torch.cdist(reference.reshape(channels, -1).T, offered.reshape(channels, -1).T)
    return flat.min(dim=1).values.reshape(height, width)


def two_corners(reference, offered):
    """Hulls of the diagonals of the cells only."""
    corners = exact_hulls.cells(P9.ringed(offered).numpy())[:, [0, 3, 0, 3]]
    flat = reference.reshape(len(reference), -1).T.numpy()
    nearest = exact_hulls.distances_to_hulls(flat, corners).min(axis=1)
    return torch.from_numpy(nearest).reshape(reference.shape[1:])


def unmoved(reference, offered):
    """The map itself in place of the map that is offered."""
    return right_bounds(reference, reference)


def pose_without_correction(features, shared):
    """Centroids of the maps instead of those of the image."""
    pose = np.column_stack([P15.first_moment(m) / m.integral() for m in features])
    # a singular pose cannot be undone, the image then stays as it is
    return pose if abs(np.linalg.det(pose)) > plane_maps.SMALLEST_DETERMINANT else np.eye(2)


P1, P2, P3, P4 = (
    claims.p01_translation_covariance,
    claims.p02_input_alignment,
    claims.p03_covariance_pins_the_warp,
    claims.p04_alignment_is_feature_invariance,
)
P5, P6, P7, P8 = (
    claims.p05_linear_criterion,
    claims.p06_no_scaling_no_shear,
    claims.p07_rotation_needs_symmetric_filters,
    claims.p08_channel_shift,
)
P9, P10, P11, P12 = (
    claims.p09_any_warp_obstruction,
    claims.p10_receptive_field,
    claims.p11_depth_does_not_help,
    claims.p12_pooling_over_the_orbit,
)
P13, P14, P15, P16 = (
    claims.p13_spectral_law,
    claims.p14_sampling,
    claims.p15_deep_features_may_steer,
    claims.p16_iterate_by_composing,
)
right_bounds = P9.bounds
right_pose = P15.predicted_pose
right_mean = P7.symmetric_part

# module of the claim, number of the setting, where the formula is, its name, the broken formula
# one mutant lies on a line or two: the formatter is kept from parting them
MUTANTS = {
    "P1 wrong sign": (P1, 0, P1, "position_in_unshifted", lambda x, d: x + d),
    "P1 no shift": (P1, 0, P1, "position_in_unshifted", lambda x, d: x),
    "P1 twice the shift": (P1, 0, P1, "position_in_unshifted", lambda x, d: x - 2 * d),
    "P1 axes swapped": (P1, 1, P1, "map_shift", lambda right, down: (down, right)),
    "P1 off by a pixel": (P1, 1, P1, "map_shift", lambda right, down: (right + 1, down)),
    "P2 h for its inverse": (P2, 0, P2, "undoing", lambda h: h),
    "P2 transpose for inverse": (P2, 0, P2, "undoing", lambda h: h.T),
    "P2 adjugate for inverse": (
        P2, 0, P2, "undoing", lambda h: plane_maps.inverse(h) * plane_maps.determinant(h)
    ),
    "P2 turned on": (P2, 1, P2, "undoing_symmetry", lambda h: h),
    "P2 flip forgotten": (P2, 1, P2, "undoing_symmetry", lambda h: Symmetry(-h.turns % 4)),
    "P3 inverse": (
        P3, 0, P3, "predicted_displacement", lambda h, x: plane_maps.move(plane_maps.inverse(h), x)
    ),
    "P3 identity": (P3, 0, P3, "predicted_displacement", lambda h, x: x),
    "P3 transpose": (P3, 0, P3, "predicted_displacement", lambda h, x: plane_maps.move(h.T, x)),
    "P4 shift forgotten": (P4, 0, P4, "moved_maps", lambda m, h, b: tuple(f.moved(h) for f in m)),
    "P4 shift before": (
        P4, 0, P4, "moved_maps", lambda m, h, b: tuple(f.shifted(b).moved(h) for f in m)
    ),
    "P4 inverse": (
        P4, 0, P4, "moved_maps",
        lambda m, h, b: tuple(f.moved(plane_maps.inverse(h)).shifted(b) for f in m),
    ),
    "P5 no determinant": (
        P5, 0, P5, "seen_filter",
        lambda f, h, b: 1 / abs(plane_maps.determinant(h)) * warped_back(f, h, b),
    ),
    "P5 inverse": (
        P5, 0, P5, "seen_filter",
        lambda f, h, b: warped_back(f, plane_maps.inverse(h), b),
    ),
    "P5 shift forgotten": (P5, 0, P5, "seen_filter", lambda f, h, b: warped_back(f, h)),
    "P5 signed determinant": (
        P5, 0, P5, "seen_filter",
        lambda f, h, b: np.sign(plane_maps.determinant(h)) * warped_back(f, h, b),
    ),
    "P5 kernel moved the wrong way": (P5, 1, P5, "seen_kernel", lambda k, h: h(k)),
    "P6 areas only": (P6, 0, P6, "forced_defect", lambda f, h: defects.norm_bound(h)),
    "P6 determinant without root": (
        P6, 0, defects, "norm_bound", lambda h: abs(abs(plane_maps.determinant(h)) - 1)
    ),
    "P6 steps not counted": (P6, 0, defects, "orbit_bound", lambda f, h: math.sqrt(2)),
    "P6 norms added": (
        P6, 0, defects, "norm_bound", lambda h: math.sqrt(abs(plane_maps.determinant(h))) + 1
    ),
    "P7 one element short": (
        P7, 0, P7, "symmetric_part", lambda f, h, q: right_mean(f, h, max(1, q - 1))
    ),
    "P7 pair only": (P7, 0, P7, "symmetric_part", lambda f, h, q: right_mean(f, h, 2)),
    "P7 not averaged": (P7, 0, P7, "symmetric_part", lambda f, h, q: q * right_mean(f, h, q)),
    "P7 kernel as it is": (P7, 2, P7, "symmetric_kernel", lambda k, h: k),
    "P8 the other way": (P8, 0, P8, "channel_shown", lambda c, h, q: (c + h) % q),
    "P8 no permutation": (P8, 0, P8, "channel_shown", lambda c, h, q: c),
    "P8 one too far": (P8, 1, P8, "channel_shown", lambda c, h, q: (c - h - 1) % q),
    "P8 reversed": (P8, 1, P8, "channel_shown", lambda c, h, q: (h - c) % q),
    "P9 nearest vector": (P9, 0, P9, "bounds", nearest_vectors),
    "P9 diagonals": (P9, 0, P9, "bounds", two_corners),
    "P9 unmoved map": (P9, 1, P9, "bounds", unmoved),
    "P9 no ring of zeros": (P9, 0, P9, "ringed", lambda m: m),
    "P10 window not shrunk": (P10, 0, P10, "window_radius", lambda r, s: r),
    "P10 window grown": (P10, 0, P10, "window_radius", lambda r, s: r * s),
    "P10 window too small": (P10, 0, P10, "window_radius", lambda r, s: r / s**2),
    "P11 no scaling": (P11, 0, P11, "window_radius", lambda r, s, n: r),
    "P11 one step too many": (P11, 0, P11, "window_radius", lambda r, s, n: r / abs(s) ** (n + 1)),
    "P11 too few steps": (P11, 0, P11, "scalings_needed", lambda r, tap, s: 0),
    "P12 one channel": (P12, 0, P12, "pooled_over_orbit", lambda v, mean: v[:, 0]),
    "P12 weighted": (P12, 0, P12, "pooled_over_orbit", lambda v, mean: v @ np.arange(v.shape[1])),
    "P12 first of the orbit": (P12, 1, P12, "pooled", lambda m, q: m[:, ::q]),
    "P12 difference": (P12, 2, P12, "pooled", lambda m, q: m[:, ::q] - 2 * m[:, 1::q]),
    "P13 h": (P13, 0, spectral, "transported", lambda w, h: plane_maps.move(h, w)),
    "P13 inverse": (
        P13, 0, spectral, "transported",
        lambda w, h: plane_maps.move(plane_maps.inverse(h), w),
    ),
    "P13 transpose": (P13, 0, spectral, "transported", lambda w, h: plane_maps.move(h.T, w)),
    "P13 normalised by the other": (
        P13, 0, spectral, "linear_residual",
        lambda m: (m[..., 0] + m[..., 1] - 2 * m[..., 2]) / m[..., 1],
    ),
    "P13 as if uncorrelated": (
        P13, 0, spectral, "rectified_product", lambda v, w, c: np.sqrt(v * w) / (2 * np.pi)
    ),
    "P13 half the covariance": (P13, 0, spectral, "rectified_product", lambda v, w, c: c / 2),
    "P13 nearest sample": (P13, 2, sampled_spectral, "cubic", lambda d: np.abs(d) < 0.5),
    "P13 read as a line": (
        P13, 2, sampled_spectral, "cubic", lambda d: np.maximum(1 - np.abs(d), 0)
    ),
    "P14 stride forgotten": (P14, 0, P14, "pixels_for", lambda coarse, stride: coarse),
    "P14 wrong sign": (P14, 0, P14, "pixels_for", lambda coarse, stride: -coarse * stride),
    "P14 always centred": (P14, 1, P14, "keeps_centre", lambda n, k, p, s: True),
    "P14 width divisible": (P14, 1, P14, "keeps_centre", lambda n, k, p, s: n % s == 0),
    "P15 transposed": (P15, 0, P15, "predicted_pose", lambda m, g: right_pose(m, g).T),
    "P15 filters ignored": (P15, 0, P15, "predicted_pose", pose_without_correction),
    "P15 inverse": (
        P15, 0, P15, "predicted_pose", lambda m, g: plane_maps.inverse(right_pose(m, g))
    ),
    "P16 reversed": (P16, 0, P16, "composed", lambda hs: np.linalg.multi_dot([*hs, np.eye(2)])),
    "P16 last step only": (P16, 0, P16, "composed", lambda hs: hs[-1]),
    "P16 no blur": (P16, 1, P16, "gain", lambda shift, w: 1.0),
    "P16 whole part counted": (
        P16, 1, P16, "gain", lambda shift, w: abs((1 - shift) + shift * np.exp(-1j * w))
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "number", "place", "name", "broken"), MUTANTS.values(), ids=MUTANTS
)
def test_mutant_is_caught(
    monkeypatch: pytest.MonkeyPatch, claim: ModuleType, number: int, place, name: str, broken
) -> None:
    """A broken formula gives residuals above the tolerance, or no instance that should exist."""
    setting = claim.CLAIM.settings[number]
    monkeypatch.setattr(place, name, broken)
    evidence = measure(
        setting.cases,
        setting.residual,
        tolerance=setting.tolerance,
        kind=setting.kind,
        examples=40,
        shrinking=0,
    )
    assert evidence.cases > 0
    if setting.kind is Kind.THERE_EXISTS:
        assert evidence.met == 0, f"{evidence.met} cases still meet the broken claim"
    else:
        assert evidence.met < evidence.cases, "no residual exceeds the tolerance"


def test_three_mutants_a_claim() -> None:
    """Each of the sixteen claims is broken in at least three ways."""
    counts = [name.split()[0] for name in MUTANTS]
    assert {f"P{n}": counts.count(f"P{n}") >= 3 for n in range(1, 17)} == {
        f"P{n}": True for n in range(1, 17)
    }
