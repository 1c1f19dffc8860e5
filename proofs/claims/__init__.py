"""The sixteen claims, one a file: statement, proof, strategy, residual, negative control."""

from proofs.claim import Claim
from proofs.claims import (
    p01_translation_covariance,
    p02_input_alignment,
    p03_covariance_pins_the_warp,
    p04_alignment_is_feature_invariance,
    p05_linear_criterion,
    p06_no_scaling_no_shear,
    p07_rotation_needs_symmetric_filters,
    p08_channel_shift,
    p09_any_warp_obstruction,
    p10_receptive_field,
    p11_depth_does_not_help,
    p12_pooling_over_the_orbit,
    p13_spectral_law,
    p14_sampling,
    p15_deep_features_may_steer,
    p16_iterate_by_composing,
)

CLAIMS: dict[str, Claim] = {
    module.CLAIM.id: module.CLAIM
    for module in (
        p01_translation_covariance,
        p02_input_alignment,
        p03_covariance_pins_the_warp,
        p04_alignment_is_feature_invariance,
        p05_linear_criterion,
        p06_no_scaling_no_shear,
        p07_rotation_needs_symmetric_filters,
        p08_channel_shift,
        p09_any_warp_obstruction,
        p10_receptive_field,
        p11_depth_does_not_help,
        p12_pooling_over_the_orbit,
        p13_spectral_law,
        p14_sampling,
        p15_deep_features_may_steer,
        p16_iterate_by_composing,
    )
}
"""All claims by id, in order."""
