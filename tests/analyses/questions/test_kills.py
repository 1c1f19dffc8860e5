"""Does a training survive being killed?"""

from analyses.questions import kills


def test_a_killed_process_loses_nothing() -> None:
    """Killed (SIGKILL) amid training and writing, it goes on and ends with the same numbers."""
    frame = kills.measure(kills.PRESETS["tiny"])
    (row,) = kills.summary(frame).to_dict("records")
    assert row["kills"] >= 1
    assert row["same_numbers"]
    assert row["files_left"] == ""
