"""Network and optimizer of a training run, from its configuration."""

import torch

from invariance_probe.data.datasets import Dataset
from invariance_probe.statistics import torch_seed
from invariance_probe.stn import networks
from invariance_probe.stn.variants import VariantNetwork
from invariance_probe.training.configuration import TrainConfig


def build_network(config: TrainConfig, dataset: Dataset) -> VariantNetwork:
    """Build the network of a run, with its first weights.

    Args:
        config: The run; its seed alone decides the weights.
        dataset: What is learnt from.

    Returns:
        The network, on the CPU, in channels-last memory format.
    """
    source = dataset.source
    name = source.network if config.network == "auto" else config.network
    localizer = source.localizer if config.localizer == "auto" else config.localizer
    plan, side = networks.ARCHITECTURES[name], config.perturbation.canvas(dataset.side)
    sizes = plan.map_sizes(dataset.channels, side, config.width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(config.seed, "weights"))
        classifier = networks.Classifier(
            plan,
            channels=dataset.channels,
            side=side,
            classes=dataset.classes,
            slots=source.slots,
            width=config.width,
            resampled=config.variant.resampled(sizes, config.output_share),
        )
        network = VariantNetwork(
            classifier,
            config.variant,
            localizer=localizer,
            localizer_width=config.localizer_width,
            parametrisation=config.parametrisation,
            mode=config.sampler,
            padding=config.padding,
            output_share=config.output_share,
            gradient_scale=config.gradient_scale,
            trunk=config.trunk,
        )
    # pooling is many times faster where channels lie side by side
    wide = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unlisted
    assert isinstance(wide, VariantNetwork)
    return wide


def build_optimizer(config: TrainConfig, network: VariantNetwork) -> torch.optim.Optimizer:
    """Build the optimizer of a run.

    Args:
        config: The run.
        network: What is trained, on its device.

    Returns:
        An optimizer whose groups carry ``factor``, which multiplies the scheduled rate.
    """
    own = network.localizer_parameters()
    ids = {id(parameter) for parameter in own}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in ids]
    groups = [{"params": rest, "factor": 1.0}, {"params": own, "factor": config.localizer_rate}]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=config.rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
    return torch.optim.AdamW(groups, lr=config.rate, weight_decay=config.weight_decay, fused=True)
