"""The command line: ``invariance-probe layers | probe | audit | demo | train | report``.

What a command computes with is imported when it is asked for, so that help comes at once, and that
Ctrl-C meanwhile ends in a line.
"""

import sys
from collections.abc import Sequence
from dataclasses import make_dataclass
from functools import reduce
from importlib import metadata
from operator import or_
from typing import Annotated, Any

PROGRAM = "invariance-probe"
DESCRIPTION = (
    "Are a network's features aligned after a rotation or a scaling of its input, and can a "
    "spatial warp align them?"
)
COMMANDS = {
    "layers": "List the layers of a model: names, shapes, stride and offset against the input.",
    "probe": "Measure how far a spatial warp re-aligns a model's maps, and write a run folder.",
    "audit": "Find what a model moves by itself, how much of a transform that undoes, and what it "
    "leaves.",
    "demo": "Probe EfficientNet-Lite0 at six depths on photographs: what is left, why, what it "
    "costs.",
    "train": "Train the papers' networks with a spatial transformer, and measure error and pose.",
    "report": "Make one HTML page from the run folders of probes and trainings.",
}
"""The commands and the first lines of their docstrings."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Words after the command's name; those of the process by default.

    Raises:
        SystemExit: With status 2 on bad usage, 130 if interrupted.
    """
    try:
        _run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt as error:  # amid imports, which take seconds; commands say more
        sys.stderr.write(f"{PROGRAM}: interrupted; nothing was written\n")
        raise SystemExit(130) from error


def _run(words: list[str]) -> None:
    """Run what the words ask for."""
    from invariance_probe.commands import run_command

    if words == ["--version"]:
        print(f"{PROGRAM} {metadata.version(PROGRAM)}")
    elif words and words[0] in COMMANDS:
        run_command(load(words[0]), program=f"{PROGRAM} {words[0]}", arguments=words[1:])
    else:
        # help, or a mistake: no command runs, so none is imported
        run_command(_overview(), program=PROGRAM, description=DESCRIPTION, arguments=words)


def load(name: str) -> Any:
    """Import a command.

    Args:
        name: One of `COMMANDS`.

    Returns:
        Its class.
    """
    if name == "train":
        from invariance_probe.training.command import TrainCommand

        return TrainCommand
    if name == "report":
        from invariance_probe.cli.reporting import ReportCommand

        return ReportCommand
    from invariance_probe.cli import probing

    return {
        "layers": probing.LayersCommand,
        "probe": probing.ProbeCommand,
        "audit": probing.AuditCommand,
        "demo": probing.DemoCommand,
    }[name]


def _overview() -> Any:
    """A class with the commands as empty subcommands, for the help."""
    import tyro

    version = Annotated[
        bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Print the version and exit.")
    ]
    empty = [
        Annotated[make_dataclass(name, ()), tyro.conf.subcommand(name, description=about)]
        for name, about in COMMANDS.items()
    ]
    whole = make_dataclass("_", [("command", reduce(or_, empty)), ("version", version, False)])
    return Annotated[whole, tyro.conf.OmitSubcommandPrefixes]
