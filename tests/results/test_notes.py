"""What is said of a run's images before its means."""

import dataclasses
from io import StringIO

import pandas as pd
import pytest

from invariance_probe.results.methods import Method
from invariance_probe.results.notes import notes
from tests.results.planted import planted


def test_nothing_is_said_of_usual_images() -> None:
    """A run without copies and without images far outside has no notes, nor has one of old."""
    usual = planted({Method.ORACLE: [0.9, 1.4, 1.0, 1.3, 1.1]})
    assert notes(usual.config, usual.summary()) == ()
    assert notes(usual.config, usual.summary().drop(columns="far_outside")) == ()


def test_near_duplicates_are_named() -> None:
    """All groups are named, with what was done about them and what was not."""
    usual = planted({Method.ORACLE: [0.9, 1.4, 1.0]})
    told = dataclasses.replace(
        usual, config={**usual.config, "near_duplicates": [["cat", "copy of cat"], ["a", "b"]]}
    )
    (said,) = notes(told.config, told.summary())
    assert said.startswith(
        "Near duplicates among the images (cat, copy of cat; a, b): they are not"
    )


def test_layers_of_assumed_geometry_are_named() -> None:
    """Layers whose stride and offset failed their checks come first, by name."""
    usual = planted({Method.ORACLE: [0.9, 1.4, 1.0]})
    told = {**usual.config, "unmeasured": ["fpn:out.0", "fpn:out.1"]}
    (said,) = notes(told, usual.summary())
    assert said.startswith("Stride and offset of fpn:out.0, fpn:out.1 failed their checks")


@pytest.mark.parametrize(
    ("copies", "words"), [(1, "1 shifted copy of"), (2, "2 shifted copies of")]
)
def test_floors_of_few_copies_are_doubted(copies: int, words: str) -> None:
    """One or two shifted copies are few; three are enough to say nothing."""
    usual = planted({Method.ORACLE: [0.9, 1.4, 1.0]})

    def said(count: int) -> tuple[str, ...]:
        shifts = [["image 0", 1.0, 1.0]] * count
        return notes({**usual.config, "floor": {"shifts": shifts}}, usual.summary())

    assert words in said(copies)[0]
    assert said(3) == ()


def test_an_image_far_outside_is_named_once() -> None:
    """One sentence an image, with the row in which it stands out most, also from a stored table."""
    left = {Method.ORACLE: [0.9, 1.4, 300.0, 1.0, 1.3, 1.1], Method.FLOOR: [0.1] * 6}
    result = planted(left)
    (said,) = notes(result.config, result.summary())
    assert said.startswith(
        "Image 'image 2' lies far outside the others in 2 of 4 rows, as at shallow"
    )
    assert "under rotation by oracle" in said
    assert "(there 1.20; mean 50.95, worst image 300.00)" in said
    text = result.summary().to_csv(index=False)
    stored = pd.read_csv(StringIO(text), keep_default_na=False, na_values=["", "nan"])
    assert notes(result.config, stored) == (said,)
