"""What a run will do and how long it takes, said before anything slow is imported."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path

from proofs.announcing import options

_HERE = Path(__file__).parent
_USUAL = {
    "tiny": "seconds",
    "quick": "minutes on two cores",
    "standard": "hours, fewer on a GPU",
    "paper": "days, fewer on a GPU",
}
"""What presets take; those named after a machine take a night and more of it."""


def announcement(words: Sequence[str]) -> str:
    """Say what ``run NAME`` asks, and how long the answer takes.

    Args:
        words: Those after the command's name.

    Returns:
        A line; empty for other commands, for help, and for what will be refused.
    """
    name = words[1] if len(words) > 1 and words[0] == "run" else ""
    source = _HERE / "questions" / f"{name}.py"
    if not name.isidentifier() or not source.is_file() or {"-h", "--help"} & set(words):
        return ""
    asked = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    preset = options(words).get("--preset") or "quick"
    return (
        f"{name}: {asked.splitlines()[0]} Preset {preset}: {_duration(name, preset)}; what is "
        "there already is drawn anew.\n"
    )


def _duration(name: str, preset: str) -> str:
    """How long it took when the answer beside the code was measured, or what is usual."""
    kept = _HERE / "results" / name / "config.json"
    about = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    seconds = about.get("provenance", {}).get("wall_time_s")
    # longer presets were answered from trainings that were there
    if preset != "quick" or seconds is None or "--preset quick" not in about["command"]:
        return _USUAL.get(preset, "a night and more on two cores")
    if seconds < 100:
        return f"about {seconds:.0f} s on two cores"
    return f"about {seconds / 60:.0f} min on two cores"
