"""What a model takes: how many channels its first layer reads, and which sizes it stands."""

from torch import nn


def input_channels(model: nn.Module) -> int | None:
    """Read how many channels the images of a model have.

    Args:
        model: Any module.

    Returns:
        Those of the first convolution; None if there is none.
    """
    if not isinstance(model, nn.Module):
        return None
    found = (each for each in model.modules() if isinstance(each, nn.Conv2d))
    first = next(found, None)
    return None if first is None else first.in_channels
