"""What is compared with a reference map: the values of the table's column ``method``."""

from collections.abc import Iterable
from enum import StrEnum

from invariance_probe.alignment.mixing import Kind
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import as_list


class Warp(StrEnum):
    """What is done to the positions of the moved map G before it is compared with F.

    Attributes:
        colour: One for each warp in every figure: Okabe and Ito's palette and, as its yellow fades
            on white, Tol's wine, safe for colour-blind readers.
        label: In legends.
    """

    IDENTITY = "identity", "#767676", "no warp"
    INPUT = "input", "#D55E00", "warp of the input"
    ORACLE = "oracle", "#E69F00", "oracle warp"
    AFFINE = "affine", "#0072B2", "best affine warp"
    FLOW = "flow", "#882255", "best smooth warp"
    JOINT = "joint", "#56B4E9", "warp and mixing in turns"
    ANY_WARP = "any-warp", "#000000", "any warp (certified bound)"
    FLOOR = "floor", "#009E73", "perfect layer (floor)"
    UNRELATED = "unrelated", "#CC79A7", "unrelated images (chance)"

    colour: str
    label: str

    def __new__(cls, text: str, colour: str = "", label: str = "") -> "Warp":
        """Keep colour and label beside the text."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.colour, member.label = colour, label
        return member


_MIXED: dict[Kind | None, tuple[str | tuple[int, tuple[int, int]], str]] = {
    None: ("-", ""),
    Kind.GAIN: ((0, (1, 3)), ", channels damped"),
    Kind.PERMUTATION: ("--", ", channels permuted"),
    Kind.ORTHOGONAL: ("-.", ", channels turned"),
    Kind.LINEAR: (":", ", channels mixed"),
}
"""Line style of each kind of mixing, and what it adds to a warp's label."""


class Method(StrEnum):
    """A warp, and the mixing of channels after it; equal to its text in tables.

    F is the reference map, G the map of the transformed image. ``identity``: G as it is.
    ``input``: the map of the transformed image when that was warped back before the model saw it,
    as a perfect transformer of the input does (P2); it costs another pass for each transform.
    ``oracle``: G warped by the inverse of the input transform. ``affine``: G under the best affine
    warp found. ``flow``: G under the best smooth warp found, a spline on top of the affine one that
    folds nowhere and distorts no more than that may; it costs up to four times that search.
    ``any-warp``: no warp, but a certified lower bound of what any spatial warp with bilinear
    sampling leaves, image-dependent or not. ``floor``: what the oracle warp would leave of a layer
    whose features move with the image exactly, read at this layer's cells: the cost of
    interpolation, strides and sizes (`probing.floor`). ``unrelated``: the oracle-warped map of
    another image. ``WARP+KIND``: channels mixed after the warp, by a mixing of
    `alignment.mixing.Kind` fitted on other images; ``joint``: warp and mixing found in turns.
    ``WARP+gain`` mixes nothing: it draws each channel towards its mean, also without a warp.
    ``affine+KIND`` takes the warp that was best without a mixing, which can be the wrong one: it
    may leave more than ``oracle+KIND``.

    Attributes:
        warp: The warp.
        mixing: The mixing after it; None if channels stay as they are.

    Example:
        >>> import invariance_probe as ip
        >>> len(ip.METHODS), ip.METHODS[3] == "oracle", ip.METHODS[3].label
        (24, True, 'oracle warp')
    """

    IDENTITY = "identity"
    IDENTITY_GAIN = "identity+gain"
    INPUT = "input"
    ORACLE = "oracle"
    ORACLE_GAIN = "oracle+gain"
    ORACLE_PERMUTATION = "oracle+permutation"
    ORACLE_ORTHOGONAL = "oracle+orthogonal"
    ORACLE_LINEAR = "oracle+linear"
    AFFINE = "affine"
    AFFINE_GAIN = "affine+gain"
    AFFINE_PERMUTATION = "affine+permutation"
    AFFINE_ORTHOGONAL = "affine+orthogonal"
    AFFINE_LINEAR = "affine+linear"
    FLOW = "flow"
    JOINT_PERMUTATION = "joint+permutation"
    JOINT_ORTHOGONAL = "joint+orthogonal"
    JOINT_LINEAR = "joint+linear"
    ANY_WARP = "any-warp"
    FLOOR = "floor"
    UNRELATED = "unrelated"
    UNRELATED_GAIN = "unrelated+gain"
    UNRELATED_PERMUTATION = "unrelated+permutation"
    UNRELATED_ORTHOGONAL = "unrelated+orthogonal"
    UNRELATED_LINEAR = "unrelated+linear"

    warp: Warp
    mixing: Kind | None

    def __new__(cls, text: str) -> "Method":
        """Take the text apart, once."""
        member = str.__new__(cls, text)
        member._value_ = text
        moved, _, mixed = text.partition("+")
        member.warp, member.mixing = Warp(moved), Kind(mixed) if mixed else None
        return member

    def __repr__(self) -> str:
        # tuples of methods print as the tuples of texts that users write
        return repr(self.value)

    @property
    def needs_search(self) -> bool:
        """Whether the best affine warp of each pair has to be found."""
        return self.warp in {Warp.AFFINE, Warp.FLOW, Warp.JOINT}

    @property
    def needs_another_image(self) -> bool:
        """Whether one image is too few: mixings are fitted on others, chance is another's map."""
        return self.mixing is not None or self.warp is Warp.UNRELATED

    @property
    def colour(self) -> str:
        """That of the warp."""
        return self.warp.colour

    @property
    def line(self) -> str | tuple[int, tuple[int, int]]:
        """Matplotlib's style of its curve, one for each kind of mixing."""
        return _MIXED[self.mixing][0]

    @property
    def label(self) -> str:
        """What legends call it."""
        return self.warp.label + _MIXED[self.mixing][1]


METHODS = tuple(Method)
"""All of them, in the order of tables."""

DEFAULT_METHODS = (
    Method.IDENTITY,
    Method.ORACLE,
    Method.AFFINE,
    Method.FLOOR,
    Method.UNRELATED,
)
"""What a probe measures unless told otherwise."""

RECOVERY_METHODS = (
    Method.IDENTITY,
    Method.INPUT,
    Method.ORACLE,
    Method.AFFINE,
    Method.FLOOR,
    Method.UNRELATED,
)
"""What `recover` puts back into a network unless told otherwise."""

EXPLAINING_METHODS = (
    Method.ORACLE,
    Method.ORACLE_PERMUTATION,
    Method.ORACLE_LINEAR,
    Method.AFFINE,
    Method.AFFINE_PERMUTATION,
    Method.AFFINE_LINEAR,
    Method.ANY_WARP,
    Method.FLOOR,
)
"""What the decomposition of a residual rests on."""

PARTITION_METHODS = (
    Method.IDENTITY_GAIN,
    Method.ORACLE_GAIN,
    Method.ORACLE_LINEAR,
    Method.FLOOR,
)
"""What the partition of a layer's variance rests on: into unchanged, recoverable and lost."""


def parse_methods(texts: str | Iterable[str]) -> tuple[Method, ...]:
    """Read methods as users write them.

    Args:
        texts: One text, or several; methods pass as they are.

    Returns:
        Each method once, in the order given.

    Raises:
        InvalidInputError: If there is none, or a text is none of `METHODS`.
    """
    given = [texts] if isinstance(texts, str) else as_list(texts)
    if not given or not all(isinstance(text, str) and text in METHODS for text in given):
        shown = texts if given is None else [str(text) for text in given]
        raise InvalidInputError(f"methods={shown}: choose from {', '.join(METHODS)}")
    return tuple(dict.fromkeys(map(Method, given)))
