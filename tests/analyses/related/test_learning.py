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
    elsewhere = replace(plan, trainings=tmp_path / "elsewhere")
    one, again, other = (
        recipe.trained(where, seed) for where, seed in ((plan, 0), (elsewhere, 0), (plan, 1))
    )
    for name, mine in one.named_parameters():
        assert torch.equal(mine, again.get_parameter(name))
        assert not torch.equal(mine, other.get_parameter(name))
    # fast, for so few steps
    run = replace(plan.config(recipe.setup(30), recipe.motion, "cnn", 0), rate=0.02)
    test = plan.dataset.test
    images = run.perturbation.apply(test.images[:200], torch.empty(200, 0))

    def loss() -> float:
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(one(images), test.labels[:200, 0]))

    before = loss()
    learn(one, run, plan.dataset)
    assert loss() < before - 0.02


def test_another_training_is_refused(tmp_path: Path) -> None:
    """Weights of a narrower network are not those of a wider one."""
    recipe = RECIPES["pointwise"]
    plan = replace(TINY, trainings=tmp_path, steps=1)
    recipe.trained(plan, 0)
    with pytest.raises(InvalidInputError, match=r"training [(]width=0.5 there, 0.75 here"):
        recipe.trained(replace(plan, width=0.75), 0)
