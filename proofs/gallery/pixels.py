"""Pictures on the lattice."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from proofs.claims import p09_any_warp_obstruction as p09
from proofs.claims import p12_pooling_over_the_orbit as p12
from proofs.claims import p16_iterate_by_composing as p16
from proofs.gallery.panels import Panel, figure, of_pixels
from proofs.worlds.lattice import (
    QUARTER_TURNS,
    SYMMETRIES,
    Conv,
    relative_gap,
    shifted,
    symmetrised,
)

DERIVATIVE = torch.tensor([[[[0.0, 0, 0], [-1, 0, 1], [0, 0, 0]]]], dtype=torch.float64)
"""Answers to upright edges."""


def blank(side: int) -> Tensor:
    """A dark image.

    Args:
        side: width and height.

    Returns:
        (1, 1, side, side) zeros.
    """
    return torch.zeros(1, 1, side, side, dtype=torch.float64)


def letter(side: int) -> Tensor:
    """An image without any symmetry, like an L.

    Args:
        side: width and height, at least 9.

    Returns:
        (1, 1, side, side).
    """
    image = blank(side)
    c = side // 2
    image[..., c - 3 : c + 3, c - 2] = 1
    image[..., c + 2, c - 2 : c + 3] = 1
    return image


def border_breaks_covariance() -> Figure:
    """P1: the border is where shifts stop commuting.

    Returns:
        The picture.
    """
    image = letter(11)
    moved = shifted(image, 4, 0)
    blur = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    rows = []
    for border, name in (("circular", "on a torus"), ("zero", "zeros around")):
        conv = Conv(blur, padding=1, border=border)  # type: ignore[arg-type]  # a literal that mypy widens
        gap = conv(moved) - shifted(conv(image), 4, 0)
        rows.append([
            of_pixels(moved, "image, shifted by 4 pixels", 1),
            of_pixels(conv(moved), f"its features, {name}", 5),
            of_pixels(shifted(conv(image), 4, 0), "features of the image, shifted", 5),
            of_pixels(gap, "difference", 5),
        ])
    return figure("P1. Filtering commutes with shifts, except where a border interferes.", rows)[0]


def channels_swap() -> Figure:
    """P8: after warping back, every channel shows its neighbour's map.

    Returns:
        The picture.
    """
    image, turn = letter(11), QUARTER_TURNS[1]
    conv = Conv(torch.cat([g(DERIVATIVE) for g in QUARTER_TURNS]), padding=1)
    reference, warped = conv(image), turn.inverse()(conv(turn(image)))
    permuted = warped[:, [(c + 1) % 4 for c in range(4)]]
    names = [f"channel {c}" for c in range(4)]
    assert_equal = relative_gap(permuted, reference)
    return figure(
        "P8. A quarter turn of the image, warped back: every channel shows what its neighbour "
        f"should. Renaming the channels mends it (largest difference left: {assert_equal:.0f}).",
        [
            [of_pixels(reference, f"features of f, {n}", 1, c) for c, n in enumerate(names)],
            [of_pixels(warped, f"turned, warped back, {n}", 1, c) for c, n in enumerate(names)],
            [of_pixels(permuted, f"channels renamed, {n}", 1, c) for c, n in enumerate(names)],
        ],
    )[0]


def edge_no_warp_repairs() -> Figure:
    """P9: the oriented edge, and what remains under the best conceivable warp.

    Returns:
        The picture.
    """
    image = 2 * blank(10) - 1
    image[..., 5:] = 1
    bank = torch.cat([DERIVATIVE, QUARTER_TURNS[1](DERIVATIVE)])
    across = Conv(bank, padding=1, border="circular")
    turned = QUARTER_TURNS[1](image)
    reference, offered = across(image), across(turned)
    bound = p09.bounds(reference[0], offered[0]).numpy()
    strength = reference[0].norm(dim=0).numpy()
    return figure(
        "P9. An upright edge answers in channel 0. After a quarter turn the edge answers in "
        "channel 1; no rearrangement of those feature vectors, however chosen, leaves less than "
        "this. (The plane is a torus here, so the step has a second edge.)",
        [
            [
                of_pixels(image, "image", 1),
                of_pixels(reference, "channel 0", 2),
                of_pixels(reference, "channel 1", 2, 1),
                Panel(values=strength, title="length of the feature vectors", limit=2, extent=None),
            ],
            [
                of_pixels(turned, "quarter turn", 1),
                of_pixels(offered, "channel 0", 2),
                of_pixels(offered, "channel 1", 2, 1),
                Panel(values=bound, title="residual left by any warp", limit=2, extent=None),
            ],
        ],
    )[0]


def relative_orientation() -> Figure:
    """P12: two images that pooled features do not tell apart.

    Returns:
        The picture.
    """
    bar = blank(5)
    bar[..., 2, :] = 1
    case = p12.PartsCase(DERIVATIVE, bar, bar, 1)
    network = p12.extractor(case.kernel)
    rows = []
    for image, name in zip(p12.scenes(case), ("parallel", "at right angles"), strict=True):
        maps = network(image)
        pooled = p12.pooled(maps, 4)
        values, counts = np.unique(p12.collection(pooled).numpy(), return_counts=True)
        found = ", ".join(f"{n} x {v:g}" for v, n in zip(values, counts, strict=True))
        rows.append([
            of_pixels(image, f"two bars, {name}", 1),
            of_pixels(maps, "channel 0: upright edges", 1, 0),
            of_pixels(maps, "channel 1: level edges", 1, 1),
            of_pixels(pooled, f"maximum over the orbit: {found}", 1),
        ])
    return figure(
        "P12. Pooled over the orbit, the two images have the same collection of features (right); "
        "the channels before pooling tell them apart.",
        rows,
    )[0]


def centred_or_not() -> Figure:
    """P14: where a strided layer samples odd and even grids.

    Returns:
        The picture.
    """
    kernel = symmetrised(torch.ones(1, 1, 3, 3, dtype=torch.float64), SYMMETRIES) / 8
    rows = []
    for side in (9, 10):
        image = letter(side)
        conv, turn = Conv(kernel, 2, 1), QUARTER_TURNS[1]
        kept = torch.zeros_like(image)
        kept[..., ::2, ::2] = 1
        gap = turn.inverse()(conv(turn(image))) - conv(image)
        rows.append([
            of_pixels(kept, f"{side} x {side}: positions kept", 1),
            of_pixels(turn(kept), "after a quarter turn", 1),
            of_pixels(conv(image), "features of an image", 4),
            of_pixels(gap, "what a quarter turn and back changes", 4),
        ])
    return figure(
        "P14. Stride 2 on 9 x 9 pixels keeps positions that a quarter turn maps onto each other; "
        "on 10 x 10 it does not, and the grid adds a residual of its own.",
        rows,
    )[0]


def blur_of_steps() -> Figure:
    """P16: resampling every result, and resampling the original once.

    Returns:
        The picture.
    """
    image = letter(p16.SIDE)
    panels = {"each": [], "once": []}  # type: dict[str, list[Panel]]
    stepped = image
    for n in range(1, 9):
        stepped = p16.resampled(stepped, 0.5, 0.5)
        if n in (1, 2, 4, 8):
            once = p16.resampled(image, 0.5 * n, 0.5 * n)
            panels["each"].append(of_pixels(stepped, f"{n} x half a pixel, each resampled", 1))
            panels["once"].append(of_pixels(once, f"{n} x half a pixel, composed", 1))
    return figure(
        "P16. Steps of half a pixel to the right and down. Resampling each result blurs more with "
        "every step; composing and resampling the original once does not.",
        [panels["each"], panels["once"]],
    )[0]
