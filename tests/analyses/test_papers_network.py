"""The papers' network is the one that is trained here."""

import pytest
import torch

from analyses.noise import noise_dataset
from analyses.papers_network import DIGITS, SIDE, PlainTransformer
from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import factory
from invariance_probe.training.configuration import TrainConfig


@pytest.mark.parametrize("variant", ["cnn", "c0"])
def test_the_baseline_is_the_same_network(variant: str) -> None:
    """With our weights, the papers' pipeline's network says what ours says."""
    data = noise_dataset((20, 10, 10), SIDE, DIGITS, 0)
    config = TrainConfig(
        data="noise", perturbation=RandomRotation(), variant=parse_variant(variant), network="mnist"
    )
    ours = factory.build_network(config, data)
    theirs = PlainTransformer(variant)
    with torch.no_grad():
        pairs = zip(
            [*ours.transformers.parameters(), *ours.classifier.parameters()],
            theirs.parameters(),
            strict=True,
        )
        for mine, yours in pairs:
            shape = yours.shape
            if mine.shape == (6,):  # ours is added to the identity
                mine += 0.1 * torch.randn(6)
                yours.copy_(mine + torch.eye(2, 3).flatten())
                continue
            if mine.shape[0] == 6:
                mine += 0.1 * torch.randn_like(mine)
            yours.copy_(mine.reshape(shape))
        images = torch.rand(5, 1, 28, 28)
        torch.testing.assert_close(ours(images).logits[:, 0], theirs(images), rtol=1e-4, atol=1e-4)
