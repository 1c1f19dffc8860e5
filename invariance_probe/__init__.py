"""Measure how far a spatial warp can re-align a CNN's feature maps.

The public surface: transform the input (`Rotation`, `Scaling`, `Shear`, `Translation`,
`Reflection`, `Affine`, `sweep`), list a model's layers (`list_layers`), measure (`probe`, which
returns a `ProbeResult`), put re-aligned maps back and run the rest of the network (`recover`), find
what a network moves by itself and what that leaves (`audit`, which returns an `Audit`),
align two maps at hand (`align`, which returns an `Alignment`, or, by a smooth warp, `align_flow`,
which returns a `Flow`), or prove what no warp can beat (`any_warp_bound`, `certify`). `load_model`
and `open_images` bring models and images in, `SpatialTransformer` is the module that a network
learns to align with, and `controls` holds networks whose answer is known.

A name is imported when it is asked for, so that the command line answers before torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; `_HOME` says the same at run time
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
    from invariance_probe.probing.audit import Audit, audit
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
    "Audit",
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
    "audit",
    "certify",
    "list_layers",
    "load_model",
    "open_images",
    "probe",
    "recover",
    "sweep",
]

_ROOMS = {
    "alignment.aligning": "Alignment align",
    "alignment.flow": "Flow align_flow",
    "alignment.outcomes": "Outcome",
    "alignment.search": "SearchOptions",
    "certificates.any_warp": "any_warp_bound",
    "certificates.branch_and_bound": "CertificateOptions certify",
    "data.pictures": "open_images",
    "errors": "InvalidInputError",
    "network.features": "list_layers",
    "network.models": "load_model",
    "plane.transforms": "Affine Reflection Rotation Scaling Shear Transform Translation sweep",
    "probing.audit": "Audit audit",
    "probing.options": "ProbeOptions",
    "probing.probe": "probe",
    "probing.readout": "recover",
    "results.methods": "METHODS",
    "results.result": "ProbeResult",
    "stn.transformer": "SpatialTransformer",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562): a public name, or a room."""
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value  # asked once
        return value
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from error


def __dir__() -> list[str]:
    """The public names, whether or not they have been imported."""
    return sorted({*globals(), *__all__})
