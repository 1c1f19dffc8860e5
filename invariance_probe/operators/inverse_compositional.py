"""A spatial transformer that looks again at what it has moved, and moves the original once."""

from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors.checks import check_integer
from invariance_probe.stn.transformer import SpatialTransformer

MOST_STEPS = 100
"""A slip of the pen would not end."""


class InverseCompositionalTransformer(SpatialTransformer):
    """Predict a motion, look at the input without it, predict what is left, and so on.

    Lin and Lucey, "Inverse compositional spatial transformer networks" (2017), where it is
    recurrent: one localizer serves all steps, poses are composed, and each step reads the original,
    so that the blur of interpolation does not add up (claim P16). In `invariance_probe`'s trainings
    it is the variant ``c0xNs``, for N steps.

    Known answer: with a localizer that undoes half of what is left, n steps leave one part in 2^n.

    Args:
        localizer: As of `invariance_probe.SpatialTransformer`.
        features: How many features it returns.
        steps: Times that the input is looked at.
        parametrisation: Which motions, as of `invariance_probe.SpatialTransformer`.
        mode: Sampler.
        padding: What is read outside the maps.
        gradient_scale: Factor of the gradient where it enters the localizer.

    Raises:
        InvalidInputError: If `steps` is no positive whole number, or an option is refused there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invariance_probe.operators import InverseCompositionalTransformer
        >>> localizer = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU())
        >>> transformer = InverseCompositionalTransformer(localizer, 32, steps=3)
        >>> network = nn.Sequential(transformer, nn.Flatten())
        >>> maps = torch.rand(2, 1, 28, 28)
    """

    def __init__(
        self,
        localizer: nn.Module,
        features: int,
        *,
        steps: int = 4,
        parametrisation: str = "affine",
        mode: str = "bilinear",
        padding: str = "border",
        gradient_scale: float = 1.0,
    ) -> None:
        super().__init__(
            localizer,
            features,
            parametrisation=parametrisation,
            mode=mode,
            padding=padding,
            gradient_scale=gradient_scale,
        )
        check_integer("steps", steps, 1, MOST_STEPS)
        self.steps = steps

    def predict(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch 3 3"]:
        """Predict pull-backs, composed of those of all steps.

        Args:
            maps: What is looked at, each time as moved so far.

        Returns:
            One pull-back for each map; at least float32.

        Example:
            >>> transformer.predict(maps)[0].tolist()  # the identity, before training
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        """
        total = super().predict(maps)
        for _ in range(self.steps - 1):
            # reading through `total` and then through what follows is reading through the product
            total = total @ super().predict(self.resample(maps, total))
        return total
