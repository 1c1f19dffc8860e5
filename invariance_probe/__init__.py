"""Measure how far a spatial warp can re-align a CNN's feature maps.

The public surface: transform the input (`Rotation`, `Scaling`, `Shear`, `Translation`,
`Reflection`, `Affine`, `sweep`), list a model's layers (`list_layers`), measure (`probe`, which
returns a `ProbeResult`), put re-aligned maps back and run the rest of the network (`recover`),
align two maps at hand (`align`, which returns an `Alignment`, or, by a smooth warp, `align_flow`,
which returns a `Flow`), or prove what no warp can beat (`any_warp_bound`, `certify`). `load_model`
and `open_images` bring models and images in, `SpatialTransformer` is the module that a network
learns to align with, and `controls` holds networks whose answer is known.
"""

from invariance_probe.alignment.aligning import Alignment, align
from invariance_probe.alignment.flow import Flow, align_flow
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.certificates.any_warp import any_warp_bound
from invariance_probe.certificates.branch_and_bound import CertificateOptions, certify
from invariance_probe.data.pictures import open_images
from invariance_probe.errors import InvalidInputError
from invariance_probe.network.features import list_layers
from invariance_probe.network.models import load_model
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
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.probe import probe
from invariance_probe.probing.readout import recover
from invariance_probe.results.methods import METHODS
from invariance_probe.results.result import ProbeResult
from invariance_probe.stn.transformer import SpatialTransformer

__all__ = [
    "METHODS",
    "Affine",
    "Alignment",
    "CertificateOptions",
    "Flow",
    "InvalidInputError",
    "Outcome",
    "ProbeOptions",
    "ProbeResult",
    "Reflection",
    "Rotation",
    "Scaling",
    "SearchOptions",
    "Shear",
    "SpatialTransformer",
    "Transform",
    "Translation",
    "align",
    "align_flow",
    "any_warp_bound",
    "certify",
    "list_layers",
    "load_model",
    "open_images",
    "probe",
    "recover",
    "sweep",
]
