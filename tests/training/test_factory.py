"""Networks and optimizers from a configuration."""

from invariance_probe.training import factory
from tests.training import tiny


def test_localizers_have_a_rate_of_their_own() -> None:
    """The multiplier scales the rate of what only predicts motions, and of nothing shared."""
    config = tiny.config(variant="sl1", localizer_rate=0.1)
    network = factory.build_network(config, tiny.dataset())
    rest, own = factory.build_optimizer(config, network).param_groups
    assert (rest["factor"], own["factor"]) == (1.0, 0.1)
    assert {id(p) for p in own["params"]} == {id(p) for p in network.localizer_parameters()}
    both = {id(p) for group in (rest, own) for p in group["params"]}
    assert both == {id(p) for p in network.parameters()}
