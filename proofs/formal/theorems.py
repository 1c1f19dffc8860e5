"""Which theorem in `proofs/formal/*.v` proves which claim, and what is not proven, and why."""

from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
"""Where the `.v` files are."""

MAIN = "main theorem"
"""The entry of `FORMAL` that is no claim of its own: P3, P10 and P11 in one statement."""


@dataclass(frozen=True, kw_only=True)
class Formal:
    """What of one claim is machine-checked.

    Args:
        file: name of the Coq file, without its ending; empty if nothing is checked.
        theorem: the claim itself.
        parts: theorems that state the rest of the claim.
        instances: theorems by which the assumptions can be met.
        mutants: theorems that refute a broken statement by a counterexample.
        assumptions: what the theorem asks, in words.
        missing: what of the claim Coq does not check, and why; empty if nothing.
    """

    file: str = ""
    theorem: str = ""
    parts: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    mutants: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    missing: str = ""

    @property
    def checked(self) -> bool:
        """Whether Coq proves the claim."""
        return bool(self.theorem)

    @property
    def names(self) -> tuple[str, ...]:
        """All theorems of the entry, without their file, the claim itself first."""
        first = (self.theorem,) if self.theorem else ()
        return (*first, *self.parts, *self.instances, *self.mutants)

    @property
    def qualified(self) -> tuple[str, ...]:
        """All theorems of the entry as ``file.theorem``."""
        return tuple(f"{self.file}.{name}" for name in self.names)

    @property
    def rest(self) -> str:
        """What the log calls the theorems of the file other than the claim itself."""
        return f"the rest of {self.file}"


FORMAL: dict[str, Formal] = {
    MAIN: Formal(
        file="main_theorem",
        theorem="main_theorem",
        parts=("main_theorem_continuous_images", "main_theorem_R2"),
        instances=("edge_detector_not_alignable",),
        mutants=("main_theorem_mutant_not_pointwise",),
        assumptions=(
            "G D_d = D_d G",
            "G semi-local",
            "G filters space: no single place, however small, is all it reads; for continuous "
            "images and a G continuous in the sup norm: G is not pointwise",
            "s other than 0, |s| other than 1",
            "the images are closed under shifts, the scaling and gluing",
            "the warp does not depend on the image",
        ),
    ),
    "P1": Formal(
        file="p01_translation_covariance",
        theorem="P1_translation_covariance",
        parts=("P1_composition",),
        mutants=("P1_mutant_fixed_window", "P1_mutant_stride"),
        assumptions=("stride 1", "no border"),
    ),
    "P2": Formal(
        file="p02_input_alignment",
        theorem="P2_input_alignment_suffices",
        mutants=("P2_mutant_twice",),
        assumptions=("h invertible",),
    ),
    "P3": Formal(
        file="p03_covariance_pins_the_warp",
        theorem="P3_covariance_pins_the_warp",
        parts=("P3_separation_is_automatic",),
        instances=("P3_instance",),
        mutants=("P3_mutant_inverse", "P3_mutant_no_separation"),
        assumptions=(
            "G D_d = D_d G",
            "G separates points; automatic for a semi-local G that is not constant, if images "
            "can be glued",
            "the warp does not depend on the image",
            "the images are closed under shifts and h",
        ),
    ),
    "P4": Formal(
        file="p04_alignment_is_feature_invariance",
        theorem="P4_alignment_is_feature_invariance",
        parts=("P4_warp_and_commutation",),
        mutants=("P4_mutant_shift_forgotten",),
        assumptions=(
            "G D_d = D_d G",
            "G separates points",
            "the warp does not depend on the image",
            "the images are closed under shifts and h",
        ),
    ),
    "P5": Formal(
        file="p05_linear_criterion",
        theorem="P5_linear_criterion",
        parts=("P5_and_P6_on_the_line",),
        instances=("P5_on_the_line",),
        mutants=("P5_mutant_no_shift",),
        assumptions=(
            "one linear layer",
            "continuous filters of bounded support, continuous images",
            "an integral with the substitution rule for h, differences and definiteness; proven "
            "for the line",
            "h and its inverse continuous, the inverse bounded",
        ),
        missing="Integrable filters and 'almost every' need Lebesgue's integral; on R^2 the "
        "substitution rule for all of GL(2) needs Fubini's theorem. Neither is in Coquelicot.",
    ),
    "P6": Formal(
        file="p06_no_scaling_no_shear",
        theorem="P6_no_scaling",
        parts=("P6_no_shear", "P6_norm_bound", "P6_orbit_bound"),
        mutants=("P6_mutant_reflection", "P6_mutant_unbounded"),
        assumptions=(
            "continuous filters of bounded support",
            "|s| other than 0 and 1; for shears R^2 and k other than 0",
        ),
        missing="Integrable filters without compact support rest on Poincare's recurrence "
        "theorem; maps other than scalings and shears, on the real canonical form of a matrix.",
    ),
    "P7": Formal(
        file="p07_rotation_needs_symmetric_filters",
        theorem="P7_generated_group",
        parts=("P7_finite_order", "P7_rational_angle", "P7_upper_bound", "P7_lower_bound"),
        instances=("P7_instance",),
        mutants=("P7_mutant_half_turn",),
        assumptions=(
            "origin at the filters' common centre, abs(det h) = 1",
            "for the bounds: U linear, of finite order, keeps the norm",
        ),
        missing="That a generic angle's multiples are dense, so that the filter is isotropic.",
    ),
    "P8": Formal(
        file="p08_channel_shift",
        theorem="P8_channel_shift",
        parts=("P8_warp_and_permutation", "P8_warp_alone", "P8_convolution"),
        instances=("P8_instance",),
        mutants=("P8_mutant_warp_alone", "P8_mutant_inverse"),
        assumptions=(
            "the bank is closed: l_(g c)(y) = l_c(g^-1 y) / abs(det g)",
            "the group contains inverses",
            "one nonlinearity for all channels",
        ),
    ),
    "P9": Formal(
        file="p09_any_warp_obstruction",
        theorem="P9_bilinear",
        parts=("P9_any_warp_obstruction", "P9_not_alignable_image_by_image"),
        instances=("P9_edge", "P9_edge_not_alignable"),
        mutants=("P9_mutant_nearest_vector",),
        assumptions=("bilinear sampling; a finite map is one surrounded by zeros",),
    ),
    "P10": Formal(
        file="p10_receptive_field",
        theorem="P10_receptive_field",
        parts=("P10_window", "P10_no_map_of_channels"),
        instances=("P10_instance",),
        mutants=("P10_mutant_reduction",),
        assumptions=(
            "G semi-local with radius R, and it sees beyond R / |s|: so if R is exact and |s| > 1",
            "the images are closed under the scaling",
        ),
    ),
    "P11": Formal(
        file="p11_depth_does_not_help",
        theorem="P11_depth_does_not_help",
        mutants=("P11_mutant_no_centre",),
        assumptions=(
            "G D_d = D_d G",
            "G semi-local",
            "G not constant",
            "the warp does not depend on the image",
            "s other than 0, |s| other than 1",
            "the images are closed under shifts, the scaling and gluing",
        ),
    ),
    "P12": Formal(
        file="p12_pooling_over_the_orbit",
        theorem="P12_pooling_over_the_orbit",
        parts=("P12_aligned", "P12_price"),
        instances=("P12_instance", "P12_price_instance"),
        mutants=("P12_mutant_half_orbit",),
        assumptions=(
            "the bank is closed under the group (P8), which permutes the orbit",
            "for the price: the pooled extractor covariant and semi-local with radius R >= 0, h "
            "keeps distances, parts farther apart than 2 R",
        ),
    ),
    "P13": Formal(
        missing="A law about random fields: it needs stationary processes, their spectral measure "
        "and Gaussian integrals. No library of Debian's Coq has them; it stays numerical.",
    ),
    "P14": Formal(
        missing="A statement about indices of strided and padded arrays, which the lattice's draws "
        "check without rounding; a proof would formalise the arrays anew. It stays numerical.",
    ),
    "P15": Formal(
        file="p15_deep_features_may_steer",
        theorem="P15_deep_features_may_steer",
        instances=("P15_instance",),
        mutants=("P15_mutant_order", "P15_mutant_moved_features"),
        assumptions=("the prediction is right for this image and map: q(T_h f) = h q(f)",),
        missing="That the moments of the features of a linear layer give a right prediction.",
    ),
    "P16": Formal(
        file="p16_iterate_by_composing",
        theorem="P16_iterate_by_composing",
        parts=(
            "P16_waves_stay_waves",
            "P16_repeated",
            "P16_amplitude",
            "P16_gain",
            "P16_gain_below_1",
            "P16_blur_grows",
            "P16_nothing_left",
            "P16_once",
            "P16_once_whole",
            "P16_enough_steps",
        ),
        mutants=("P16_mutant_order", "P16_mutant_always_worse", "P16_mutant_whole"),
        assumptions=(
            "linear maps, in the order applied",
            "on the grid: one direction, a wave, shifts by the same bilinear fraction",
        ),
    ),
}
"""The main theorem and each claim."""
