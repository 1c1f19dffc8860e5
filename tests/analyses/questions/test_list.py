"""The list of questions."""

import pytest

from analyses import questions
from invariance_probe.errors import InvalidInputError
from tests.conftest import ROOT


def test_every_file_is_a_question_that_is_listed() -> None:
    """Each file asks something in its first line and can be measured, summed up and drawn."""
    files = {path.stem for path in (ROOT / "analyses" / "questions").glob("[!_]*.py")}
    assert set(questions.NAMES) == files
    for name in questions.NAMES:
        assert questions.title(name).endswith("?"), name
        module = questions.load(name)
        assert {"PRESETS", "measure", "summary", "plot"} <= set(dir(module)), name
        assert "tiny" in module.PRESETS, name


def test_unknown_questions_are_refused() -> None:
    """A name that is none is met with all there are; nothing else is imported by it."""
    with pytest.raises(InvalidInputError, match="no question 'os'; choose from residual_by_layer"):
        questions.load("os")
