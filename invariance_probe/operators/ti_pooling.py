"""One network for all moved copies of an image, and the best answer, number by number."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_choice
from invariance_probe.plane.transforms import Transform


class TIPooling(nn.Module):
    """Run a network on copies of its input, and take the maximum (or mean) of each feature.

    Laptev et al., "TI-pooling: transformation-invariant pooling for feature learning in
    convolutional neural networks" (2016): the maximum. The mean is averaging over the
    group, as in Puny et al., "Frame averaging for invariant and equivariant network design" (2022),
    section 2.1.

    Known answer: if the transforms are a group, what is returned does not change under it: to the
    bit for quarter turns and reflections of square images (the mean to rounding), else to the
    floor of interpolation; under other transforms it changes.

    Args:
        network: Any module from images to vectors or maps.
        transforms: What is done to the copies; the identity has to be among them to be counted.
        kind: ``"max"`` or ``"mean"``.

    Raises:
        InvalidInputError: If there is no transform, or `kind` is neither.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from torch import nn
        >>> from invariance_probe.operators import TIPooling
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(81, 5))
        >>> pooled = TIPooling(network, ip.sweep("rotation", 0, 270, 90))
    """

    def __init__(
        self, network: nn.Module, transforms: Sequence[Transform], *, kind: str = "max"
    ) -> None:
        super().__init__()
        check_choice("kind", kind, ("max", "mean"))
        if not transforms:
            raise InvalidInputError("transforms is empty; give those of a group, as ip.sweep lists")
        self.network, self.transforms, self.kind = network, tuple(transforms), kind

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch *features"]:
        """Run the network on all copies, and pool.

        Args:
            images: Images.

        Returns:
            What the network returns of one of them, pooled over all.

        Example:
            >>> images = torch.rand(2, 1, 9, 9)
            >>> torch.equal(pooled(images), pooled(ip.Rotation(90)(images)))
            True
        """
        # one copy at a time, so that a batch of so many more images is never held
        answers = torch.stack([self.network(transform(images)) for transform in self.transforms])
        return answers.amax(0) if self.kind == "max" else answers.mean(0)
