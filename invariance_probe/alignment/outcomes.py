"""How a measurement of one pair of maps ended: one enumeration for all stages."""

from enum import Enum


class Outcome(Enum):
    """How a search, a certificate or a comparison ended; its value is the text in tables.

    `str` says what it means and what to do: ``step_limit: the warp may still improve; raise
    max_steps``.

    Attributes:
        cause: What happened.
        remedy: What to do about it; empty where there is nothing to do.

    Example:
        >>> import invariance_probe as ip
        >>> print(ip.Outcome.STEP_LIMIT)
        step_limit: the warp may still improve; raise max_steps
        >>> ip.Outcome("converged") is ip.Outcome.CONVERGED
        True
    """

    CONVERGED = "converged", "no further step improves the warp"
    STEP_LIMIT = "step_limit", "the warp may still improve", "raise max_steps"
    DISTORTION_LIMIT = (
        "distortion_limit",
        "the warp is at the limit, and a stronger distortion would fit better",
        "raise max_distortion if you would call that an alignment",
    )
    NON_FINITE = "non_finite", "the maps hold NaN or infinity", "look at the layer's activations"
    CONSTANT = (
        "constant",
        "the maps are constant, so there is nothing to align",
        "choose another layer or image",
    )
    EMPTY_REGION = (
        "empty_region",
        "no position is visible in both maps",
        "use a weaker transform, larger maps or a smaller margin",
    )
    PROVEN = "proven", "no warp of the family is better by more than the gap asked for"
    BOX_LIMIT = "box_limit", "the gap reached is proven", "raise max_boxes to narrow it"
    TIME_LIMIT = "time_limit", "the gap reached is proven", "raise time_limit_s to narrow it"
    OUTSTANDING_POSITIONS = (
        "outstanding_positions",
        "the map is so large that only the positions that stand out most count; the bound is valid "
        "but low",
        "choose a deeper layer for a tighter one",
    )
    BILINEAR_ONLY = (
        "bilinear_only",
        "the bound for any warp holds for bilinear reading alone",
        "search with mode='bilinear'",
    )
    ONE_IMAGE = (
        "one_image",
        "a single image has no other to be compared with or fitted on",
        "give two images or more",
    )
    NEAR_DUPLICATES = (
        "near_duplicates",
        "the images are near duplicates: none is unrelated to the others, and none can be held out",
        "give different images",
    )
    FEWER_POSITIONS_THAN_CHANNELS = (
        "fewer_positions_than_channels",
        "the mixing was fitted to fewer positions than there are channels",
        "give more images",
    )

    cause: str
    remedy: str

    def __new__(cls, text: str, cause: str = "", remedy: str = "") -> "Outcome":
        """Keep the words beside the text."""
        member = object.__new__(cls)
        member._value_ = text
        member.cause, member.remedy = cause, remedy
        return member

    def __str__(self) -> str:
        said = f"{self.value}: {self.cause}"
        return f"{said}; {self.remedy}" if self.remedy else said
