"""Does a probe, or a training, survive being killed?"""

import pandas as pd

from analyses.questions import kills


def test_a_killed_process_loses_nothing() -> None:
    """Killed amid work and writing, both go on, end with the same numbers and leave nothing."""
    frame = kills.measure(kills.PRESETS["tiny"])
    said = kills.summary(frame).set_index("work")
    assert list(said.index) == ["probe", "train"]
    assert (said["kills"] >= 1).all()
    assert said["same_numbers"].all()
    assert (said["files_left"] == "").all()
    assert (said["lost"] == 0).all()
    assert (said["processes_left"] == 0).all()


def test_what_is_lost_is_counted() -> None:
    """A save that is gone after a kill, a number that differs, a file or process that stays."""
    good = {"signal": "SIGINT", "killed": True, "partial": 0, "processes_left": False}
    frame = pd.DataFrame([
        {"work": "probe", "round": 0, "process": number, "saved": saved, **good}
        | {"same_numbers": number != 2, "files_left": ".lock" if number else ""}
        for number, saved in enumerate([3, 5, 4])
    ])
    (row,) = kills.summary(frame).to_dict("records")
    assert row["lost"] == 1
    assert not row["same_numbers"]
    assert row["files_left"] == ".lock"
    assert row["kills"] == row["SIGINT"] == 3
