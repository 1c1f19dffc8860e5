"""The loop learns, alike from the same seed, and does not mix trainings up."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analyses.questions import related_methods
from analyses.related.learning import Built, learn
from analyses.related.methods import RECIPES
from invariance_probe.errors import InvalidInputError

TINY = related_methods.PRESETS["tiny"]


def test_a_loss_falls_and_a_seed_decides(tmp_path: Path) -> None:
    """Networks of one seed are the same to the bit; trained on, they know their digits better."""
    recipe = RECIPES["plain"]
    assert isinstance(recipe, Built)
    plan = replace(TINY, trainings=tmp_path)
    one, again = recipe.trained(plan, 0), recipe.trained(replace(plan, trainings=tmp_path / "b"), 0)
    other = recipe.trained(plan, 1)
    for mine, same, another in zip(
        *(each.parameters() for each in (one, again, other)), strict=True
    ):
        assert torch.equal(mine, same)
        assert not torch.equal(mine, another)
    run = plan.config(recipe.setup(12), recipe.motion, "cnn", 0)
    test = plan.dataset.test
    images = run.perturbation.apply(test.images[:200], torch.empty(200, 0))

    def loss() -> float:
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(one(images), test.labels[:200, 0]))

    before = loss()
    learn(one, run, plan.dataset)
    assert loss() < before - 0.1


def test_another_training_is_refused(tmp_path: Path) -> None:
    """Weights of so many steps are not those of more."""
    recipe = RECIPES["pointwise"]
    plan = replace(TINY, trainings=tmp_path, steps=1)
    recipe.trained(plan, 0)
    with pytest.raises(InvalidInputError, match=r"training [(]steps=1 there, 2 here"):
        recipe.trained(replace(plan, steps=2), 0)
