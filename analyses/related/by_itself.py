"""Methods that find the pose, or need none."""

import torch
from torch import Tensor, nn

import invariance_probe as ip
from analyses.related.acting import CANVAS, STRIDE, Acting, Pose, linear_head
from invariance_probe.operators import (
    ContinuousCanonicalizer,
    DiscreteCanonicalizer,
    LatentCanonicalizer,
    LogPolar,
    PolarTransformer,
    TIPooling,
    pose_network,
)
from invariance_probe.plane import motions
from invariance_probe.stn.transformer import SpatialTransformer
from invariance_probe.stn.variants import VariantNetwork

_ANGLES, _RADII, _WRAPPED = 48, 24, 16
"""Of log-polar images. A turn by 30 degrees is 4 rows, a cell of the last map, so that all turns
are whole shifts (P14); as many rows are repeated at either end as the trunk's borders reach."""
_INTERVALS = 10
"""Of a latent canonicalizer: scalings up to 1.4 of what lies in the middle 24 pixels are among its
warps, and around it is only black."""
_JUDGES, _FEATURES = 8, 64
"""Filters of what judges poses; features that are pooled over copies."""


class Placed(Acting):
    """A transformer of the papers, as the trainer trains it: C0, CX, SLX, and iterating ones.

    Args:
        network: Trained, with one transformer.
        number: What the pose is that it learnt to undo, as of `motions.poses_of`.
    """

    def __init__(self, network: VariantNetwork, number: str) -> None:
        super().__init__()
        (placement,) = network.variant.placements
        transformer = network.transformers[0]
        assert isinstance(transformer, SpatialTransformer)
        self._network, self._transformer, self._number = network, transformer, number
        self.head = network.classifier.head
        self._depth = 0 if placement.at_input else placement.depth

    def encode(self, images: Tensor) -> Tensor:
        """Make the map that is moved; of transformers of the input the image."""
        for layer in self._network.classifier.layers[: self._depth]:
            images = layer(images)
        return images

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Move, and make the last map."""
        if pose is not None:
            frame = self._network.classifier.frames[self._depth]
            pull_backs = frame.from_image(pose.pull_back).to(encoded).expand(len(encoded), 3, 3)
        elif self._depth:
            pull_backs = self._transformer.predict(encoded)
        else:
            pull_backs = self._network(encoded).pull_backs
        maps: Tensor = self._transformer.resample(encoded, pull_backs)
        for layer in self._network.classifier.layers[self._depth :]:
            maps = layer(maps)
        return maps

    def predicted(self, images: Tensor) -> Tensor:
        """Tell what is undone."""
        performed = motions.performed_moves(self._network(images).pull_backs, *images.shape[-2:])
        # of a turn and of a scaling the number of the inverse is the negative
        return -motions.poses_of(performed, [self._number])[:, 0]


class Polar(Acting):
    """Read the image in log-polar coordinates, and its last map up to a shift of the rows."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        polar = LogPolar(angles=_ANGLES, radii=_RADII, largest=19, wrapped=_WRAPPED)
        heatmap = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2)
        )
        self._polar, self._trunk = PolarTransformer(heatmap, polar), trunk
        self.head = linear_head(self)

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Make the last map; with a pose, about the middle of the turn, and rolled back."""
        polar = self._polar.polar
        read = self._polar(encoded) if pose is None else polar(encoded)
        wrapped = _WRAPPED // STRIDE
        maps: Tensor = self._trunk(read)[:, :, wrapped:-wrapped]
        rows, _ = polar.shift(0.0 if pose is None else pose.degrees)
        return maps.roll(-round(rows / STRIDE), 2)


class Canonical(Acting):
    """Turn the image as a small network says: over eight orientations, or by any angle."""

    def __init__(self, canonicalizer: ContinuousCanonicalizer | DiscreteCanonicalizer) -> None:
        super().__init__()
        self._canonicalizer = canonicalizer
        self.head = linear_head(self)

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Turn, and make the last map."""
        if pose is None:
            maps: Tensor = self._canonicalizer(encoded)
        else:
            maps = self._canonicalizer.network(pose.undone(encoded))
        return maps

    def prior(self, upright: Tensor) -> Tensor:
        """Ask that upright be canonical: Mondal et al. (2023), prior regularization."""
        loss: Tensor = self._canonicalizer.prior_loss(upright)
        return loss


class Continuous(Canonical):
    """Any angle."""

    _canonicalizer: ContinuousCanonicalizer

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__(ContinuousCanonicalizer(trunk, pose_network(1, outputs=2, width=_JUDGES)))

    def predicted(self, images: Tensor) -> Tensor:
        """Tell degrees."""
        radians: Tensor = self._canonicalizer.radians(images)
        return radians.rad2deg()


class Discrete(Canonical):
    """Four orientations."""

    _canonicalizer: DiscreteCanonicalizer

    def __init__(self, trunk: nn.Module) -> None:
        energy = pose_network(1, width=_JUDGES)
        super().__init__(DiscreteCanonicalizer(trunk, energy, orientations=4))

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Turn by a quarter or several, the nearest to a pose that is given."""
        if pose is None:
            return super().act(encoded, None)
        turned = encoded.rot90(-round(pose.degrees / 90), (-2, -1))
        maps: Tensor = self._canonicalizer.network(turned)
        return maps

    def predicted(self, images: Tensor) -> Tensor:
        """Tell degrees."""
        degrees: Tensor = self._canonicalizer.degrees(images)
        return degrees


class Latent(Acting):
    """Stretch the axes of what a stage reads, as a localizer says, in two looks.

    Args:
        trunk: Layers.
        first: The layer (from 0) at which the stage begins, and with it what is moved: 0 for the
            image.
    """

    def __init__(self, trunk: nn.Sequential, first: int) -> None:
        super().__init__()
        self._before, stage = trunk[:first], trunk[first:]
        channels = self._before(torch.zeros(1, 1, CANVAS, CANVAS)).shape[1]
        localizer = pose_network(channels, outputs=2 * _JUDGES, width=_JUDGES)
        # a classifier follows: nothing is stretched back
        self._latent = LatentCanonicalizer(
            stage, localizer, 2 * _JUDGES, intervals=_INTERVALS, steps=2, undo=False
        )
        self.head = linear_head(self)

    def encode(self, images: Tensor) -> Tensor:
        """Make what the stage reads."""
        maps: Tensor = self._before(images)
        return maps

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Stretch, and make the last map."""
        if pose is None:
            maps: Tensor = self._latent(encoded)
        else:
            maps = self._latent.stage(pose.undone(encoded))
        return maps

    def predicted(self, images: Tensor) -> Tensor:
        """Tell octaves: the mean slope in the middle, where digits are, of both axes."""
        knots: Tensor = self._latent.knots(self.encode(images))
        inner = slice(_INTERVALS // 5, -(_INTERVALS // 5))
        ends = knots[..., inner][..., [0, -1]]
        even = torch.linspace(-1, 1, _INTERVALS + 1)[inner][[0, -1]]
        return (ends.diff() / even.diff()).log2().mean((1, 2))


class Pooled(Acting):
    """Take the largest of each feature over the four quarter turns of the image."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        network = nn.Sequential(trunk, nn.Flatten(), nn.LazyLinear(_FEATURES), nn.ReLU())
        self._pooled = TIPooling(network, ip.sweep("rotation", 0, 270, 90))
        self.head = linear_head(self)

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Pool, whatever the pose: it has no use for one."""
        del pose
        vectors: Tensor = self._pooled(encoded)
        return vectors
