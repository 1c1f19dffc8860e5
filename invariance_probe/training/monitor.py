"""One live line about a training run, on stderr, and nothing at all where that is no terminal."""

import sys
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text


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


class Monitor:
    """The live line; use it as a context.

    Args:
        name: Of the run.
        shown: Whether to show it, if stderr is a terminal.
    """

    def __init__(self, name: str, shown: bool) -> None:
        self._name = name
        self._live: Live | None = None
        if shown and sys.stderr.isatty():
            self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)

    @property
    def shown(self) -> bool:
        """Whether anybody sees the line."""
        return self._live is not None

    def __enter__(self) -> "Monitor":
        """Begin."""
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and leave the terminal clean."""
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, status: Status) -> None:
        """Renew the line.

        Args:
            status: Where the run stands.
        """
        if self._live is not None:
            line = Text(status.line(self._name), no_wrap=True, overflow="ellipsis")
            self._live.update(line)
