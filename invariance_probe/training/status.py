"""Where a training run stands, in one line."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a run stands.

    Attributes:
        step: Batches learnt from.
        steps: Batches in all.
        images_per_second: Since this process began with it.
        error: Share of the last batch, or of the validation images, that was wrong; NaN at first.
        pose_error: Mean absolute deviation of what is left from its class mean, in the pose's unit;
            NaN without poses.
        out_of_frame: Mean share of positions that read outside the image; NaN without transformer.
        seconds_left: Estimate.
    """

    step: int
    steps: int
    images_per_second: float
    error: float
    pose_error: float
    out_of_frame: float
    seconds_left: float

    def line(self, name: str) -> str:
        """Say it in one line.

        Args:
            name: Of the run.

        Returns:
            The line, without a line break.
        """
        parts = [
            f"{name}  step {self.step}/{self.steps}",
            f"{self.images_per_second:.0f} images/s",
        ]
        for value, text in (
            (self.error, f"error {100 * self.error:.2f} %"),
            (self.pose_error, f"pose error {self.pose_error:.2f}"),
            (self.out_of_frame, f"out of frame {100 * self.out_of_frame:.1f} %"),
        ):
            if value == value:
                parts.append(text)
        minutes, seconds = divmod(round(self.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02d}:{seconds:02d} left")
        return "  ".join(parts)
