"""What a network says of one image: upright, transformed, and with re-aligned maps put back."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

TOP = 3
"""Classes that are kept of each answer."""
UPRIGHT = ""
"""Stands for the method where the image is as it is."""


def rows(
    said: Float[Tensor, " class"], names: Sequence[str] | None, **about: object
) -> list[dict[str, object]]:
    """List the classes that an answer holds likeliest.

    Args:
        said: Logits.
        names: Of the classes; their numbers by default.
        **about: What the rows say beside that: ``image``, ``transform_number``, ``layer`` (empty
            where the whole network ran) and ``method`` (`UPRIGHT` for the image as it is).

    Returns:
        Rows of `about`, ``rank`` from 1 to `TOP`, ``class``, its number, ``name``, ``probability``.
    """
    likeliest = said.double().softmax(0).topk(min(TOP, len(said)))
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return [
        {
            **about,
            "rank": rank,
            "class": number,
            "name": names[number] if names else f"class {number}",
            "probability": probability,
        }
        for rank, (number, probability) in enumerate(pairs, 1)
    ]
