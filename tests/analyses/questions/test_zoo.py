"""The zoo: libraries that are missing, and what its table says."""

import pandas as pd
import pytest

from analyses.architectures import Architecture
from analyses.questions import zoo
from invariance_probe.errors import InvalidInputError


def test_libraries_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is installed the question cannot be asked."""
    monkeypatch.setattr(Architecture, "missing", lambda _: True)
    with pytest.raises(InvalidInputError, match=r"pip install '.\[zoo\]'"):
        zoo.measure(zoo.PRESETS["tiny"])


def test_a_table_is_summed_up_and_drawn() -> None:
    """Each library has a row of sums, and a panel; what cannot be probed says so."""
    row = {"outputs": 10, "maps": 8, "measured": 6, "starred": 2, "wrong": 0, "known": 2}
    frame = pd.DataFrame([
        {"library": library, "architecture": name, **row, "probed": name != "c", "affine": 0.5}
        for library, name in (("timm", "a"), ("timm", "b"), ("transformers", "c"))
    ])
    table = zoo.summary(frame).set_index("architecture")
    assert table.loc["all 2", ["outputs", "measured", "probed"]].tolist() == [20, 12, 2]
    assert table.loc["all 1", "probed"] == 0
    figure = zoo.plot(frame)
    assert len(figure.axes) == 2
    assert [text.get_text() for text in figure.axes[1].texts] == ["not probed"]
