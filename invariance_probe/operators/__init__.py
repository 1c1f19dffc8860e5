"""Ways in which networks move features or inputs, as modules whose answer is known.

=================================  ================================================================
name                               what it does
=================================  ================================================================
`RotatedRoIAlign`                  reads rotated boxes from a map, upright
`RotationInvariantRoIAlign`        and rolls the channels of a network of orientations back
`rolled_back`                      that roll alone
`DeformableConv2d`                 moves each tap by an offset that it predicts, versions 1 and 2
`deformable_conv2d`                the same with offsets at hand
=================================  ================================================================
"""

from invariance_probe.operators.deformable import DeformableConv2d, deformable_conv2d
from invariance_probe.operators.roi_align import (
    RotatedRoIAlign,
    RotationInvariantRoIAlign,
    rolled_back,
)

__all__ = [
    "DeformableConv2d",
    "RotatedRoIAlign",
    "RotationInvariantRoIAlign",
    "deformable_conv2d",
    "rolled_back",
]
