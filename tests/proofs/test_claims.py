"""Every claim under Hypothesis, in every setting, with its negative control."""

import math

import pytest
from hypothesis import settings

from proofs.checking import Outcome, check_setting, word
from proofs.claim import Claim, Setting
from proofs.claims import CLAIMS

SETTINGS = [
    pytest.param(claim, setting, id=f"{claim.id}-{setting.name}")
    for claim in CLAIMS.values()
    for setting in claim.settings
]


@pytest.mark.parametrize(("claim", "setting"), SETTINGS)
@pytest.mark.timeout(3600)  # the thorough profile
def test_claim_holds_and_its_control_falls(claim: Claim, setting: Setting) -> None:
    """The claim holds on every case drawn, and the nearest false claim is refuted clearly."""
    examples = settings.default.max_examples
    verdict = check_setting(claim, setting, examples)
    assert verdict.outcome is Outcome.HOLDS, word(verdict)
    wanted = math.ceil(examples * setting.share)
    floor = 1 if setting.share < 0.1 else wanted // 2
    assert floor <= verdict.evidence.cases <= wanted
    assert verdict.control_evidence.cases >= 1
    assert verdict.witness, f"{claim.id}: no witness to show"


def test_there_are_sixteen_claims() -> None:
    """P1 to P16 are there, in order, each with a statement, formula, source and assumptions."""
    assert list(CLAIMS) == [f"P{n}" for n in range(1, 17)]
    for claim in CLAIMS.values():
        assert claim.statement.endswith(".")
        assert claim.formula
        assert claim.assumptions
        assert claim.sources


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.id)
def test_each_claim_carries_its_proof(claim: Claim) -> None:
    """The module's docstring states the claim, proves it, and says where the proof ends."""
    assert claim.proof.startswith(f"{claim.id}.")
    for part in ("Statement.", "Proof.", "QED"):
        assert part in claim.proof
    assert len(claim.proof.split("Proof.")[1].split()) > 50


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.id)
def test_each_setting_explains_its_tolerance(claim: Claim) -> None:
    """A tolerance is given with its reason, and is far below what refutes the control."""
    for setting in claim.settings:
        assert setting.why
        assert setting.control.statement
        if setting.tolerance:
            assert setting.control.refuted_above >= 4 * setting.tolerance


def test_claims_stand_in_the_settings_where_they_make_sense() -> None:
    """Continuum and lattice are used for the claims that the theory names."""
    names = {id_: " ".join(s.name for s in claim.settings) for id_, claim in CLAIMS.items()}
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16):
        assert "continuum" in names[f"P{n}"]
    for n in (1, 2, 5, 7, 8, 9, 12, 14):
        assert "lattice" in names[f"P{n}"]
