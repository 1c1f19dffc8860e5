"""What Coq has checked is what the sources say, and nothing is taken for granted unseen."""

import os
import re
import resource
from pathlib import Path

import pytest

from invariance_probe.errors import InvalidInputError
from proofs.claims import CLAIMS
from proofs.formal import coq, log
from proofs.formal.theorems import FORMAL, MAIN, stated

needs_coq = pytest.mark.skipif(
    bool(coq.missing()) and "REQUIRE_COQ" not in os.environ, reason=coq.missing() or "Coq is there"
)

SOUND = "Theorem fine : True.\nProof. exact I. Qed.\n"
UNSOUND = "Variable assumed : False.\nTheorem wrong : 0 = 1.\nProof. destruct assumed. Qed.\n"


def test_the_log_speaks_for_the_sources() -> None:
    """The stored hashes are those of the sources, and each theorem of a claim is in the log."""
    assert log.outdated(log.stored()) == [], "python -m proofs --formal renews the log"


def test_every_claim_says_what_is_checked() -> None:
    """Each claim and the main theorem name a theorem of their own file, or why there is none."""
    assert set(FORMAL) == {*CLAIMS, MAIN}
    for id_, formal in FORMAL.items():
        assert formal.theorem or formal.missing, f"{id_}: neither a theorem nor a reason"
        if formal.theorem:
            file, _, name = formal.theorem.partition(".")
            assert formal.theorem in stated(file, coq.texts()[f"{file}.v"])
            assert id_ == MAIN or name.startswith(f"{id_}_")


def test_enough_is_checked() -> None:
    """The log has 14 claims, 11 of them in full, the main theorem, and 22 refuted mutants of 15."""
    stored = log.stored()
    words = {id_: check.word for id_, check in log.machine_checks(stored).items()}
    assert words.pop(MAIN) == "yes"
    assert [id_ for id_, word in words.items() if word == "in part"] == ["P5", "P6", "P7"]
    assert [id_ for id_, word in words.items() if word == "no"] == ["P13", "P14"]
    mutants = [name for name in stored.theorems if "_mutant_" in name]
    assert len(mutants) == 22
    assert len({name.partition(".")[0] for name in mutants}) == 15
    assert len(stored.theorems) == 80


def test_every_theorem_of_a_source_is_in_the_log() -> None:
    """What stands in a source as a theorem was checked, and conversely."""
    found = [name for file, text in coq.texts().items() for name in stated(file, text)]
    assert sorted(found) == sorted(log.stored().theorems)


def test_each_statement_has_its_words() -> None:
    """Before each theorem, and after the proof before it, stands a comment."""
    for file, text in coq.texts().items():
        for name in (name.partition(".")[2] for name in stated(file, text)):
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
    checks = log.machine_checks(log.stored())
    said = str(checks["P3"])
    assert said.startswith(
        "yes: p03_covariance_pins_the_warp.P3_covariance_pins_the_warp, if G D_d = D_d G; "
    )
    assert "closed under shifts and h (taken for granted: the reals and functional ext" in said
    assert str(checks["P13"]).startswith("no: A law about random fields")
    assert str(checks["P5"]).startswith("in part: ")
    assert "Not checked: Integrable filters" in str(checks["P5"])
    old = log.machine_checks(log.Log(coq="8", sources={}, theorems=[], granted={}))
    assert str(old["P3"]).startswith("no: the log is older than the sources")


def test_a_missing_log_is_said(tmp_path: Path) -> None:
    """Where there is no log, the message names the file and the way out."""
    with pytest.raises(InvalidInputError, match="--formal"):
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
        "b.v",
        "c.v",
        "a.v",
    ]
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
    """Coq accepts every source in 3 minutes, and says of every theorem what the log says."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    renewed = log.renew(tmp_path / "log.json")
    kept = log.stored()
    assert (renewed.theorems, renewed.granted) == (kept.theorems, kept.granted)
    assert renewed.sources == kept.sources
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # time of the processor, which other processes on the machine do not lengthen much
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 180
