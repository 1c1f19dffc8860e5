"""One way to run a command line: its words in, what went wrong out, in one line."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import tyro

from invariance_probe.errors import InvalidInputError


class Command(Protocol):
    """A dataclass whose fields are options."""

    def run(self) -> None:
        """Do what was asked."""


def run_command(
    command: Any,
    *,
    program: str,
    description: str | None = None,
    arguments: Sequence[str] | None = None,
    interrupted: str = "nothing was written",
) -> None:
    """Read the words of a command and run it.

    Args:
        command: A class of commands, or a union of them as subcommands.
        program: What the user types, which begins the line of every error.
        description: First line of the help; by default the command's docstring.
        arguments: Words after the command's name; those of the process by default.
        interrupted: What to say of an interrupt, unless the `KeyboardInterrupt` itself says it.

    Raises:
        SystemExit: With status 2 on bad usage, 130 if interrupted.
    """

    def one_line(message: Warning | str, *_: object, **__: object) -> None:
        sys.stderr.write(f"{program}: {message}\n")

    shown, warnings.showwarning = warnings.showwarning, one_line
    try:
        # options that check themselves do so while they are read
        chosen: Command = tyro.cli(command, prog=program, description=description, args=arguments)
        chosen.run()
    except InvalidInputError as error:
        sys.stderr.write(f"{program}: {error}\n")
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        sys.stderr.write(f"{program}: interrupted; {str(error) or interrupted}\n")
        raise SystemExit(130) from error
    finally:
        warnings.showwarning = shown
