"""Every annotation of the packages is checked while the tests run."""

import os
import sys
from importlib import util
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # a core each: threads of processes side by side would wait for each other, and never rest
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# ruff: noqa: E402  (the line above before torch; the hook below before the packages)
from jaxtyping import install_import_hook

from tests import profiles, typechecking

ROOT = Path(__file__).resolve().parents[1]


def _import_unchecked(name: str) -> None:
    """Import a module without its package, and before the hook wraps its functions."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    spec = util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = util.module_from_spec(spec)
    spec.loader.exec_module(module)


# numba compiles plain functions only
_import_unchecked("invariance_probe.alignment.kernels")
_import_unchecked("invariance_probe.certificates.sieve")
_import_unchecked("invariance_probe.plane.kernels")
_import_unchecked("invariance_probe.stn.kernels")

install_import_hook(["invariance_probe", "proofs", "analyses"], f"{typechecking.__name__}.check")

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.data.pictures import open_images
from invariance_probe.network.models import LoadedModel, load_model

profiles.load()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run a few at once with ``-n auto``: each worker takes half a gigabyte."""
    return min(4, os.cpu_count() or 1)


def pytest_runtest_setup() -> None:
    """Give every test the same randomness, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def lite() -> LoadedModel:
    """EfficientNet-Lite0 with its ImageNet weights."""
    return load_model("efficientnet-lite0")


@pytest.fixture(scope="session")
def photographs() -> Tensor:
    """Four photographs on canvases of 320 x 320 pixels, in [0, 1]."""
    images, _ = open_images("photographs", 320)
    return torch.stack([images[i] for i in range(4)])


@pytest.fixture(scope="session")
def canvases() -> Tensor:
    """Three photographs on canvases of 121 x 121 pixels, in [0, 1]."""
    images, _ = open_images("photographs", 121)
    return torch.stack([images[i] for i in (0, 2, 7)])


@pytest.fixture(scope="session")
def crops() -> Tensor:
    """Pieces of eight photographs, 32 x 3 x 45 x 45, no two alike."""
    images, _ = open_images("photographs", 90)
    whole = torch.stack([images[i] for i in range(8)])
    return torch.cat([
        whole[:, :, y : y + 45, x : x + 45] for y in (0, 45) for x in (0, 45)
    ]).contiguous()


@pytest.fixture
def small_net() -> nn.Module:
    """A random CNN with two convolutions, a stride and a pooling layer."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
