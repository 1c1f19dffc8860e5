"""How training images are perturbed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import invariance_probe as ip
from invariance_probe.data import datasets
from invariance_probe.perturbations import kinds
from invariance_probe.perturbations.parsing import parse_perturbation

ALL = ("none", "rotation", "translation", "scaling")


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """Forty digits, bytes."""
    return datasets.open_dataset("mnist-5k", train=40).train.images


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


@settings(max_examples=25)
@given(degrees=st.floats(-90, 90, width=32))
def test_rotation_is_bilinear_interpolation(degrees: float) -> None:
    """Every pixel of a turned image is read bilinearly at the place it came from, 0 outside."""
    image = torch.rand(1, 1, 7, 7, generator=_seeded(1))
    values = image[0, 0].tolist()
    perturbation = kinds.RandomRotation()
    moved = perturbation.apply(image, torch.tensor([[degrees]]))
    back = torch.linalg.inv(ip.Rotation(degrees).matrix)
    for row in range(7):
        for column in range(7):
            x, y, _ = (back @ torch.tensor([column - 3.0, row - 3.0, 1.0]).double()).tolist()
            total = 0.0
            for i in range(7):
                for j in range(7):
                    weight = max(0, 1 - abs(x + 3 - j)) * max(0, 1 - abs(y + 3 - i))
                    total += weight * values[i][j]
            assert float(moved[0, 0, row, column]) == pytest.approx(total, abs=2e-5)


def test_every_image_of_a_batch_has_its_own_pose(digits: Tensor) -> None:
    """A batch is perturbed as its images are one by one."""
    for text in ALL:
        perturbation = parse_perturbation(text)
        poses = perturbation.draw(len(digits), _seeded(3))
        batch = perturbation.apply(digits, poses)
        for i in (0, 17, 39):
            alone = perturbation.apply(digits[i : i + 1], poses[i : i + 1])
            torch.testing.assert_close(batch[i : i + 1], alone, atol=1e-6, rtol=0)


@given(x=st.integers(-16, 16), y=st.integers(-16, 16))
def test_translation_moves_pixels(x: int, y: int) -> None:
    """The image lies on the canvas as it was, its pose away from the middle, and all of it."""
    image = torch.rand(1, 1, 28, 28, generator=_seeded(2))
    moved = parse_perturbation("translation").apply(image, torch.tensor([[float(x), float(y)]]))
    wanted = torch.zeros(1, 1, 60, 60)
    wanted[:, :, 16 + y : 44 + y, 16 + x : 44 + x] = image
    assert torch.equal(moved, wanted)


@pytest.mark.parametrize("target", [14, 18, 42, 112])
def test_scaling_is_an_antialiased_resize(digits: Tensor, target: int) -> None:
    """A scaled digit is what Pillow's bilinear resize makes of it, in the middle of the canvas."""
    images = torch.cat([torch.full_like(digits[:1], 255), digits])  # one is cut off at its edges
    pose = torch.full((len(images), 1), target / 28, dtype=torch.float64).log2()
    moved = parse_perturbation("scaling").apply(images, pose.float())
    side = min(112, 3 * target)  # what Pillow draws, or as much of it as the canvas holds
    ours, theirs = (112 - side) // 2, (3 * target - side) // 2
    for i in range(5):
        # Pillow drops what lies outside an image: black all round tells it what is there.
        framed = Image.fromarray(F.pad(images[i, 0], (28,) * 4).numpy())
        resized = np.array(framed.resize((3 * target,) * 2, Image.Resampling.BILINEAR))
        wanted = torch.from_numpy(resized)[theirs : theirs + side, theirs : theirs + side]
        middle = moved[i, 0, ours : ours + side, ours : ours + side] * 255
        assert float((middle - wanted).abs().max()) < 1.6  # bytes are rounded twice


def test_the_canvas_of_other_sizes_is_in_proportion() -> None:
    """28 gives 28, 60 and 112; other sides grow alike and stay even or odd."""
    found = {text: parse_perturbation(text).canvas(28) for text in ALL}
    assert found == {"none": 28, "rotation": 28, "translation": 60, "scaling": 112}
    for side in (27, 32, 64):
        for text in ALL:
            canvas = parse_perturbation(text).canvas(side)
            assert (canvas - side) % 2 == 0
            assert abs(canvas / side - found[text] / 28) < 0.05
    assert parse_perturbation("scaling=-1:0").canvas(28) == 28
    assert parse_perturbation("scaling=-2:-1").canvas(28) == 28


def test_poses_are_uniform_over_their_range() -> None:
    """Drawn poses fill their range evenly: every shift alike, angles and factors in ten bins."""
    count = 20_000
    angles = parse_perturbation("rotation").draw(count, _seeded())
    factors = parse_perturbation("scaling").draw(count, _seeded())
    shifts = parse_perturbation("translation").draw(count, _seeded())
    assert (angles.shape, factors.shape, shifts.shape) == ((count, 1), (count, 1), (count, 2))
    for values, low, high in ((angles, -90, 90), (factors, -1, 2)):
        bins = torch.histc(values, bins=10, min=low, max=high)
        assert int(bins.sum()) == count
        assert float((bins / count - 0.1).abs().max()) < 0.01
    for column in shifts.T:
        values, counts = column.unique(return_counts=True)
        assert torch.equal(values, torch.arange(-16.0, 17.0))
        assert float((counts / count - 1 / 33).abs().max()) < 0.006
    assert float(parse_perturbation("rotation=20").draw(count, _seeded()).abs().max()) <= 20
    assert float(parse_perturbation("translation").draw(count, _seeded(), 56).abs().max()) == 32
    assert parse_perturbation("none").draw(5, _seeded()).shape == (5, 0)


def test_the_pose_says_where_the_content_went() -> None:
    """The centre of a blob lands where `moves` sends it, for every perturbation."""
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    blob = torch.exp(-((columns - 17) ** 2 + (rows - 11) ** 2) / 8)[None, None]
    start = torch.tensor([17 - 13.5, 11 - 13.5, 1.0]).double()
    for text in ALL:
        perturbation = parse_perturbation(text)
        poses = perturbation.draw(20, _seeded(5))
        moved = perturbation.apply(blob.expand(20, -1, -1, -1), poses)[:, 0].double()
        axis = torch.arange(moved.shape[-1]).double() - (moved.shape[-1] - 1) / 2
        mass = moved.sum((1, 2))
        centre = torch.stack(
            [(moved.sum(1) * axis).sum(1) / mass, (moved.sum(2) * axis).sum(1) / mass], dim=1
        )
        wanted = (perturbation.moves(poses) @ start)[:, :2]
        torch.testing.assert_close(centre, wanted, atol=0.05, rtol=0)


def test_values_stay_in_range_and_images_as_they_were(digits: Tensor) -> None:
    """Bytes and floats give the same values in [0, 1], and neither is written to."""
    before = digits.clone()
    floats = digits.float() / 255
    copy = floats.clone()
    for text in ALL:
        perturbation = parse_perturbation(text)
        poses = perturbation.draw(len(digits), _seeded(6))
        choices = perturbation.draw_clutter(torch.arange(40), 40, 28, _seeded(7))
        layer = perturbation.clutter_layer(choices, digits) if perturbation.pieces else None
        from_bytes = perturbation.apply(digits, poses, clutter=layer)
        from_floats = perturbation.apply(floats, poses, clutter=layer)
        torch.testing.assert_close(from_bytes, from_floats)
        assert from_bytes.dtype == torch.float32
        assert 0 <= float(from_bytes.min()) <= float(from_bytes.max()) <= 1 + 1e-6
        assert torch.equal(digits, before)
        assert torch.equal(floats, copy)


@pytest.mark.parametrize("text", ["rotation", "translation", "scaling"])
def test_the_background_is_continued(text: str) -> None:
    """Around a white image lies white if the background is white, or is its border, black if 0."""
    white = torch.ones(6, 3, 16, 16)
    perturbation = parse_perturbation(text)
    poses = perturbation.draw(6, _seeded(8), 16)
    for background in (1.0, None):
        moved = perturbation.apply(white, poses, background=background)
        torch.testing.assert_close(moved, torch.ones_like(moved))
    assert float(perturbation.apply(white, poses).min()) == 0
    left_black = white.clone()
    left_black[..., :8] = 0
    poses = torch.zeros_like(poses)
    edges = perturbation.apply(left_black, poses, background=None)
    assert float(edges[..., :2].max()) == 0
    assert float(edges[..., -2:].min()) == 1


def _naive_clutter(perturbation: kinds.Perturbation, choices: Tensor, sources: Tensor) -> Tensor:
    side = perturbation.canvas(28)
    layer = torch.zeros(len(choices), 1, side, side)
    for sample, pieces in enumerate(choices.tolist()):
        for source, column, row, target, left, top in pieces:
            crop = sources[source : source + 1, :, row : row + 6, column : column + 6] / 255
            resized = F.interpolate(
                crop, (target, target), mode="bilinear", antialias=True, align_corners=False
            )
            layer[sample, :, top : top + target, left : left + target] += resized[0]
    return layer


@pytest.mark.parametrize("text", ["translation", "scaling"])
def test_clutter_is_crops_of_other_digits(digits: Tensor, text: str) -> None:
    """Clutter is six crops of other images, resized as chosen, wholly on the canvas, and added."""
    perturbation = parse_perturbation(text)
    samples = torch.arange(40)
    choices = perturbation.draw_clutter(samples, 40, 28, _seeded(9))
    assert choices.shape == (40, 6, 6)
    assert not bool((choices[:, :, 0] == samples[:, None]).any())
    sides = {6} if text == "translation" else set(range(2, 19, 2))
    assert set(choices[:, :, 3].flatten().tolist()) == sides
    assert int((choices[:, :, 4:] + choices[:, :, 3:4]).max()) <= perturbation.canvas(28)
    assert int(choices[:, :, 1:3].max()) == 22  # the last place of a crop of 6 in 28
    layer = perturbation.clutter_layer(choices, digits)
    wanted = _naive_clutter(perturbation, choices, digits.float())
    torch.testing.assert_close(layer, wanted, atol=1e-5, rtol=0)
    poses = perturbation.draw(40, _seeded(10))
    plain = perturbation.apply(digits, poses)
    cluttered = perturbation.apply(digits, poses, clutter=layer)
    torch.testing.assert_close(cluttered, (plain + layer).clamp(max=1))
    assert float(cluttered.mean()) > float(plain.mean())


def test_clutter_of_a_batch_comes_from_all_sources(digits: Tensor) -> None:
    """Crops for part of the images are cut from the whole set, never from the image itself."""
    samples = torch.tensor([39, 0, 7])
    choices = parse_perturbation("translation").draw_clutter(
        samples.repeat(300), 40, 28, _seeded(11)
    )
    assert set(choices[:, :, 0].flatten().tolist()) == set(range(40))
    assert not bool((choices[:, :, 0] == samples.repeat(300)[:, None]).any())


def test_clutter_needs_other_images_and_a_black_background(digits: Tensor) -> None:
    """One image alone, and a white background, are refused with the way out."""
    perturbation = parse_perturbation("translation")
    with pytest.raises(ip.InvalidInputError, match=r"\(1\); give at least 2.*translation=clean"):
        perturbation.draw_clutter(torch.tensor([0]), 1, 28, _seeded())
    layer = torch.zeros(1, 1, 60, 60)
    pose = torch.zeros(1, 2)
    for background, word in ((1.0, "is 1;"), (None, "is its border;")):
        with pytest.raises(ip.InvalidInputError, match=f"{word} use 'translation=clean'"):
            perturbation.apply(digits[:1], pose, clutter=layer, background=background)


def test_drawing_depends_on_its_generator_alone() -> None:
    """The same generator gives the same poses and clutter, and the global one is not touched."""
    perturbation = parse_perturbation("scaling")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = (
        perturbation.draw(20, _seeded(4)),
        perturbation.draw_clutter(torch.arange(20), 20, 28, _seeded(4)),
    )
    torch.manual_seed(2)
    again = (
        perturbation.draw(20, _seeded(4)),
        perturbation.draw_clutter(torch.arange(20), 20, 28, _seeded(4)),
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    torch.manual_seed(1)
    perturbation.draw(20, _seeded(4))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("text", "label", "units"),
    [
        ("none", "none", ()),
        ("rotation", "rotation ±90°", ("degrees",)),
        ("translation=clean", "translation ±16 px", ("pixels", "pixels")),
        ("scaling=-1:1,clean", "scaling 0.5 to 2", ("octaves",)),
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
    drawn = perturbation.draw(2000, _seeded(), side)
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
