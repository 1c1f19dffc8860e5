"""Measure how far a spatial warp can re-align a CNN's feature maps.

The public surface: transform the input (`Rotation`, `Scaling`, `Shear`, `Translation`,
`Reflection`, `Affine`, `sweep`), list a model's layers (`list_layers`), measure (`probe`, which
returns a `ProbeResult`), align two maps at hand (`align`, which returns an `Alignment`), or prove
what no warp can beat (`any_warp_bound`, `certify`). `controls` holds networks whose answer is
known, `stn` the trainings.
"""

from invariance_probe.alignment.aligning import Alignment, align
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.certificates.any_warp import any_warp_bound
from invariance_probe.certificates.branch_and_bound import CertificateOptions, certify
from invariance_probe.errors import InvalidInputError
from invariance_probe.network.features import list_layers
from invariance_probe.plane.transforms import (
    Affine,
    Reflection,
    Rotation,
    Scaling,
    Shear,
    Transform,
    Translation,
    sweep,
)
from invariance_probe.probing.probe import probe
from invariance_probe.results.methods import METHODS
from invariance_probe.results.result import ProbeResult

__all__ = [
    "METHODS",
    "Affine",
    "Alignment",
    "CertificateOptions",
    "InvalidInputError",
    "Outcome",
    "ProbeResult",
    "Reflection",
    "Rotation",
    "Scaling",
    "SearchOptions",
    "Shear",
    "Transform",
    "Translation",
    "align",
    "any_warp_bound",
    "certify",
    "list_layers",
    "probe",
    "sweep",
]
