"""The line that says where a training stands."""

import math

from invariance_probe.training.status import Status


def test_the_line_says_what_is_known() -> None:
    """Shares are in per cent and time in hours; what a network does not have is left out."""
    status = Status(
        step=20,
        steps=400,
        images_per_second=1234.5,
        error=0.0625,
        pose_error=3.14159,
        out_of_frame=0.008,
        seconds_left=3725.4,
    )
    assert status.line("mnist-cnn") == (
        "mnist-cnn  step 20/400  1234 images/s  error 6.25 %  pose error 3.14  "
        "out of frame 0.8 %  1:02:05 left"
    )
    bare = Status(
        step=1,
        steps=2,
        images_per_second=1.0,
        error=math.nan,
        pose_error=math.nan,
        out_of_frame=math.nan,
        seconds_left=59.6,
    )
    assert bare.line("a") == "a  step 1/2  1 images/s  0:01:00 left"
