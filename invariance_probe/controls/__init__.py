"""Networks whose answer is known: what a measurement of alignment has to say about them.

Each constructor can be called without arguments, so that the command line takes it as a model
(``invariance_probe.controls:c4_network``). Weights come from a seed. Known answers, with W the
oracle warp and P the network's own `channel_permutation`:

=========================  =================  =================  ==============  ==============
network                    quarter turns      other rotations    reflections     scalings
=========================  =================  =================  ==============  ==============
`pointwise_network`        W exact            W to the floor     W exact         W to the floor
`isotropic_network`        W exact            W to the floor     W exact         no warp
`blur_network`             W exact            W to the floor     W exact         no warp
`four_fold_network`        W exact            no warp            no warp         no warp
`c4_network`               W and P exact      no warp            no warp         no warp
`d4_network`               W and P exact      no warp            W and P exact   no warp
`c4_pooled_network`        W exact            no warp            no warp         no warp
`d4_pooled_network`        W exact            no warp            W exact         no warp
`random_network`           no warp            no warp            no warp         no warp
=========================  =================  =================  ==============  ==============

Reflections are those at axes of 0, 45, 90 and 135 degrees. Whole-pixel shifts are exact for all of
these. `strided_network` and `antialiased_network` differ in shifts by less than their stride.

Convention:
    No layer pads: where the moved image holds what the original held (a canvas larger than the
    crop), every cell of every map is genuine, and the answers need no margin.

    "Exact" means to the rounding of the type, on square images. With stride 1 it holds for odd and
    even sizes, and odd and even kernels, alike. A stride must keep the centre of the image: it does
    if ``(size - kernel_size) % stride == 0``, so with stride 2 on odd sizes for an odd kernel, on
    even sizes for an even one. On other sizes the cells of the turned image lie between those of
    the original, off by the remainder over the stride (half a cell for stride 2). The measured
    offset puts the oracle warp there, but what was never sampled can only be interpolated, and the
    residual is not exact but the method ``floor``'s. Exact on such sizes is a quarter turn
    about the centre of the cells, which is one about the image's centre and a shift.
"""

from invariance_probe.controls.filters import (
    FourFoldConv2d,
    GaussianBlur2d,
    IsotropicConv2d,
    blur_network,
    four_fold_network,
    isotropic_network,
    pointwise_network,
    random_network,
)
from invariance_probe.controls.group_networks import (
    GroupNetwork,
    c4_network,
    c4_pooled_network,
    d4_network,
    d4_pooled_network,
)
from invariance_probe.controls.groups import (
    C4,
    D4,
    GroupConv2d,
    LiftingConv2d,
    OrbitPool,
    SquareGroup,
)
from invariance_probe.controls.subsampling import (
    BlurPool2d,
    antialiased_network,
    strided_network,
)

__all__ = [
    "C4",
    "D4",
    "BlurPool2d",
    "FourFoldConv2d",
    "GaussianBlur2d",
    "GroupConv2d",
    "GroupNetwork",
    "IsotropicConv2d",
    "LiftingConv2d",
    "OrbitPool",
    "SquareGroup",
    "antialiased_network",
    "blur_network",
    "c4_network",
    "c4_pooled_network",
    "d4_network",
    "d4_pooled_network",
    "four_fold_network",
    "isotropic_network",
    "pointwise_network",
    "random_network",
    "strided_network",
]
