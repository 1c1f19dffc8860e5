"""Presets make configurations that can be trained."""

import pytest

from invariance_probe.perturbations.kinds import NoPerturbation
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import presets
from invariance_probe.training.configuration import TrainConfig


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_are_valid_and_ask_for_no_more_than_there_is(name: str) -> None:
    """Every preset makes configurations for all its data, and takes all of small data sets."""
    for data, perturbation in presets.PRESETS[name].data:
        for variant in presets.PRESETS[name].variants:
            made = presets.configured(
                name,
                data=data,
                perturbation=parse_perturbation(perturbation),
                variant=parse_variant(variant),
                seed=0,
                choices={},
            )
            assert isinstance(made, TrainConfig)
    few = presets.configured(
        name,
        data="mnist-5k",
        perturbation=NoPerturbation(),
        variant=parse_variant("c0"),
        seed=0,
        choices={"steps": 3},
    )
    assert few.train_images is None or few.train_images <= 4000
    assert few.steps == 3


def test_the_papers_presets_halve_translated_digits() -> None:
    """In them transformers of translated digits return half of the side, and of no others."""
    for name, wanted in (("paper", 0.5), ("standard", 0.5), ("two-cores", 1.0)):
        for perturbation, share in (("translation", wanted), ("scaling", 1.0), ("rotation", 1.0)):
            made = presets.configured(
                name,
                data="mnist",
                perturbation=parse_perturbation(perturbation),
                variant=parse_variant("c0"),
                seed=0,
                choices={},
            )
            assert made.output_share == share
