"""The likeliest classes of an answer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.results import predictions


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6))
def test_the_likeliest_classes_come_first(logits: list[float]) -> None:
    """Up to three, in order, with the softmax of all logits, and what the caller says beside."""
    said = torch.tensor(logits, dtype=torch.float64)
    rows = predictions.rows(said, None, layer="a")
    assert [row["rank"] for row in rows] == list(range(1, min(3, len(logits)) + 1))
    found = [float(row["probability"]) for row in rows]
    wanted = sorted(said.softmax(0).tolist(), reverse=True)[: len(rows)]
    assert found == pytest.approx(wanted)
    for row in rows:
        assert row["layer"] == "a"
        assert row["name"] == f"class {row['class']}"
        assert float(said.softmax(0)[row["class"]]) == pytest.approx(row["probability"])


def test_classes_have_the_names_that_are_given() -> None:
    """A name for each number."""
    rows = predictions.rows(torch.tensor([0.0, 2.0]), ["cat", "dog"])
    assert [row["name"] for row in rows] == ["dog", "cat"]
