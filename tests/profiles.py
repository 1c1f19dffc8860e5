"""How many cases are drawn: few by default, many with ``HYPOTHESIS_PROFILE=thorough``."""

import os

from hypothesis import HealthCheck, settings

NAME = os.environ.get("HYPOTHESIS_PROFILE", "ci")
"""Of the profile that is loaded."""
THOROUGH = NAME == "thorough"


def load() -> None:
    """Make the profile that the environment names the one that counts."""
    settings.register_profile(
        "ci",
        deadline=None,  # a shared machine's hiccup is no failure
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],  # the first torch call warms up
        print_blob=True,
    )
    settings.register_profile(
        "thorough",
        settings.get_profile("ci"),
        derandomize=False,
        max_examples=800,  # eight times as many as by default: tens of minutes of a core
    )
    settings.load_profile(NAME)


def share(parts: int) -> settings:
    """Take a part of the profile's examples, for what takes long.

    Args:
        parts: One of so many.

    Returns:
        Settings with so many examples, at least one.
    """
    return settings(max_examples=max(1, settings().max_examples // parts))
