"""Pairs: which image is compared with which, over what region, about what mean."""

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.alignment.metrics import METRICS
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.network.features import Layer
from invariance_probe.plane import sampling
from invariance_probe.plane.transforms import Rotation, Scaling, Translation
from invariance_probe.probing import pairs as pairing
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.pairs import BestWarps, Pairs, Predecessors, View, compare
from invariance_probe.probing.passes import Chunk
from invariance_probe.results.methods import DEFAULT_METHODS, METHODS, Method
from tests.tolerances import ROUNDED

MOVES = [Rotation(90), Rotation(30), Scaling(0.8)]
SIDE, CHANNELS = 9, 3


def _layer(channels: int, height: int, width: int) -> Layer:
    """A layer whose cells are the pixels."""
    return Layer(
        name="a",
        module="a",
        type="Conv2d",
        call=1,
        path="",
        channels=channels,
        height=height,
        width=width,
        stride_y=1.0,
        stride_x=1.0,
        offset_y=0.0,
        offset_x=0.0,
    )


def _view(moves: list[object] = MOVES, margin: float = 1.0) -> View:
    layer = _layer(CHANNELS, SIDE, SIDE)
    return View(layer, moves, (SIDE, SIDE), margin, torch.device("cpu"))


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _chunk(numbers: list[int], transforms: int = len(MOVES)) -> Chunk:
    """Maps that depend on the image's number alone."""
    reference = torch.stack([_random(CHANNELS, SIDE, SIDE, seed=n) for n in numbers])
    moved = torch.stack([
        torch.stack([_random(CHANNELS, SIDE, SIDE, seed=100 * (t + 1) + n) for n in numbers])
        for t in range(transforms)
    ])
    return Chunk(numbers=numbers, reference={"a": reference}, moved={"a": moved}, shown={})


def _ready(view: View, images: int = 4) -> View:
    view.add_to_mean(_chunk(list(range(images))).reference["a"])
    return view


def test_channel_means_are_those_of_all_images_over_the_region() -> None:
    """However the images are dealt out, the mean is the plain one over each transform's region."""
    view = _view()
    maps = _chunk([0, 1, 2, 3]).reference["a"]
    view.add_to_mean(maps[:1])
    view.add_to_mean(maps[1:])
    for t in range(len(MOVES)):
        inside = maps[:, :, view.region[t]].double()
        torch.testing.assert_close(view.mean[t], inside.mean((0, 2)))


def test_pairs_are_ordered_by_transform_and_then_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair has its image's reference, moved map, oracle and region; groups cover all once."""
    view, chunk = _ready(_view()), _chunk([2, 0])
    assert len(list(view.pairs(chunk))) == 1
    monkeypatch.setattr(View, "groups", lambda *_: [[0, 2], [1]])
    seen = []
    for pairs in view.pairs(chunk):
        for transform, rows in pairs.rows():
            for place, number in enumerate(pairs.numbers):
                row = rows.start + place
                assert torch.equal(pairs.reference[row], chunk.reference["a"][place])
                assert torch.equal(pairs.moved[row], chunk.moved["a"][transform, place])
                assert torch.equal(pairs.oracle[row], view.oracle[transform])
                assert torch.equal(pairs.region[row], view.region[transform])
                seen.append((transform, number))
    assert seen == [(0, 2), (0, 0), (2, 2), (2, 0), (1, 2), (1, 0)]


def test_groups_keep_a_copy_of_the_maps_within_8_mib() -> None:
    """Maps of 2^18 single-precision numbers go in groups of eight, huge ones one by one."""
    view = _view([Rotation(degrees) for degrees in range(20)])
    maps = torch.empty(1).expand(1, 16, 128, 128)
    assert [len(group) for group in view.groups(maps)] == [8, 8, 4]
    assert list(chain.from_iterable(view.groups(maps))) == list(range(20))
    assert [len(g) for g in view.groups(torch.empty(1).expand(64, 64, 256, 256))] == [1] * 20


@pytest.mark.parametrize("dealt", [[[0, 1, 2, 3]], [[0], [1], [2], [3]], [[0, 1], [2, 3]]])
def test_each_image_is_paired_with_the_one_before_it(dealt: list[list[int]]) -> None:
    """Once for each transform, however the images are dealt out; the first follows on the last."""
    view, before = _ready(_view()), Predecessors()
    pairs = [one for some in dealt for one in before.pairs(view, _chunk(some))]
    pairs.extend(before.closing(view))
    met = {}
    for one in pairs:
        for transform, rows in one.rows():
            for place, number in enumerate(one.numbers):
                assert (transform, number) not in met
                met[transform, number] = one.moved[rows.start + place]
    assert len(met) == len(MOVES) * 4
    for (transform, number), moved in met.items():
        expected = _chunk([(number - 1) % 4]).moved["a"][transform, 0]
        assert torch.equal(moved, expected)


def test_pairs_of_some_images_are_those_among_all() -> None:
    """Keeping images 3 and 0 of four keeps their rows, in the order they had; of none, nothing."""
    view = _ready(_view())
    (pairs,) = view.pairs(_chunk([3, 1, 0, 2]))
    some = pairs.only({0, 3})
    assert some is not None
    assert some.numbers == [3, 0]
    rows = [row for row, (_, number) in enumerate(_named(pairs)) if number in {0, 3}]
    assert _named(some) == [_named(pairs)[row] for row in rows]
    for name in ("reference", "moved", "oracle", "region"):
        assert torch.equal(getattr(some, name), getattr(pairs, name)[rows])
    assert pairs.only({0, 1, 2, 3}) is pairs
    assert pairs.only({7}) is None


def test_best_warps_come_back_to_their_pairs() -> None:
    """What was kept for a pair is found again, however the second reading deals out the images."""
    view = _ready(_view())
    found = BestWarps([view], 4)
    (pairs,) = view.pairs(_chunk([3, 1, 0, 2]))
    theta = _random(len(pairs.oracle), 2, 3).to(pairs.oracle)
    found.keep(pairs, theta)
    assert torch.equal(found.of(pairs), theta)
    (some,) = view.pairs(_chunk([1, 2]))
    by_pair = {(t, n): row for row, (t, n) in enumerate(_named(pairs))}
    assert torch.equal(found.of(some), theta[[by_pair[key] for key in _named(some)]])


def _named(pairs: Pairs) -> list[tuple[int, int]]:
    return [(transform, number) for transform in pairs.group for number in pairs.numbers]


def test_references_sent_along_are_warped_by_the_forward_transform() -> None:
    """A quarter turn moves cells, exactly; what shrinks is blurred first."""
    view = _ready(_view())
    (pairs,) = view.pairs(_chunk([0, 1]))
    sharp, blurred = pairs.sent(antialias=False), pairs.sent(antialias=True)
    torch.testing.assert_close(sharp[:2], pairs.reference[:2].rot90(1, (2, 3)))
    assert torch.equal(sharp[:4], blurred[:4])  # rotations do not shrink
    inside = pairs.region[4]
    assert float(blurred[4][:, inside].var()) < float(sharp[4][:, inside].var())


def test_the_floor_is_as_many_times_the_spline_s_error_as_its_factor_says() -> None:
    """The residual grows by the factor of its transform; where nothing is left, nothing grows."""
    view = _ready(_view())
    (pairs,) = view.pairs(_chunk([0, 1]))
    plain = pairs.score_perfect("bilinear", antialias=True).fvu
    view.factor = torch.tensor([9.0, 4.0, 0.25], dtype=torch.float64)
    floor = pairs.score_perfect("bilinear", antialias=True).fvu
    assert (plain[:2] == 0).all()  # a quarter turn
    assert (plain[2:] > 0).all()
    expected = plain * torch.tensor([9, 9, 4, 4, 0.25, 0.25], dtype=torch.float64)
    torch.testing.assert_close(floor, expected, rtol=ROUNDED, atol=0.0)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_perfect_layer_is_scored_as_its_maps_are(mode: str) -> None:
    """Sums of the warped references tell what larger differences from these would score."""
    view = _ready(_view())
    (pairs,) = view.pairs(_chunk([0, 1]))
    view.factor = torch.tensor([9.0, 4.0, 0.25], dtype=torch.float64)
    got = pairs.score_perfect(mode, antialias=True)
    want = pairs.target.score(pairs.perfect(mode, antialias=True))
    for metric in METRICS:
        slack = ROUNDED if metric == "cosine" else 0.0  # elsewhere what is 0 is 0
        torch.testing.assert_close(
            getattr(got, metric), getattr(want, metric), rtol=ROUNDED, atol=slack
        )


def test_compared_methods_are_those_asked_for() -> None:
    """Methods of a pair alone give a block each; without a search the oracle is the best warp."""
    view = _ready(_view())
    (pairs,) = view.pairs(_chunk([0, 1]))
    blocks, theta, _ = compare(pairs, METHODS, ProbeOptions())
    alone = {Method.IDENTITY, Method.ORACLE, Method.AFFINE, Method.FLOW, Method.FLOOR}
    alone.add(Method.ANY_WARP)
    assert {block.method for block in blocks} == alone
    assert len(blocks) == len(alone)
    left = {block.method: block.values[:, 0] for block in blocks}
    assert (left[Method.AFFINE] <= left[Method.ORACLE]).all()
    assert (left[Method.ANY_WARP] <= left[Method.FLOW]).all()
    assert (left[Method.FLOW] <= left[Method.AFFINE]).all()
    warped = sampling.warp(pairs.moved, theta)
    torch.testing.assert_close(left[Method.AFFINE], pairs.target.score(warped).fvu)
    blocks, theta, _ = compare(pairs, [Method.ORACLE], ProbeOptions())
    assert [block.method for block in blocks] == [Method.ORACLE]
    assert torch.equal(theta, pairs.oracle)
    torch.testing.assert_close(blocks[0].values[:, 0], left[Method.ORACLE])


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    channels=st.integers(1, 4),
    height=st.integers(2, 14),
    width=st.integers(2, 14),
    degrees=st.floats(-180, 180),
    factor=st.floats(0.5, 2),
    related=st.floats(0, 1),
)
def test_any_warp_is_below_flow_and_flow_below_affine(
    seed: int,
    channels: int,
    height: int,
    width: int,
    degrees: float,
    factor: float,
    related: float,
) -> None:
    """Whatever the maps, any-warp <= flow <= affine <= oracle, by the scores of the table."""
    layer = _layer(channels, height, width)
    moves = [Rotation(degrees), Scaling(factor)]
    view = View(layer, moves, (height, width), 0.0, torch.device("cpu"))
    reference = _random(2, channels, height, width, seed=seed)
    noise = _random(2, 2, channels, height, width, seed=seed + 1)
    moved = torch.stack([
        related * move(reference.double()).float() + (1 - related) * part
        for move, part in zip(moves, noise, strict=True)
    ])
    view.add_to_mean(reference)
    pairs = Pairs(view, [0, 1], [0, 1], reference, moved)
    methods = [Method.ORACLE, Method.AFFINE, Method.FLOW, Method.ANY_WARP]
    blocks = {block.method: block for block in compare(pairs, methods, ProbeOptions())[0]}
    oracle, affine, flow, any_warp = (blocks[m].values[:, 0] for m in methods)
    seen = ~affine.isnan()
    assert torch.equal(seen, ~flow.isnan())
    assert (flow <= affine)[seen].all()
    assert (affine <= oracle)[seen].all()
    assert (any_warp <= flow + ROUNDED)[seen].all()
    assert torch.equal(blocks[Method.FLOW].theta, blocks[Method.AFFINE].theta)
    steps = zip(blocks[Method.FLOW].n_iter, blocks[Method.AFFINE].n_iter, strict=True)
    assert all(smooth >= straight for smooth, straight in steps)


def test_a_flow_alone_is_that_beside_the_affine_warp() -> None:
    """Whether or not the affine warp is asked for as well, the rows of the flow are the same."""
    (pairs,) = _ready(_view()).pairs(_chunk([0, 1]))
    ((alone,), theta, smooth) = compare(pairs, [Method.FLOW], ProbeOptions())
    blocks, _, _ = compare(pairs, [Method.FLOW, Method.AFFINE], ProbeOptions())
    assert [block.method for block in blocks] == [Method.AFFINE, Method.FLOW]
    assert torch.equal(alone.values, blocks[1].values)
    assert torch.equal(theta.flatten(1), blocks[0].theta)
    # where it was asked for, its maps are kept to be looked at
    shown = _random(1 + len(MOVES), 3, 12, 12)
    (kept,) = pairing.strips(pairs, theta, [1], shown, 0, smooth)
    assert len(kept.maps) == 5


def test_missing_values_say_why() -> None:
    """Nothing in sight, a constant map, bicubic reading, a method with nothing to say."""
    far = _ready(_view([Translation(40, 0), Rotation(90)]))
    chunk = _chunk([0, 1], transforms=2)
    chunk.reference["a"][1] = 3.0
    (pairs,) = far.pairs(chunk)
    for block in compare(pairs, DEFAULT_METHODS, ProbeOptions())[0]:
        assert block.outcome[:2] == [Outcome.EMPTY_REGION] * 2
        assert block.values[:2].isnan().all()
        assert block.outcome[3] is Outcome.CONSTANT
    bicubic = ProbeOptions(search=SearchOptions(mode="bicubic"))
    ((block,), _, _) = compare(pairs, [Method.ANY_WARP], bicubic)
    assert block.outcome == [Outcome.BILINEAR_ONLY] * 4
    undefined = pairs.undefined(Method.UNRELATED, Outcome.ONE_IMAGE)
    assert undefined.values.isnan().all()
    assert undefined.outcome == [Outcome.ONE_IMAGE] * 4


def test_pictures_show_an_image_under_the_transforms_asked_for() -> None:
    """The strongest channels in four stages, the region, and the pixels before and after."""
    view, shown = _ready(_view()), _random(1 + len(MOVES), 3, 12, 12)
    (pairs,) = view.pairs(_chunk([2, 0]))
    pairs.reference[1::2, 2] *= 5  # the third channel of image 0 stands out
    theta = pairs.oracle.clone()
    kept = {one.transform: one for one in pairing.strips(pairs, theta, [1, 2], shown)}
    assert set(kept) == {1, 2}
    one = kept[1]
    assert one.channels[0] == 2
    assert one.maps.shape == (4, len(one.channels), SIDE, SIDE)
    assert (one.maps[2] == one.maps[3]).all()
    assert (one.images == shown[[0, 2]].numpy()).all()
