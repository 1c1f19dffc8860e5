"""Public functions and classes, given good values and others in their place."""

import decimal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import report
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.results.methods import METHODS
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training.configuration import TrainConfig
from invariance_probe.training.runs import TrainResult
from tests.fuzz.judging import Judge
from tests.profiles import share

NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS, MOVED = torch.rand(2, 2, 4, 9, 9, generator=torch.Generator().manual_seed(1))
REGION = torch.ones(2, 9, 9, dtype=torch.bool)
NAN, INF = float("nan"), float("inf")

_LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda t: t,
    "sparse": lambda t: t.to_sparse(),
    "hollow": lambda t: t.to("meta"),
    "strided": lambda t: t.mT,
    "expanded": lambda t: t[:1].expand(t.shape) if t.dim() else t,
    "with gradient": lambda t: t.float().clone().requires_grad_(),
    "not finite": lambda t: t.float() * NAN,
    "endless": lambda t: t.float() + INF,
    "tiny": lambda t: t.float() * 1e-40,
    "huge": lambda t: t.float() * 1e38,
    "nothing": lambda t: t.float() * 0,
    "numpy": lambda t: t.numpy(),  # type: ignore[return-value]  (bad on purpose)
}
_NO_TENSORS = ("sparse", "hollow", "numpy", "strided")
_TYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn),
    *(torch.uint8, torch.int64, torch.bool, torch.complex64),
)


@st.composite
def tensors(draw: st.DrawFn) -> object:
    """Draw a small tensor of any kind, with none to five dimensions, some of them empty."""
    usual = st.sampled_from([(2, 3, 16, 16), (2, 4, 9, 9), (4, 9, 9), (2, 9, 9), (2, 3), (3, 3)])
    odd = st.lists(st.integers(0, 5), max_size=5).map(tuple)
    made = torch.rand(draw(st.one_of(usual, odd)), generator=torch.Generator().manual_seed(2))
    typed = (3 * made).to(draw(st.sampled_from(_TYPES)))
    change = _LAYOUTS[draw(st.sampled_from(list(_LAYOUTS)))]
    try:
        return change(typed)
    except (RuntimeError, TypeError, NotImplementedError):  # not for this type or number of axes
        return typed


ODD: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 10**30, -(10**30), 0.0, 0.5, 1.5, -1.5, 1e-320),
    *(1e308, NAN, INF, -INF, 1j, "", "a", "0", "1", "nan", "\0", "\ud800", "a\nb", "x" * 5000),
    *("..", "/dev/null", "*", "[", b"", b"a", (), [], {}, set(), [None], [[]], ["a"]),
    *({"a": 1}, range(3), object, object(), len, nn.Module, Path("/nope"), Path("x" * 5000)),
    *(np.float64(NAN), np.int64(2), np.array(["a"]), np.zeros((2, 2)), decimal.Decimal("NaN")),
    *(NET, NET[0], nn.Identity(), nn.Conv2d(3, 4, 3, device="meta"), nn.LazyLinear(3)),
    *(ip.Rotation(30), ip.Scaling(0.5), [ip.Rotation(90)], ip.Rotation),
    *([ip.Scaling(1e-9)], [ip.Scaling(1e9)], [ip.Translation(1e12)], [ip.Affine([[1, 0], [0]])]),
    *(ip.ProbeOptions(), ip.SearchOptions(), ip.CertificateOptions(), ["oracle"], [METHODS[0]]),
)
"""Values that one function or another has no use for."""
ANYTHING: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(ODD),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=3)), max_size=4),
    tensors(),
)

Call = tuple[Callable[..., object], Mapping[str, Any]]


def _used(move: Any) -> object:
    """A transform put to use: what it cannot stand, it may say now."""
    move.parameter  # noqa: B018  (what it raises counts)
    move.inverse().matrix  # noqa: B018  (the same)
    return move(IMAGES)


def _loaded(**given: Any) -> object:
    images, _ = ip.open_images(**given)
    return images[0], images.names


def _reported(folders: Any) -> object:
    return report.page(report.find(folders, report.SIGNS))


_PAIR: dict[str, Any] = {"reference": MAPS, "moved": MOVED}
_ALIGN = _PAIR | {
    "oracle": torch.eye(2, 3),
    "region": REGION,
    "channel_mean": torch.zeros(2, 4),
    "max_distortion": 2.0,
}
_SEARCH: dict[str, Any] = {
    "max_distortion": 2.0,
    "max_steps": 3,
    "angles": 2,
    "scales": (0.7,),
    "shift": 0.3,
    "mode": "bilinear",
}
_PROVE: dict[str, Any] = {
    "family": "similarity",
    "gap": 0.5,
    "floor": 0.1,
    "max_boxes": 50,
    "time_limit_s": 1.0,
    "max_distortion": 1.5,
}
_PROBE: dict[str, Any] = {
    "model": NET,
    "images": IMAGES,
    "layers": "0",
    "transforms": [ip.Rotation(90)],
    "methods": ["oracle", "identity"],
    "crop": 16,
    "mean": 0.5,
    "std": (1.0, 1.0, 1.0),
    "fill": 0.0,
    "device": "cpu",
    "dtype": "float32",
    "batch_size": 2,
    "seed": 1,
    "antialias": True,
    "margin": 0.5,
    "name": "a",
}
_OPTIONS = {name: _PROBE[name] for name in list(_PROBE)[4:-1]}
_TRAINING: dict[str, Any] = {
    "data": "mnist-5k",
    "perturbation": parse_perturbation("rotation"),
    "variant": parse_variant("c0"),
    "seed": 0,
    "width": 0.1,
    "steps": 2,
    "batch": 4,
    "rate": 1e-3,
    "output_share": 1.0,
    "momentum": 0.9,
}

CALLS: dict[str, Call] = {
    "Rotation": (lambda **g: _used(ip.Rotation(**g)), {"degrees": 30.0}),
    "Scaling": (lambda **g: _used(ip.Scaling(**g)), {"factor": 0.5}),
    "Shear": (lambda **g: _used(ip.Shear(**g)), {"x": 0.5, "y": 0.1}),
    "Translation": (lambda **g: _used(ip.Translation(**g)), {"dx": 2, "dy": 0.5}),
    "Reflection": (lambda **g: _used(ip.Reflection(**g)), {"axis_degrees": 45}),
    "Affine": (
        lambda **g: _used(ip.Affine(**g)),
        {"affine_matrix": [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]]},
    ),
    "a transform": (ip.Rotation(30), {"images": IMAGES, "crop": (9, 8), "fill": 0.5}),
    "sweep": (ip.sweep, {"kind": "scaling", "start": 0.5, "stop": 2, "step": 0.5}),
    "ProbeOptions": (ip.ProbeOptions, _OPTIONS | {"search": ip.SearchOptions()}),
    "SearchOptions": (lambda **g: ip.SearchOptions(**g).check(), _SEARCH),
    "align's options": (lambda **g: ip.align(MAPS, MOVED, options=ip.SearchOptions(**g)), _SEARCH),
    "align": (ip.align, _ALIGN),
    "align_flow": (ip.align_flow, _ALIGN),
    "any_warp_bound": (ip.any_warp_bound, _PAIR | {"region": REGION, "exact_up_to": 10**4}),
    "certify": (
        lambda **g: ip.certify(**g, options=ip.CertificateOptions(max_boxes=50)),
        {
            "reference": MAPS[0],
            "moved": MOVED[0],
            "oracle": torch.eye(2, 3),
            "region": REGION[0],
            "channel_mean": torch.zeros(4),
        },
    ),
    "CertificateOptions": (
        lambda **g: ip.certify(MAPS[0], MOVED[0], options=ip.CertificateOptions(**g)),
        _PROVE,
    ),
    "list_layers": (ip.list_layers, {"model": NET, "images": IMAGES}),
    "probe": (ip.probe, _PROBE),
    "recover": (
        ip.recover,
        _PROBE | {"labels": [0, 1], "classes": list("abcde"), "outside": "reference"},
    ),
    "load_model": (ip.load_model, {"name": "torch.nn:Identity", "weights": None}),
    "open_images": (
        _loaded,
        {"images": "photographs", "canvas": 16, "channels": 3, "skip_bad": False},
    ),
    "SpatialTransformer": (
        ip.SpatialTransformer,
        {
            "localizer": nn.Sequential(nn.Flatten(), nn.Linear(768, 4)),
            "features": 4,
            "parametrisation": "affine",
            "mode": "bilinear",
            "padding": "border",
            "output_share": 1.0,
            "gradient_scale": 1.0,
        },
    ),
    "TrainConfig": (TrainConfig, _TRAINING),
    "parse_perturbation": (parse_perturbation, {"text": "rotation"}),
    "parse_variant": (parse_variant, {"text": "c0"}),
}


def _like(good: object) -> st.SearchStrategy[object]:
    """Values of the kind of a good one, most of which can be used."""
    if isinstance(good, Tensor):
        kinds = st.sampled_from((good.dtype, good.dtype, *_TYPES))
        changes = st.sampled_from([each for each in _LAYOUTS if each not in _NO_TENSORS])
        return st.builds(lambda kind, change: _LAYOUTS[change](good.to(kind)), kinds, changes)
    if isinstance(good, bool):
        return st.booleans()
    if isinstance(good, int):
        return st.integers(0, 2 * good + 1)
    if isinstance(good, float):
        return st.floats(0, 2 * good)
    return ANYTHING


_ONE_IN_FOUR = st.sampled_from((False, False, False, True))


@st.composite
def others(draw: st.DrawFn, good: Mapping[str, Any]) -> dict[str, object]:
    """Draw values to stand in the place of up to three good ones."""
    names = draw(st.lists(st.sampled_from(list(good)), max_size=3, unique=True))
    return {name: draw(ANYTHING if draw(_ONE_IN_FOUR) else _like(good[name])) for name in names}


def fuzz(judge: Judge, call: Callable[..., object], good: Mapping[str, Any]) -> None:
    """Put other values in the place of up to three good ones."""

    def values_are_taken_or_refused(given_instead: dict[str, object]) -> None:
        torch.manual_seed(0)
        judge(lambda: call(**{**good, **given_instead}))

    drawn = share(8)(given(others(good))(values_are_taken_or_refused))
    # a few draws may all be good, or all bad
    for one in ({}, *({name: object()} for name in good)):
        drawn = example(one)(drawn)
    drawn()


@pytest.mark.parametrize("name", CALLS)
def test_arguments(name: str) -> None:
    """A call does what it does, or refuses a value in a line."""
    judge = Judge()
    fuzz(judge, *CALLS[name])
    judge.saw_both(name)


@pytest.fixture(scope="module")
def probed() -> str:
    """A run folder."""
    folder = Path(tempfile.mkdtemp()) / "probe"
    ip.probe(out=folder, **_PROBE)
    return str(folder)


def test_run_folders(probed: str) -> None:
    """What is no run folder is refused in a line, whatever it is."""
    for name, call, good in (
        ("ProbeResult.load", ip.ProbeResult.load, {"folder": probed}),
        ("report", _reported, {"folders": [Path(probed)]}),
    ):
        judge = Judge()
        fuzz(judge, call, good)
        judge.saw_both(name)
    judge = Judge()
    fuzz(judge, TrainResult.load, {"folder": "/nope"})
    assert judge.counted["refused"] > 0
