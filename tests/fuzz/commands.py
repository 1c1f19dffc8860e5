"""Lists of words after the command's name."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe import cli
from invariance_probe.errors import InvalidInputError
from invariance_probe.training import parallel, trainer
from tests.fuzz import samples
from tests.fuzz.judging import Judge
from tests.fuzz.mutations import spoilt
from tests.profiles import share

MODEL = ("--model", "tests.fuzz.samples:net", "--channels", "1", "--crop", "8")
COMMANDS: dict[str, tuple[str, ...]] = {
    "layers": ("layers", *MODEL, "--pattern", "*", "--json"),
    "audit": ("audit", *MODEL, "--transform", "rotation=90", "--images", "in"),
    "probe": (
        *("probe", *MODEL, "--layers", "0", "--transform", "rotation=90", "--images", "in"),
        *("--methods", "oracle", "--batch-size", "2", "--margin", "0.5", "--mean", "0.5"),
        *("--std", "1", "--seed", "3", "--device", "cpu", "--canvas", "12", "--no-progress"),
        *("--search.max-steps", "2", "--search.angles", "2", "--skip-bad", "--json"),
    ),
    "report": ("report", "runs", "--out", "page.html"),
    "train": (
        *("train", "--data", "mnist", "--perturbation", "rotation=30", "--variant", "c0"),
        *("--preset", "tiny", "--seeds", "1", "--first-seed", "0", "--steps", "2", "--width"),
        *("0.1", "--optimizer", "sgd", "--data-root", "nowhere", "--device", "cpu"),
    ),
    "version": ("--version",),
}


@st.composite
def spoilt_words(draw: st.DrawFn, words: Sequence[str]) -> list[str]:
    """Draw a command, or one in which words are missing, doubled, exchanged or spoilt."""
    out = list(words)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(out)))
        match draw(st.sampled_from(["drop", "insert", "spoil", "swap"])):
            case "drop":
                del out[at : at + 1]
            case "insert":
                out.insert(
                    at, draw(st.sampled_from([*words, "--", "-h", "", "--nope=1", "a" * 5000]))
                )
            case "spoil" if at < len(out):
                out[at] = draw(spoilt((out[at],)))
            case "swap" if at + 1 < len(out):
                out[at], out[at + 1] = out[at + 1], out[at]
    # a process is given no NUL among its words
    return [word.replace("\0", "") for word in out]


def _run(words: list[str]) -> None:
    """Run a command; what its parser refuses is refused."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            cli.main(words)
    except SystemExit as error:
        if isinstance(error.__cause__, InvalidInputError):
            raise error.__cause__ from error
        if error.code == 2:
            raise InvalidInputError("words that the parser refuses") from error
        if error.code:  # no other status is a refusal
            raise


def _no_training(*_: object, **__: object) -> None:
    raise InvalidInputError("the words are understood; nothing is trained")


@pytest.mark.parametrize("name", COMMANDS)
def test_words(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command does what it says, or ends with status 0 or 2; there is no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer, "train", _no_training)
    monkeypatch.setattr(parallel, "train_all", _no_training)
    (tmp_path / "in").mkdir()
    for number in range(2):
        (tmp_path / "in" / f"{number}.png").write_bytes(samples.images()["png"])
    probed = [*COMMANDS["probe"], "--out", "runs/one"]
    _run(probed)
    judge = Judge()

    @share(10)
    @given(spoilt_words(COMMANDS[name]))
    def words_are_understood_or_refused(words: list[str]) -> None:
        judge(lambda: _run(words))

    words_are_understood_or_refused()
    assert judge.counted["refused"] > 0
    assert judge.counted["done"] > 0 or name == "train", "no command ran"
