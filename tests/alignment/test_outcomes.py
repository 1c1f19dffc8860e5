"""Outcomes: texts of tables on one side, words for people on the other."""

import re

import pytest

from invariance_probe.alignment.outcomes import Outcome


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_is_read_from_its_text_and_says_what_it_means(outcome: Outcome) -> None:
    """The text of a table gives the member back; as words it names cause and remedy."""
    assert Outcome(outcome.value) is outcome
    assert re.fullmatch(r"[a-z_]+", outcome.value)
    assert str(outcome).startswith(f"{outcome.value}: {outcome.cause}")
    assert len(outcome.cause) > 8
    assert str(outcome).endswith(outcome.remedy or outcome.cause)
    assert "\n" not in str(outcome)


def test_what_needs_no_remedy_has_none() -> None:
    """Only the outcomes that anyone would want have nothing to be done about them."""
    assert {one for one in Outcome if not one.remedy} == {Outcome.CONVERGED, Outcome.PROVEN}


def test_texts_of_older_tables_are_known() -> None:
    """What version 0.1.0 wrote into tables can be read."""
    written = (
        "converged step_limit distortion_limit non_finite constant empty_region one_image "
        "fewer_positions_than_channels bilinear_only outstanding_positions proven box_limit "
        "time_limit"
    )
    assert [Outcome(text).value for text in written.split()] == written.split()
