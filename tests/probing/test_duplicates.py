"""Near duplicates are found, kept from standing side by side, and held out together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.probing import crossfit, duplicates


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Six smooth random pictures, 64 pixels a side."""
    coarse = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


def grouped(images: Tensor) -> list[int]:
    """Groups of near duplicates."""
    return duplicates.near_duplicates(torch.stack(list(map(duplicates.pattern, images))))


def test_different_pictures_are_apart(pictures: Tensor) -> None:
    """Each picture is a group of its own."""
    assert grouped(pictures) == list(range(6))


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
    assert grouped(images) == [0, 1, 2, 3, 4, 5, 2, 7]


def test_constant_images_are_no_duplicates() -> None:
    """Images without a pattern are not said to share one, and nothing is divided by 0."""
    images = torch.stack([torch.zeros(1, 9, 9), torch.zeros(1, 9, 9), torch.full((1, 9, 9), 0.7)])
    assert grouped(images) == [0, 1, 2]


def test_groups_are_linked_by_any_pair(monkeypatch: pytest.MonkeyPatch, pictures: Tensor) -> None:
    """Two images that a third is near to are of one group, compared at once or one by one."""
    between = 0.5 * pictures[0] + 0.5 * pictures[1]
    images = torch.stack([pictures[0], pictures[1], between])
    correlation = float(duplicates.pattern(images[0]) @ duplicates.pattern(images[1]))
    near = float(duplicates.pattern(images[0]) @ duplicates.pattern(images[2]))
    assert correlation < near
    monkeypatch.setattr(duplicates, "ALIKE", (correlation + near) / 2)
    assert grouped(images) == [0, 0, 0]
    monkeypatch.setattr(duplicates, "_AT_ONCE", 1)
    assert grouped(images) == [0, 0, 0]


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


METHODS = ("oracle", "unrelated", "oracle+linear", "unrelated+permutation")


def _probe(images: Tensor, seed: int = 0) -> ip.ProbeResult:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU())
    return ip.probe(
        network, images, layers="(model)", transforms=[ip.Rotation(90)], methods=METHODS, seed=seed
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_probe_pairs_no_image_with_its_copy(pictures: Tensor, seed: int) -> None:
    """With two copies among eight images, chance is as high as without: none meets its copy."""
    images = torch.cat([pictures, 0.9 * pictures[:2]])
    found = _probe(images, seed)
    assert found.config["near_duplicates"] == [["0", "6"], ["1", "7"]]
    for image, partner in enumerate(found.config["partners"]):
        assert partner is not None
        assert {image, partner} not in ({0, 6}, {1, 7})
    table = found.frame()
    chance = table[(table["method"] == "unrelated") & (table["metric"] == "fvu")]
    assert len(chance) == 8
    # an image and its copy would leave what the oracle leaves of one image
    oracle = table[(table["method"] == "oracle") & (table["metric"] == "fvu")]["value"]
    assert chance["value"].min() > 0.7
    assert oracle.notna().all()


def test_copies_are_held_out_together(pictures: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving one image out at a time, no mixing is fitted on an image's copy."""
    monkeypatch.setattr(crossfit, "FOLDS", 6)
    seen: list[list[int]] = []
    dealt = duplicates.folds

    def watched(*arguments: object) -> list[int]:
        seen.append(dealt(*arguments))  # type: ignore[arg-type]  # passed on as they came
        return seen[-1]

    monkeypatch.setattr(duplicates, "folds", watched)
    _probe(torch.cat([pictures, pictures[:2]]))
    (fold,) = seen
    assert (fold[6], fold[7]) == (fold[0], fold[1])
    assert sorted(set(fold)) == list(range(6))


def test_images_that_have_only_copies_beside_them_have_no_chance(pictures: Tensor) -> None:
    """Where most images are copies of one, pairs of copies have no value, and a reason."""
    images = torch.cat([pictures[:2], pictures[:1], pictures[:1]])
    table = _probe(images).frame()
    chance = table[table["method"].isin(["unrelated", "unrelated+permutation"])]
    alone = chance["outcome"] == "near_duplicates"
    assert len(chance) == 4 * 2 * 3
    assert alone.any()
    assert not alone.all()
    assert chance["value"].isna().tolist() == alone.tolist()
    assert table.loc[table["method"] == "oracle+linear", "value"].notna().all()


def test_copies_of_one_image_leave_nothing_to_score_on(pictures: Tensor) -> None:
    """Three copies are as one image: no chance level and no mixing, with the reason."""
    table = _probe(pictures[:1].repeat(3, 1, 1, 1)).frame()
    others = table["method"] != "oracle"
    assert table.loc[others, "value"].isna().all()
    assert set(table.loc[others, "outcome"]) == {"near_duplicates"}
    assert table.loc[~others, "value"].notna().all()
