"""What tiny presets measure, once for all tests of a question."""

from functools import cache
from types import ModuleType

import pandas as pd


@cache
def measured(question: ModuleType) -> pd.DataFrame:
    """What the tiny preset measures."""
    frame: pd.DataFrame = question.measure(question.PRESETS["tiny"])
    return frame


def assert_answered(question: ModuleType, blank: tuple[str, ...] = ()) -> None:
    """The frame gives a table without blanks, but for some columns, and a figure with panels."""
    frame = measured(question)
    numbers = question.summary(frame).select_dtypes("number")
    whole = [column for column in numbers if not str(column).startswith(blank or "no column")]
    assert not numbers[whole].isna().any(axis=None)
    assert len(question.plot(frame).axes) >= 4
