"""Hypothesis profiles for the claims: `ci` by default, `thorough` with 1 000 examples a claim.

Choose with the environment variable HYPOTHESIS_PROFILE.
"""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

SHARED = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}
settings.register_profile("ci", max_examples=25, **SHARED)
settings.register_profile("thorough", max_examples=1000, **SHARED)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def hypothesis_profile() -> Iterator[None]:
    """The profile is in force for these tests and given back afterwards."""
    before = settings.get_current_profile_name()
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
    yield
    settings.load_profile(before)
