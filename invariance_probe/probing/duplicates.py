"""Images that are nearly the same: no chance level, and no images outside a fit.

A picture and its copy, re-encoded, brightened or moved by a pixel, are two images to a folder and
one to a measurement: compared as unrelated they lower chance, and a mixing fitted on one is scored
on the other as if it had not seen it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn.functional import interpolate

ALIKE = 0.97
"""Correlation of two images in grey, `SIDE` pixels a side, from which they are near duplicates.
Photographs stay above it when they are brightened, made grey, compressed to JPEG of quality 10,
blurred, or moved by a 300th of their side; two of them correlate by less than 0.3, and of 5 000
handwritten digits 7 % have another one so near."""
SIDE = 32
"""Side that images are shrunk to before they are compared."""
_AT_ONCE = 512


def pattern(image: Float[Tensor, "channel height width"]) -> Float[Tensor, " value"]:
    """See of an image what its near duplicates share.

    Args:
        image: An image.

    Returns:
        Its grey values in few pixels, their mean taken off, of length 1; 0 if it is constant.
    """
    grey = image.float().mean(0)[None, None]
    small = interpolate(grey, size=(SIDE, SIDE), mode="area").flatten()
    apart = small - small.mean()
    length = apart.norm()
    constant = length <= 1e-6 * small.norm()
    return torch.zeros_like(apart) if constant else apart / length


def near_duplicates(patterns: Float[Tensor, "image value"]) -> list[int]:
    """Group the images that are nearly the same.

    Args:
        patterns: What `pattern` sees of each.

    Returns:
        A number for each image, the same for images that are linked by near duplicates: the place
        of the first of them.
    """
    rows, columns = [], []
    for start in range(0, len(patterns), _AT_ONCE):
        alike = patterns[start : start + _AT_ONCE] @ patterns.T > ALIKE
        one, other = alike.nonzero(as_tuple=True)
        rows.append(one.numpy() + start)
        columns.append(other.numpy())
    pairs = (np.concatenate(rows), np.concatenate(columns))
    links = coo_array((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(len(patterns),) * 2)
    _, labels = connected_components(links, directed=False)
    first: dict[int, int] = {}
    return [first.setdefault(int(label), number) for number, label in enumerate(labels)]


def alike_in(group: Sequence[int]) -> list[list[int]]:
    """List the groups that hold more than one image.

    Args:
        group: What `near_duplicates` returned.

    Returns:
        The images' numbers, group by group.
    """
    members: dict[int, list[int]] = {}
    for number, each in enumerate(group):
        members.setdefault(each, []).append(number)
    return [each for each in members.values() if len(each) > 1]


def apart(order: Sequence[int], group: Sequence[int]) -> list[int]:
    """Rearrange images, so that none follows on one of its group, the first on the last included.

    Largest groups first, every other place is filled, then the places between. So a group that
    goes over the end begins again between images of larger groups: two of a group are neighbours
    only if it holds more than half of all images.

    Args:
        order: Numbers of the images.
        group: Group of each image, by its number.

    Returns:
        The order as it is if no two images are of one group; else one that keeps it within groups.
    """
    if len(set(group)) == len(order):
        return list(order)
    members: dict[int, list[int]] = {}
    for number in order:
        members.setdefault(group[number], []).append(number)
    largest_first = sorted(members.values(), key=len, reverse=True)
    places = [*range(0, len(order), 2), *range(1, len(order), 2)]
    out = [0] * len(order)
    for place, number in zip(places, (n for each in largest_first for n in each), strict=True):
        out[place] = number
    return out


def folds(order: Sequence[int], group: Sequence[int], count: int) -> list[int]:
    """Deal images out to folds, those of one group to the same.

    Args:
        order: Numbers of the images.
        group: Group of each image, by its number.
        count: Number of folds, at most that of the groups.

    Returns:
        Fold of each image, by its number; none is empty. Without groups the folds take turns.
    """
    held = [0] * count
    of_group: dict[int, int] = {}
    sizes = {one: group.count(one) for one in group} if len(set(group)) < len(group) else {}
    for number in order:
        if group[number] not in of_group:
            least = held.index(min(held))
            of_group[group[number]] = least
            held[least] += sizes.get(group[number], 1)
    return [of_group[each] for each in group]
