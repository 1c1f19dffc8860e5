"""What the claims about receptive fields draw: small networks of stencils, as values."""

from functools import cache

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from proofs.draws.gaussians import nonzero_quarters, quarters
from proofs.worlds.stencils import Stencil, StencilNetwork, felt_taps


@cache
def offsets() -> SearchStrategy[tuple[float, float]]:
    """Displacements of a tap; the centre is the simplest.

    Returns:
        Strategy of pairs.
    """
    return st.tuples(quarters(-1, 1), quarters(-1, 1))


@cache
@st.composite
def stencil_networks(draw: DrawFn, depth: int = 3) -> StencilNetwork:
    """Networks that filter space: they feel the image at two places or more.

    A layer may shift what another shifts back, and weights may cancel, so this is asked of the
    whole network.

    Args:
        draw: given by Hypothesis.
        depth: largest number of layers.

    Returns:
        The network.

    Raises:
        ValueError: no layer is asked for.
    """
    if depth < 1:
        raise ValueError(f"depth = {depth}: a network has at least one layer.")
    layers = []
    inputs = 1
    for number in range(draw(st.integers(1, depth), "layers")):
        fewest = 2 if number == 0 else 1
        places = st.lists(offsets(), min_size=fewest, max_size=3, unique=True)
        points = np.array(draw(places, f"offsets {number}"))
        outputs = draw(st.integers(1, 2), f"channels {number}")
        n = outputs * inputs * len(points)
        weights = draw(st.lists(nonzero_quarters(), min_size=n, max_size=n), f"weights {number}")
        layers.append(Stencil(points, np.array(weights).reshape(outputs, inputs, -1)))
        inputs = outputs
    network = StencilNetwork(tuple(layers))
    assume(len(felt_taps(network)) > 1)
    return network
