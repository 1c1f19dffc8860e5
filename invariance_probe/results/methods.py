"""What is compared with a reference map: the values of the table's column ``method``."""

from invariance_probe.alignment.mixing import KINDS

METHODS = (
    "identity",
    "oracle",
    *(f"oracle+{kind}" for kind in KINDS),
    "affine",
    *(f"affine+{kind}" for kind in KINDS),
    *(f"joint+{kind}" for kind in KINDS),
    "any-warp",
    "floor",
    "unrelated",
    *(f"unrelated+{kind}" for kind in KINDS),
)
"""What is compared with the reference map F, G being the map of the transformed image.

``identity``: G as it is. ``oracle``: G warped by the inverse of the input transform. ``affine``: G
under the best affine warp found. ``any-warp``: no warp, but a certified lower bound of what any
spatial warp with bilinear sampling leaves, image-dependent or not. ``floor``: F itself sent there
and back by the transform at the layer's resolution (blurred first if it shrinks). ``unrelated``:
the oracle-warped map of another image. ``WARP+KIND``: channels mixed after the warp, by a mixing of
`alignment.mixing.KINDS` fitted on other images; ``joint``: warp and mixing found in turns."""

DEFAULT_METHODS = ("identity", "oracle", "affine", "floor", "unrelated")
"""What a probe measures unless told otherwise."""

EXPLAINING_METHODS = (
    "oracle",
    "oracle+permutation",
    "oracle+linear",
    "affine",
    "affine+permutation",
    "affine+linear",
    "any-warp",
    "floor",
)
"""What the decomposition of a residual rests on."""


def warp_and_kind(method: str) -> tuple[str, str]:
    """Split a method's name.

    Args:
        method: One of `METHODS`.

    Returns:
        The warp, and the kind of mixing after it or an empty string.
    """
    warp, _, kind = method.partition("+")
    return warp, kind
