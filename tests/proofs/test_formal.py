"""What Coq has checked is what the sources say, and nothing is taken for granted unseen."""

import re
from pathlib import Path

import pytest

from invariance_probe.errors import InvalidInputError
from proofs.claims import CLAIMS
from proofs.formal import coq, log
from proofs.formal.theorems import FORMAL, MAIN

THEOREM = re.compile(r"^(?:Theorem|Corollary) (\w+)", re.M)

needs_coq = pytest.mark.skipif(bool(coq.missing()), reason=coq.missing() or "Coq is there")

SOUND = "Theorem fine : True.\nProof. exact I. Qed.\n"
UNSOUND = "Variable assumed : False.\nTheorem wrong : 0 = 1.\nProof. destruct assumed. Qed.\n"


def test_the_log_speaks_for_the_sources() -> None:
    """The stored hashes are those of the sources, and each theorem of a claim is in the log."""
    stale = log.outdated(log.stored())
    assert not stale, f"{'; '.join(stale)}: renew the log with Coq (proofs.formal.log.renew)"


def test_every_claim_says_what_is_checked() -> None:
    """Each claim and the main theorem have an entry: a theorem, or a reason why there is none."""
    assert set(FORMAL) == {*CLAIMS, MAIN}
    for id_, formal in FORMAL.items():
        assert formal.checked or formal.missing, f"{id_}: neither a theorem nor a reason"
        assert formal.checked == bool(formal.assumptions)
        assert formal.checked == bool(formal.file)


def test_enough_is_checked() -> None:
    """At least 11 claims and the main theorem, and mutants of at least 6 claims are refuted."""
    claims = [formal for id_, formal in FORMAL.items() if id_ != MAIN]
    assert sum(formal.checked for formal in claims) >= 11
    assert FORMAL[MAIN].checked
    assert sum(bool(formal.mutants) for formal in claims) >= 6


def test_every_theorem_of_a_source_is_listed() -> None:
    """What stands in a claim's file as a theorem is named by its entry, and conversely."""
    sources = coq.texts()
    for id_, formal in FORMAL.items():
        if formal.checked:
            found = THEOREM.findall(sources[f"{formal.file}.v"])
            assert sorted(found) == sorted(formal.names), id_


def test_each_statement_has_its_words() -> None:
    """Before each theorem of a claim stands a comment."""
    for formal in FORMAL.values():
        if formal.checked:
            text = coq.texts()[f"{formal.file}.v"]
            for name in formal.names:
                before = re.split(rf"^(?:Theorem|Corollary) {name}\b", text, flags=re.M)[0]
                since = re.split(r"\b(?:Qed|Defined)\.", before)[-1]
                assert "(**" in since, name


def test_nothing_is_granted_in_words() -> None:
    """No source has a word by which Coq takes something for granted, not even in a comment."""
    assert coq.forbidden(coq.texts()) == []
    assert coq.forbidden({"a.v": "(* " + "Admit" + "ted *)"}) == ["a.v:1: " + "Admit" + "ted"]


def test_only_the_reals_and_functions_are_granted() -> None:
    """What the log lists is allowed, and the main theorem needs no more."""
    for name, granted in log.stored().granted.items():
        assert set(granted) <= set(coq.ALLOWED), name


def test_the_cell_says_yes_or_why_not() -> None:
    """A checked claim is shown with theorem and assumptions, an unchecked one with the reason."""
    stored = log.stored()
    assert log.machine_checked("P3", stored).startswith(
        "yes: P3_covariance_pins_the_warp, if G D_d"
    )
    assert log.machine_checked("P13", stored).startswith("no: A law about random fields")
    assert "Lebesgue" in log.machine_checked("P5", stored)
    old = log.Log(coq="8", sources={}, theorems=[], granted={})
    assert log.machine_checked("P3", old).startswith("no: the log is older than the sources")


def test_a_missing_log_is_said(tmp_path: Path) -> None:
    """Where there is no log, the message names the file and the way out."""
    with pytest.raises(InvalidInputError, match="renew it with Coq"):
        log.stored(tmp_path / "log.json")


def test_missing_coq_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without coqc the reason is one line that says what to install."""
    monkeypatch.setattr(coq.shutil, "which", lambda name: None)
    assert "apt-get install coq" in coq.missing()
    with pytest.raises(InvalidInputError, match="coqc is not installed"):
        coq.check({"a.v": SOUND}, {"x": ("a.fine",)})


def test_sources_come_after_what_they_require() -> None:
    """The order of compilation respects what is required; a circle is refused."""
    after = "From Formal Require Import b c.\n"
    assert coq.in_order({"a.v": after, "b.v": "", "c.v": "From Formal Require Import b.\n"}) == [
        "b.v", "c.v", "a.v",
    ]  # fmt: skip
    with pytest.raises(InvalidInputError, match="require each other"):
        coq.in_order({"a.v": "From Formal Require Import a.\n"})


def test_answers_are_read() -> None:
    """Lists over several lines and empty ones are told apart; anything else is refused."""
    answer = (
        "== a.x\nAxioms:\nOne.one : True\nTwo.two\n  : forall P,\n    P\n"
        "== a.y\nClosed under the global context\n"
    )
    assert coq.parsed(answer) == {"a.x": ("One.one", "Two.two"), "a.y": ()}
    with pytest.raises(InvalidInputError, match="cannot read"):
        coq.parsed("== a.z\nsomething else\n")


@needs_coq
def test_a_sound_source_rests_on_nothing() -> None:
    """A proof without assumptions is told to be one."""
    assert coq.check({"a.v": SOUND}, {"x": ("a.fine",)}) == {"x": ()}


@needs_coq
@pytest.mark.parametrize(
    ("source", "theorem", "message"),
    [
        (SOUND + "Axi" + "om x : False.\n", "a.fine", "a.v:3"),
        (SOUND.replace("exact I", "exact 0"), "a.fine", "Coq rejects a.v"),
        (SOUND, "a.absent", "Coq rejects asked.v"),
        (UNSOUND, "a.wrong", "x rests on"),
    ],
)
def test_an_unsound_source_is_refused(source: str, theorem: str, message: str) -> None:
    """A granted statement, a failing proof, a missing theorem: each is refused with its name."""
    with pytest.raises(InvalidInputError, match=message):
        coq.check({"a.v": source}, {"x": (theorem,)})


@needs_coq
@pytest.mark.timeout(600)  # half a minute on an idle machine
def test_coq_checks_all(tmp_path: Path) -> None:
    """Coq accepts every source, and says of every theorem what the stored log says."""
    renewed = log.renew(tmp_path / "log.json")
    kept = log.stored()
    assert (renewed.theorems, renewed.granted) == (kept.theorems, kept.granted)
    assert renewed.sources == kept.sources
