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
