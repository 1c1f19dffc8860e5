"""What finds the pose by itself tells it in the sense of the motion, and is the network it was."""

import math

import pytest
import torch
from torch import nn

from analyses.related.acting import CANVAS, STILL
from analyses.related.by_itself import Continuous, Latent, Placed
from analyses.related.methods import Motions
from invariance_probe.stn import networks
from invariance_probe.stn.variants import VariantNetwork, parse_variant
from tests.analyses.related.planted import digits, untrained
from tests.tolerances import ROUNDED

QUARTER = Motions.QUARTERS.poses[0]


def placed(variant: str, parametrisation: str, number: str) -> Placed:
    """An untrained network of the papers."""
    plan = networks.ARCHITECTURES["mnist-five"]
    classifier = networks.Classifier(plan, channels=1, side=CANVAS, classes=10, width=0.5)
    network = VariantNetwork(classifier, parse_variant(variant), parametrisation=parametrisation)
    return Placed(network.eval(), number)


@pytest.mark.parametrize("variant", ["c0", "c1", "c3", "sl1", "c0x4s"])
@torch.no_grad()
def test_it_answers_what_the_network_answers(variant: str) -> None:
    """Cut where the map is moved, and put together, it gives the same logits."""
    acting = placed(variant, "affine", "degrees")
    nn.init.normal_(acting._transformer.regression.bias, std=0.2)
    images = QUARTER.move(digits())
    assert torch.allclose(acting(images), acting._network(images).logits[:, 0], atol=ROUNDED)
    # and with a pose, what it is with the true one
    truth = acting._network(images, QUARTER.pull_back.float().expand(len(images), 3, 3))
    told = acting.head(acting.act(acting.encode(images), QUARTER))
    assert torch.allclose(told, truth.logits[:, 0], atol=10 * ROUNDED)


@pytest.mark.parametrize(
    ("parametrisation", "number", "bias", "undone"),
    [("rotation", "degrees", math.radians(-25), 25), ("scale", "log2_factor", math.log(2), 1)],
)
def test_what_is_told_is_what_is_undone(
    parametrisation: str, number: str, bias: float, undone: float
) -> None:
    """A pull-back that turns content by -25 degrees tells 25; one that halves it, an octave."""
    acting = placed("c0", parametrisation, number)
    acting._transformer.regression.bias.data.fill_(bias)
    with torch.no_grad():
        assert acting.predicted(STILL.move(digits())).tolist() == pytest.approx([undone] * 6)


@torch.no_grad()
def test_a_canonicalizer_tells_the_turn() -> None:
    """Of a quarter turn, 90 degrees more than upright, whatever it has learnt."""
    acting = untrained("canonical")
    assert isinstance(acting, Continuous)
    more = acting.predicted(QUARTER.move(digits())) - acting.predicted(STILL.move(digits()))
    assert (more % 360).tolist() == pytest.approx([90] * 6, abs=0.01)


@torch.no_grad()
def test_a_latent_canonicalizer_tells_what_it_stretches() -> None:
    """Where intervals in the middle are twice as long as evenly, it undoes an octave."""
    acting = untrained("latent, input")
    assert isinstance(acting, Latent)
    images = STILL.move(digits())
    assert acting.predicted(images).tolist() == pytest.approx([0] * 6, abs=1e-5)
    bias = acting._latent.regression.bias
    # six of ten intervals in the middle of a weight that gives them 12 tenths of what they had
    # would leave the axis; half as long, they leave the ends 7 tenths
    slopes = torch.tensor([1.75] * 2 + [0.5] * 6 + [1.75] * 2).log().repeat(2)
    bias.copy_(slopes / acting._latent.steps)
    assert acting.predicted(images).tolist() == pytest.approx([-1] * 6, abs=1e-4)
    bias.zero_()
