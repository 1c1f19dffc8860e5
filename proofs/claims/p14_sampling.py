"""P14. What a stride and a grid leave of the covariances.

Statement. A network of total stride s on the lattice commutes with shifts by multiples of s: the
map moves by d / s. Other whole-pixel shifts it does not keep in general. A grid is mapped onto
itself only by multiples of 90 degrees (and flips); with symmetric kernels these commute exactly
with the network if in every layer the sampled positions are centred on the map, that is if

    (N + 2 p - k) is divisible by the stride,

with N the width of the layer's input, p its padding and k its kernel. For odd k and "same" padding,
this is N - 1 divisible by the stride. Otherwise the grid itself adds a residual.

Proof. Shifts. A layer of stride s is a stride-1 layer, which commutes with shifts (P1), followed by
keeping every s-th position. If d = s e, the value kept at index i of the shifted map is the one at
s i - s e of the unshifted, which is the one kept at index i - e. Strides multiply along the layers.
If s does not divide d, the positions s i - d are not among those kept: one white pixel under a
kernel with a single entry is seen before the shift and missed after it, or the other way about.

Turns. A rotation that maps the lattice Z^2 onto itself maps (1, 0) to a lattice vector of length
1, of which there are four. A layer reads windows of width k that start at -p + s i, i = 0, ..., M
- 1 with M = floor((N + 2 p - k) / s) + 1. Mirrored in the middle of the map, a window that starts
at a ends where N - 1 - a is, so it starts at N - k - a. The set of starts is mapped onto itself if
and only if -p + s (M - 1) = N - k + p, that is if s (M - 1) = N + 2 p - k: divisibility. Then
index i goes to M - 1 - i, so the mirrored input gives the mirrored output, if the kernel is mirror
symmetric and the padding is the same on all sides; likewise for the exchange of rows and columns,
and so for all eight symmetries. Pointwise layers and pooling follow as in P1, several layers by
induction. QED
"""

from dataclasses import dataclass

from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from proofs.claim import Claim, Control, Formal, Setting, Source
from proofs.draws.lattice import cnns, pixel_images, symmetries
from proofs.worlds.lattice import Conv, LatticeNetwork, Pool, Symmetry, relative_gap, shifted

TORUS = 16
"""Width of the images for shifts: divisible by every total stride drawn."""


@dataclass(frozen=True)
class ShiftCase:
    """A CNN with strides, an image, and a shift in units of the total stride."""

    network: LatticeNetwork
    image: Tensor
    right: int
    down: int


@dataclass(frozen=True)
class TurnCase:
    """A CNN of symmetric kernels, an image, and a symmetry of the grid."""

    network: LatticeNetwork
    image: Tensor
    h: Symmetry


shift_cases = st.builds(
    ShiftCase,
    network=cnns(border="circular", strides=(1, 2)),
    image=pixel_images(TORUS, pixels=24),
    right=st.integers(-2, 2),
    down=st.integers(-2, 2),
)


def pixels_for(coarse: int, stride: int) -> int:
    """How many pixels the image must move for the map to move by whole positions."""
    return coarse * stride


def keeps_centre(width: int, kernel: int, padding: int, stride: int) -> bool:
    """Whether the windows of a layer are centred on its input: s divides N + 2 p - k."""
    return (width + 2 * padding - kernel) % stride == 0


def is_centred(network: LatticeNetwork, width: int) -> bool:
    """Whether every layer keeps the centre of images of this width; see `keeps_centre`."""
    for layer in network.layers:
        if isinstance(layer, (Conv, Pool)):
            size = layer.kernel.shape[-1] if isinstance(layer, Conv) else layer.size
            if not keeps_centre(width, size, layer.padding, layer.stride):
                return False
            width = (width + 2 * layer.padding - size) // layer.stride + 1
    return True


@st.composite
def turn_cases(draw: DrawFn, *, centred: bool) -> TurnCase:
    """Strided CNNs of symmetric kernels whose layers all keep the centre, or do not.

    Args:
        draw: given by Hypothesis.
        centred: which.

    Returns:
        The case.
    """
    network = draw(cnns(border="zero", strides=(1, 2, 3), symmetric=True), "network")
    widths = [n for n in (9, 13, 17, 8, 10, 12) if is_centred(network, n) is centred]
    assume(widths)
    width = draw(st.sampled_from(widths), "width")
    return TurnCase(network, draw(pixel_images(width, pixels=24), "image"), draw(symmetries(), "h"))


def shift_residual(case: ShiftCase) -> float:
    """The map of the shifted image against the shifted map."""
    stride = case.network.stride
    moved = shifted(case.image, pixels_for(case.right, stride), pixels_for(case.down, stride))
    return relative_gap(
        case.network(moved), shifted(case.network(case.image), case.right, case.down)
    )


def one_pixel_residual(case: ShiftCase) -> float:
    """What would vanish if a shift by one pixel moved the map by some whole number of positions.

    Returns:
        Relative gap at the best shift of the map.
    """
    maps, moved = case.network(case.image), case.network(shifted(case.image, 1, 0))
    side = range(maps.shape[-1])
    return min(relative_gap(moved, shifted(maps, x, y)) for x in side for y in side)


def turn_residual(case: TurnCase) -> float:
    """The map of the moved image against the moved map."""
    return relative_gap(case.network(case.h(case.image)), case.h(case.network(case.image)))


CLAIM = Claim(
    id="P14",
    title="sampling",
    statement="Stride s keeps covariance under shifts by multiples of s only; on a grid only "
    "quarter turns and flips are exact, where every layer's windows are centred on its input.",
    formula="G D_(s e) = D_e G;  (N + 2 p - k) divisible by s in each layer => G T_h = T_h G",
    assumptions=("circular padding for shifts", "symmetric kernels and even padding for turns"),
    sources=(Source("Azulay and Weiss (JMLR 2019)", "aliasing by strides breaks shifts"),),
    proof=__doc__,
    formal=Formal(
        missing="A statement about indices of strided and padded arrays, which the lattice's draws "
        "check without rounding; a proof would formalise the arrays anew. It stays numerical.",
    ),
    settings=(
        Setting(
            name="lattice, shifts",
            cases=shift_cases,
            residual=shift_residual,
            tolerance=1e-12,
            why="integers are exact; means and normalisation round in the last place",
            control=Control(
                statement="a shift by one pixel moves a strided map by whole positions",
                residual=one_pixel_residual,
            ),
        ),
        Setting(
            name="lattice, turns",
            cases=turn_cases(centred=True),
            residual=turn_residual,
            tolerance=1e-12,
            why="integers are exact; means and normalisation round in the last place",
            control=Control(
                statement="exact also where a layer's windows are not centred on its input",
                residual=turn_residual,
                cases=turn_cases(centred=False),
            ),
        ),
    ),
)
