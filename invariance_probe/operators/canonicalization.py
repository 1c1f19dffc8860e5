"""Any network, shown its input in a pose that a small network chooses: canonicalization.

Transforming the input with a predicted pose is what claim P15 allows: if the prediction follows the
content, the answer is invariant, whatever the network.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_integer, check_maps
from invariance_probe.plane.sampling import resample
from invariance_probe.stn.transformer import PARAMETRISATIONS

MOST_ORIENTATIONS = 360
"""Each is a copy of the images in memory."""


class Canonicalizer(nn.Module, ABC):
    """Turn images upright, in a sense of its own, before a network sees them.

    Attributes:
        network: What sees the canonical images.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def canonical(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Turn images into their canonical poses.

        Args:
            images: Square images.

        Returns:
            The same, each turned about its centre.
        """

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch *answer"]:
        """Ask the network about the canonical images.

        Args:
            images: Square images.

        Returns:
            What the network returns.

        Example:
            >>> images = torch.rand(2, 3, 33, 33)
            >>> answer = canonicalizer(images)
            >>> torch.allclose(answer, canonicalizer(ip.Rotation(90)(images)), atol=1e-4)
            True
        """
        answer: Tensor = self.network(self.canonical(images))
        return answer


class DiscreteCanonicalizer(Canonicalizer):
    """Of a few orientations choose the one of least energy.

    Kaba et al., "Equivariance with learned canonicalization functions" (2023), the optimization
    approach, in which the canonical pose minimises an energy; Mondal et al., "Equivariant
    adaptation of large pretrained models" (2023), whose prior is `prior_loss`. To the energy passes
    the gradient of a soft choice, straight through the hard one.

    Known answer: exact invariance at quarter turns of square images, for any energy and network. At
    the other orientations, where images are interpolated, and between them, it is as good as the
    energy was trained to be.

    Args:
        network: What sees the canonical images.
        energy: Any module from images to one number each, such as `pose_network` builds.
        orientations: 4 for C4, 8 for C8, or any other multiple of 4.

    Raises:
        InvalidInputError: If the number of orientations is no multiple of 4.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from torch import nn
        >>> from invariance_probe.operators import DiscreteCanonicalizer, pose_network
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 33 * 33, 5))
        >>> canonicalizer = DiscreteCanonicalizer(network, pose_network(3), orientations=8)
    """

    def __init__(self, network: nn.Module, energy: nn.Module, *, orientations: int = 4) -> None:
        super().__init__(network)
        check_integer("orientations", orientations, 4, MOST_ORIENTATIONS)
        if orientations % 4:
            raise InvalidInputError(
                f"orientations={orientations}: give a multiple of 4, for quarter turns are exact"
            )
        self.energy, self.orientations = energy, orientations

    def poses(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch orientation channel height width"]:
        """Turn images back by every orientation.

        Args:
            images: Square images.

        Returns:
            Copy k is turned clockwise by ``360 k / orientations`` degrees; where it shows what lies
            beyond the image, the nearest border value.

        Example:
            >>> images = torch.rand(2, 3, 33, 33)
            >>> canonicalizer.poses(images).shape
            torch.Size([2, 8, 3, 33, 33])
        """
        _check_square(images)
        between = self.orientations // 4
        copies = []
        for k in range(self.orientations):
            # Quarter turns first, which move pixels: of an image and of its quarter turn the copies
            # are then the same pixels, and not interpolated along two ways.
            copy = images.rot90(-(k // between), (-2, -1))
            if k % between:
                angle = 2 * math.pi / self.orientations * (k % between)
                copy = _turned_back(copy, copy.new_full((len(copy),), angle))
            copies.append(copy)
        return torch.stack(copies, dim=1)

    def energies(
        self, poses: Float[Tensor, "batch orientation channel height width"]
    ) -> Float[Tensor, "batch orientation"]:
        """Judge all copies.

        Args:
            poses: What `poses` returned.

        Returns:
            The energy of each.

        Example:
            >>> canonicalizer.energies(canonicalizer.poses(images)).shape
            torch.Size([2, 8])
        """
        judged: Tensor = self.energy(poses.flatten(0, 1))
        return judged.reshape(poses.shape[:2])

    def canonical(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Choose the copy of least energy.

        Args:
            images: Square images.

        Returns:
            The chosen copies.

        Raises:
            InvalidInputError: If the images are not square.

        Example:
            >>> turned = ip.Rotation(90)(images)
            >>> torch.equal(canonicalizer.canonical(images), canonicalizer.canonical(turned))
            True
        """  # noqa: DOC502  (raised by `poses`)
        poses = self.poses(images)
        energies = self.energies(poses)
        chosen = energies.argmin(1)
        if not energies.requires_grad:
            return poses[torch.arange(len(poses), device=poses.device), chosen]
        soft = (-energies).softmax(1)
        # in this order the hard choice keeps exact ones and zeros, the soft one adds its gradient
        weights = F.one_hot(chosen, self.orientations) + (soft - soft.detach())
        return torch.einsum("bk,bkcyx->bcyx", weights.to(poses), poses)

    def degrees(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """Say by how much the images are taken to be turned.

        Args:
            images: Square images.

        Returns:
            Degrees, counter-clockwise, in [0, 360).

        Example:
            >>> turned = ip.Rotation(90)(images)
            >>> ((canonicalizer.degrees(turned) - canonicalizer.degrees(images)) % 360).tolist()
            [90.0, 90.0]
        """
        chosen = self.energies(self.poses(images)).argmin(1)
        return chosen.to(images.dtype) * (360 / self.orientations)

    def prior_loss(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, ""]:
        """Judge how surprising the upright pose is, for training on upright images.

        Mondal et al. (2023), prior regularization: without it any pose may become the canonical
        one, also one that a pretrained network has never seen.

        Args:
            images: Square images, as upright as those the network was trained on.

        Returns:
            Cross entropy of the orientations against no turn, in nats.

        Example:
            >>> canonicalizer.prior_loss(images).item() > 0
            True
        """
        energies = self.energies(self.poses(images))
        return F.cross_entropy(-energies, energies.new_zeros(len(images)).long())


class ContinuousCanonicalizer(Canonicalizer):
    """Turn images by an angle that a small network predicts.

    Kaba et al. (2023), the direct approach, and Mondal et al. (2023). A direction that is predicted
    by an equivariant network turns with the image; here any network is made so at quarter turns, by
    the mean of its predictions over the four of them, each turned along (Puny et al., "Frame
    averaging for invariant and equivariant network design", 2022, section 2.1).

    Known answer: invariance at quarter turns of square images, to rounding, for any predictor and
    network; at all angles, to the floor of interpolation, if the predictor turns with the image.

    Args:
        network: What sees the canonical images.
        predictor: Any module from images to two numbers each, x and y (upwards) of a direction,
            such as `pose_network` builds. Its length counts for nothing.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from torch import nn
        >>> from invariance_probe.operators import ContinuousCanonicalizer, pose_network
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 33 * 33, 5))
        >>> canonicalizer = ContinuousCanonicalizer(network, pose_network(3, outputs=2))
    """

    def __init__(self, network: nn.Module, predictor: nn.Module) -> None:
        super().__init__(network)
        self.predictor = predictor

    def radians(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """Predict by how much the images are turned.

        Args:
            images: Square images.

        Returns:
            Radians, counter-clockwise, in [-pi, pi]; 0 where the predictions cancel.

        Raises:
            InvalidInputError: If the images are not square.

        Example:
            >>> canonicalizer.radians(torch.rand(2, 3, 33, 33)).shape
            torch.Size([2])
        """  # noqa: DOC502  (raised by the check)
        _check_square(images)
        x = y = images.new_zeros(len(images))
        for quarters in range(4):
            u, v = self.predictor(images.rot90(-quarters, (-2, -1))).unbind(1)
            for _ in range(quarters):
                u, v = -v, u
            x, y = x + u, y + v
        return torch.atan2(y, x)

    def canonical(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Turn images back by the predicted angle.

        Args:
            images: Square images.

        Returns:
            Turned images; where they show what lies beyond, the nearest border value. Gradients
            reach the predictor.

        Example:
            >>> canonicalizer.canonical(torch.rand(2, 3, 33, 33)).shape
            torch.Size([2, 3, 33, 33])
        """
        return _turned_back(images, self.radians(images))

    def prior_loss(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, ""]:
        """Judge how far from upright the predictions are, for training on upright images.

        Args:
            images: Square images, as upright as those the network was trained on.

        Returns:
            Mean of 1 - cos of the angles, from 0 to 2.

        Example:
            >>> 0 <= canonicalizer.prior_loss(torch.rand(2, 3, 33, 33)).item() <= 2
            True
        """
        return (1 - self.radians(images).cos()).mean()


def pose_network(channels: int, *, outputs: int = 1, width: int = 16) -> nn.Sequential:
    """Build a small network that judges images.

    Args:
        channels: Channels of the images.
        outputs: Numbers for each image: 1 for an energy, 2 for a direction.
        width: Filters of each layer.

    Returns:
        Three convolutions of 5 x 5, the last two with stride 2, the mean over positions, and a
        linear layer; for images of at least 17 x 17 pixels.

    Raises:
        InvalidInputError: If a number is no positive whole one.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import pose_network
        >>> pose_network(3, outputs=2)(torch.rand(4, 3, 33, 33)).shape
        torch.Size([4, 2])
    """  # noqa: DOC502  (raised by the checks)
    for name, value in (("channels", channels), ("outputs", outputs), ("width", width)):
        check_integer(name, value, 1, 10**6)
    layers: list[nn.Module] = []
    for number in range(3):
        into, stride = (width, 2) if number else (channels, 1)
        layers += [nn.Conv2d(into, width, 5, stride=stride), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs))


def _turned_back(images: Tensor, radians: Tensor) -> Tensor:
    """Images turned clockwise by angles of their own."""
    side = images.shape[-1]
    # the pull-back of a clockwise turn has a negative angle in the family of the transformers
    pull_backs = PARAMETRISATIONS["rotation"].matrices(-radians[:, None], height=side, width=side)
    return resample(images, pull_backs)


def _check_square(images: Tensor) -> None:
    check_maps("images", images, "batch", "channel", "side", "side")
    if images.shape[-1] != images.shape[-2]:
        raise InvalidInputError(
            f"images of {images.shape[-2]} x {images.shape[-1]} pixels cannot be turned by a "
            "quarter; give square ones"
        )
