"""Rotations, translations and scalings move content as they say, over the range they say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import invariance_probe as ip
from invariance_probe.perturbations import kinds
from invariance_probe.perturbations.parsing import parse_perturbation
from tests.perturbations.drawn import ALL, seeded


def _on_canvas(images: Tensor, canvas: int) -> Tensor:
    margin = (canvas - images.shape[-1]) // 2
    return F.pad(images.float() / 255, (margin,) * 4)


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize(
    ("text", "pose", "transform"),
    [
        ("rotation", [30.0], ip.Rotation(30)),
        ("rotation", [-75.0], ip.Rotation(-75)),
        ("translation=clean", [11.0, -4.0], ip.Translation(11, -4)),
        ("scaling=clean", [-1.0], ip.Scaling(0.5)),
        ("scaling=clean", [0.7], ip.Scaling(2**0.7)),
        ("scaling=clean", [2.0], ip.Scaling(4)),
        ("shear", [0.5], ip.Shear(0.5)),
        ("rotation=on:40", [30.0], ip.Rotation(30)),
        ("translation=6,clean", [5.0, -4.0], ip.Translation(5, -4)),
    ],
)
def test_content_moves_as_the_engines_transforms_move_it(
    digits: Tensor, text: str, pose: list[float], transform: ip.Transform
) -> None:
    """A perturbed digit is what the transform of that name makes of it, and its inverse is not."""
    perturbation = parse_perturbation(text)
    canvas = perturbation.canvas(28)
    poses = torch.tensor([pose]).repeat(len(digits), 1)
    moved = perturbation.apply(digits, poses)
    assert moved.shape == (40, 1, canvas, canvas)
    wanted = transform(_on_canvas(digits, canvas))
    assert _correlation(moved, wanted) > 0.98
    assert _correlation(moved, transform.inverse()(_on_canvas(digits, canvas))) < 0.75
    torch.testing.assert_close(perturbation.moves(poses)[3], transform.matrix, atol=1e-6, rtol=0)


def test_the_canvas_of_other_sizes_is_in_proportion() -> None:
    """28 gives 28, 60 and 112; other sides grow alike and stay even or odd."""
    found = {text: parse_perturbation(text).canvas(28) for text in ALL}
    assert found == {"none": 28, "rotation": 28, "translation": 60, "scaling": 112}
    for side in (27, 32, 64):
        for text in ALL:
            canvas = parse_perturbation(text).canvas(side)
            assert (canvas - side) % 2 == 0
            assert abs(canvas / side - found[text] / 28) < 0.05
    assert parse_perturbation("translation=6").canvas(28) == 40
    for text in ("none=on:60", "rotation=30,on:60", "scaling=-1:1,clean,on:60", "shear=on:60"):
        assert parse_perturbation(text).canvas(28) == 60
        assert parse_perturbation(text).canvas(56) == 120
    assert parse_perturbation("scaling=on:60").canvas(28) == 112
    assert parse_perturbation("scaling=-1:0").canvas(28) == 28
    assert parse_perturbation("scaling=-2:-1").canvas(28) == 28


def test_poses_are_uniform_over_their_range() -> None:
    """Drawn poses fill their range evenly: every shift alike, angles and factors in ten bins."""
    count = 20_000
    angles = parse_perturbation("rotation").draw(count, seeded())
    factors = parse_perturbation("scaling").draw(count, seeded())
    shifts = parse_perturbation("translation").draw(count, seeded())
    assert (angles.shape, factors.shape, shifts.shape) == ((count, 1), (count, 1), (count, 2))
    for values, low, high in ((angles, -90, 90), (factors, -1, 2)):
        bins = torch.histc(values, bins=10, min=low, max=high)
        assert int(bins.sum()) == count
        assert float((bins / count - 0.1).abs().max()) < 0.01
    for column in shifts.T:
        values, counts = column.unique(return_counts=True)
        assert torch.equal(values, torch.arange(-16.0, 17.0))
        assert float((counts / count - 1 / 33).abs().max()) < 0.006
    assert float(parse_perturbation("rotation=20").draw(count, seeded()).abs().max()) <= 20
    assert float(parse_perturbation("translation").draw(count, seeded(), 56).abs().max()) == 32
    assert parse_perturbation("none").draw(5, seeded()).shape == (5, 0)


def test_the_pose_says_where_the_content_went() -> None:
    """The centre of a blob lands where `moves` sends it, for every perturbation."""
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    blob = torch.exp(-((columns - 17) ** 2 + (rows - 11) ** 2) / 8)[None, None]
    start = torch.tensor([17 - 13.5, 11 - 13.5, 1.0]).double()
    for text in (*ALL, "shear", "shear=on:40", "rotation=on:41"):
        perturbation = parse_perturbation(text)
        poses = perturbation.draw(20, seeded(5))
        moved = perturbation.apply(blob.expand(20, -1, -1, -1), poses)[:, 0].double()
        axis = torch.arange(moved.shape[-1]).double() - (moved.shape[-1] - 1) / 2
        mass = moved.sum((1, 2))
        centre = torch.stack(
            [(moved.sum(1) * axis).sum(1) / mass, (moved.sum(2) * axis).sum(1) / mass], dim=1
        )
        wanted = (perturbation.moves(poses) @ start)[:, :2]
        torch.testing.assert_close(centre, wanted, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("text", "label", "units"),
    [
        ("none", "none", ()),
        ("rotation", "rotation ±90°", ("degrees",)),
        ("translation=clean", "translation ±16 px", ("pixels", "pixels")),
        ("scaling=-1:1,clean", "scaling 0.5 to 2", ("octaves",)),
        ("scaling=0:0.5,clean", "scaling 1 to 1.41", ("octaves",)),
        ("shear=0.3,on:40", "shear ±0.3", ("pixels a pixel",)),
    ],
)
def test_figures_are_told_range_and_units(text: str, label: str, units: tuple[str, ...]) -> None:
    """Texts that were stored stay as they are; the label has the range in words."""
    perturbation = parse_perturbation(text)
    assert str(perturbation) == text
    assert perturbation.label == label
    assert perturbation.pose_units == units
    assert len(units) == len(perturbation.pose_names)


@pytest.mark.parametrize("text", ["rotation=30", "rotation", "translation", "scaling=-2:1"])
@pytest.mark.parametrize("side", [9, 28, 64])
def test_a_sweep_is_evenly_spread_over_the_range(text: str, side: int) -> None:
    """Motions are different, lie within the range, and their mean is its middle."""
    perturbation = parse_perturbation(text)
    moves = perturbation.sweep(6, side)
    assert len({move.matrix.numpy().tobytes() for move in moves}) == 6
    drawn = perturbation.draw(2000, seeded(), side)
    if isinstance(perturbation, kinds.RandomTranslation):
        values = torch.tensor([move.matrix[:2, 2].tolist() for move in moves])
        assert bool((values.abs() <= drawn.abs().max()).all())
        assert values[:, 0].sum() == 0
        assert (values[:, 0] == values[:, 1]).tolist() == [True, False] * 3
        return
    numbers = torch.tensor([
        move.degrees if isinstance(move, ip.Rotation) else np.log2(move.factor) for move in moves
    ])
    torch.testing.assert_close(numbers.diff(), numbers.diff()[:1].expand(5))
    low, high = float(drawn.min()), float(drawn.max())
    assert float(numbers.mean()) == pytest.approx((low + high) / 2, abs=0.01 * (high - low))
    assert float(numbers[0]) == pytest.approx(low + (high - low) / 12, abs=0.01 * (high - low))


@pytest.mark.parametrize(
    ("text", "extreme"),
    [
        ("none", ip.Rotation(0)),
        ("rotation", ip.Rotation(45)),  # of all turns the one that reaches farthest
        ("translation=clean", ip.Translation(16, -16)),
        ("scaling=-1:1,clean", ip.Scaling(0.5)),
        ("shear=on:40", ip.Shear(0.6)),
        ("rotation=on:40", ip.Rotation(45)),
    ],
)
def test_a_source_is_large_enough_for_every_motion(text: str, extreme: ip.Transform) -> None:
    """The canvas shows nothing but source, however far the content moves, on whole pixels."""
    perturbation = parse_perturbation(text)
    canvas = perturbation.canvas(28)
    source = perturbation.source_side(28)
    assert (source - canvas) % 2 == 0
    shown = extreme(torch.ones(1, 1, source, source), crop=canvas, fill=0.0)
    torch.testing.assert_close(shown, torch.ones_like(shown), atol=2e-3, rtol=0)
    if text != "none":
        shown = extreme(torch.ones(1, 1, source - 6, source - 6), crop=canvas, fill=0.0)
        assert float(shown.min()) < 0.5
