"""Ways in which networks move features or inputs, as modules whose answer is known.

=================================  ================================================================
name                               what it does
=================================  ================================================================
`RotatedRoIAlign`                  reads rotated boxes from a map, upright
`RotationInvariantRoIAlign`        and rolls the channels of a network of orientations back
`rolled_back`                      that roll alone
`DeformableConv2d`                 moves each tap by an offset that it predicts, versions 1 and 2
`deformable_conv2d`                the same with offsets at hand
`LogPolar`                         reads maps in coordinates where turns and scalings are shifts
`PolarTransformer`                 and finds the origin in the image
`DiscreteCanonicalizer`            turns the input to the one of a few poses that has least energy
`ContinuousCanonicalizer`          turns the input by an angle that it predicts
`pose_network`                     a small network that judges poses
`LatentCanonicalizer`              undoes predicted local scalings of the input and of maps
`TIPooling`                        pools a network's answers over moved copies of the input
`InverseCompositionalTransformer`  looks again at what it has moved, and moves the original once
`EgoWarp`                          brings a bird's-eye map to where the vehicle is now
`EgoAlignment`                     does so before an encoder, or after it
`Steerer`                          turns descriptors by exp(angle A), one generator for all angles
`fit_steerer`                      finds the generator from a few angles
`fit_matrix`                       finds a matrix for one transform
=================================  ================================================================
"""

from invariance_probe.operators.canonicalization import (
    ContinuousCanonicalizer,
    DiscreteCanonicalizer,
    pose_network,
)
from invariance_probe.operators.deformable import DeformableConv2d, deformable_conv2d
from invariance_probe.operators.ego_motion import EgoAlignment, EgoWarp
from invariance_probe.operators.inverse_compositional import InverseCompositionalTransformer
from invariance_probe.operators.latent_canonicalization import LatentCanonicalizer
from invariance_probe.operators.log_polar import LogPolar, PolarTransformer
from invariance_probe.operators.roi_align import (
    RotatedRoIAlign,
    RotationInvariantRoIAlign,
    rolled_back,
)
from invariance_probe.operators.steerers import Steerer, fit_matrix, fit_steerer
from invariance_probe.operators.ti_pooling import TIPooling

__all__ = [
    "ContinuousCanonicalizer",
    "DeformableConv2d",
    "DiscreteCanonicalizer",
    "EgoAlignment",
    "EgoWarp",
    "InverseCompositionalTransformer",
    "LatentCanonicalizer",
    "LogPolar",
    "PolarTransformer",
    "RotatedRoIAlign",
    "RotationInvariantRoIAlign",
    "Steerer",
    "TIPooling",
    "deformable_conv2d",
    "fit_matrix",
    "fit_steerer",
    "pose_network",
    "rolled_back",
]
