"""What a user meets: what was given, what rule it breaks, and the way out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST = 1500
"""Characters of a message; values, names and causes that it quotes may be of any length."""


class InvalidInputError(ValueError):
    """Something given to the toolkit cannot be used.

    The message is one line that names the value, the rule and the way out; the command line
    prints it and exits with status 2. Whatever it quotes, it stays one line, which a terminal shows
    as text, and which somebody reads: the middle of a long one is left out.

    Args:
        message: What to say.

    Example:
        >>> import invariance_probe as ip
        >>> try:
        ...     ip.Scaling(-1)
        ... except ip.InvalidInputError as error:
        ...     print(str(error)[:53])
        Scaling(factor=-1): a factor must be positive; use Re
    """

    def __init__(self, message: str) -> None:
        line = "".join(map(_shown, message))
        if len(line) > LONGEST:
            line = f"{line[: LONGEST - 406]} [...] {line[-400:]}"
        super().__init__(line)


class UnmeasuredLayerWarning(UserWarning):
    """Where a layer's cells lie on the input is assumed, and numbers that rest on it may be wrong.

    The message is one line that names the layers and what to do.
    """


class ConvertedImagesWarning(UserWarning):
    """Pixel values given as bytes are measured as parts of 255.

    The message is one line that says so.
    """


def _shown(character: str) -> str:
    """A character as it is if a terminal shows it; line breaks and controls do more than that."""
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")


def first_line(error: BaseException) -> str:
    """Say what went wrong elsewhere, within one line of ours.

    Args:
        error: Of another library.

    Returns:
        The first line of its message.
    """
    return str(error).partition("\n")[0]


@contextmanager
def refusing(words: Callable[[str], str]) -> Iterator[None]:
    """Say in one line of ours what a library, a file or a model stumbled over.

    Args:
        words: Makes the line of the cause.

    Yields:
        Nothing.

    Raises:
        InvalidInputError: If anything but an interrupt is raised within; a refusal of ours stays as
            it is.
    """
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:  # what others raise at damage, no list of types holds
        raise InvalidInputError(words(first_line(error) or type(error).__name__)) from error
