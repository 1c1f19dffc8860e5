"""Near duplicates are found, kept from standing side by side, and held out together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from invariance_probe.data.pictures import TensorImages
from invariance_probe.probing import duplicates


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Six smooth random pictures, 64 pixels a side."""
    coarse = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


def test_different_pictures_are_apart(pictures: Tensor) -> None:
    """Each picture is a group of its own."""
    assert duplicates.near_duplicates(TensorImages(pictures)) == list(range(6))


@pytest.mark.parametrize(
    "changed",
    [
        lambda picture: picture,
        lambda picture: 0.8 * picture + 0.1,
        lambda picture: (picture * 8).round() / 8,
        lambda picture: (
            picture + 0.02 * torch.randn(64, generator=torch.Generator().manual_seed(1))
        ),
        lambda picture: nn.functional.avg_pool2d(picture[None], 3, 1, 1, count_include_pad=False)[
            0
        ],
    ],
    ids=["copy", "brightened", "coarse values", "stripes", "blur"],
)
def test_copies_are_found_whatever_was_done_to_them(pictures: Tensor, changed: object) -> None:
    """A copy, brightened, quantised, striped or blurred, is of its original's group."""
    copy = changed(pictures[2])  # type: ignore[operator]  # any change of a picture
    images = torch.cat([pictures, copy[None], pictures[:1].flip(3)])
    assert duplicates.near_duplicates(TensorImages(images)) == [0, 1, 2, 3, 4, 5, 2, 7]


def test_constant_images_are_no_duplicates() -> None:
    """Images without a pattern are not said to share one, and nothing is divided by 0."""
    images = torch.stack([torch.zeros(1, 9, 9), torch.zeros(1, 9, 9), torch.full((1, 9, 9), 0.7)])
    assert duplicates.near_duplicates(TensorImages(images)) == [0, 1, 2]


def test_groups_are_linked_by_any_pair(monkeypatch: pytest.MonkeyPatch, pictures: Tensor) -> None:
    """Two images that a third is near to are of one group, compared at once or one by one."""
    between = 0.5 * pictures[0] + 0.5 * pictures[1]
    images = torch.stack([pictures[0], pictures[1], between])
    correlation = float(duplicates._pattern(images[0]) @ duplicates._pattern(images[1]))
    near = float(duplicates._pattern(images[0]) @ duplicates._pattern(images[2]))
    assert correlation < near
    monkeypatch.setattr(duplicates, "ALIKE", (correlation + near) / 2)
    assert duplicates.near_duplicates(TensorImages(images)) == [0, 0, 0]
    monkeypatch.setattr(duplicates, "_AT_ONCE", 1)
    assert duplicates.near_duplicates(TensorImages(images)) == [0, 0, 0]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=14), st.randoms())
def test_no_image_follows_on_its_duplicate_where_it_can_be_helped(
    group: list[int], random: object
) -> None:
    """In a circle neighbours are of two groups, unless one group holds more than half of all."""
    order = list(range(len(group)))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis' Random
    found = duplicates.apart(order, group)
    assert sorted(found) == list(range(len(group)))
    together = sum(
        group[a] == group[b] for a, b in zip(found, [found[-1], *found[:-1]], strict=True)
    )
    if max(map(group.count, group)) <= len(group) / 2:
        assert together == 0
    if len(set(group)) == len(group):
        assert found == order


@given(st.lists(st.integers(0, 8), min_size=2, max_size=20), st.integers(2, 5))
def test_duplicates_are_held_out_together(group: list[int], count: int) -> None:
    """A group lies in one fold, no fold is empty, and distinct images take turns."""
    if len(set(group)) < count:
        return
    order = list(range(len(group)))[::-1]
    found = duplicates.folds(order, group, count)
    assert set(found) == set(range(count))
    assert all(
        len({f for f, g in zip(found, group, strict=True) if g == each}) == 1 for each in group
    )
    if len(set(group)) == len(group):
        assert [found[number] for number in order] == [k % count for k in range(len(order))]
