"""Forward passes: the same images in the same order, whatever is kept; bad images are named."""

from collections.abc import Iterator
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.data.pictures import TensorImages
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.probing import passes
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import Chunk, ForwardPasses

MOVES = [Rotation(90), Scaling(0.5)]


class CountingImages:
    """Images made when asked for; remembers how often each was."""

    def __init__(self, count: int, sides: tuple[int, ...] = (18,)) -> None:
        self.names = [f"image {i}" for i in range(count)]
        self.sides = sides
        self.asked = [0] * count

    def __len__(self) -> int:
        """Count."""
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """Make one."""
        self.asked[index] += 1
        side = self.sides[index % len(self.sides)]
        return torch.rand(3, side, side, generator=torch.Generator().manual_seed(index))


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())


def _passes(images: object, *, keep: bool = False, **options: object) -> ForwardPasses:
    return ForwardPasses(_net(), images, ["*"], MOVES, ProbeOptions(**options), keep=keep)


def _maps(chunks: Iterator[Chunk]) -> dict[int, tuple[Tensor, Tensor]]:
    """Reference and moved maps of the last layer, by image."""
    return {
        number: (chunk.reference["1"][place], chunk.moved["1"][:, place])
        for chunk in chunks
        for place, number in enumerate(chunk.numbers)
    }


def test_maps_are_those_of_the_images_and_of_the_transformed_images() -> None:
    """Each image's maps are what the model gives for it, normalised after the transform."""
    images = CountingImages(3)
    net = _net()
    for number, (reference, moved) in _maps(_passes(images, mean=0.5, std=2.0).chunks()).items():
        image = images[number][None]
        with torch.no_grad():
            torch.testing.assert_close(reference, net((image - 0.5) / 2)[0])
            # what comes in at the border has the colour of the mean, 0 after normalisation
            turned = (image.rot90(1, (2, 3)) - 0.5) / 2
            torch.testing.assert_close(moved[0], net(turned)[0], atol=1e-5, rtol=1e-5)


def test_the_order_is_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same order, another seed another, and chunks follow it each time."""
    monkeypatch.setattr(passes, "PAIRS_AT_ONCE", 6)  # two images and their two transforms
    first, again, other = (_passes(CountingImages(7), seed=seed) for seed in (0, 0, 1))
    assert sorted(first.order) == list(range(7))
    assert first.order == again.order != other.order
    for _ in range(2):
        numbers = [chunk.numbers for chunk in first.chunks()]
        assert [len(some) for some in numbers] == [2, 2, 2, 1]
        assert list(chain.from_iterable(numbers)) == first.order
    assert list(chain.from_iterable(some for some, _ in first.originals())) == first.order


@pytest.mark.parametrize(("room", "loads"), [(2**30, 1), (0, 2)])
def test_maps_that_fit_are_kept_and_others_made_again(
    monkeypatch: pytest.MonkeyPatch, room: int, loads: int
) -> None:
    """A second reading gives the same maps; with room for them no image is loaded again."""
    monkeypatch.setattr(passes, "PAIRS_AT_ONCE", 6)
    monkeypatch.setattr(passes, "CACHE_BYTES", room)
    images = CountingImages(5)
    read = _passes(images, keep=True)
    assert len(read.order) == 5  # for which all are read, if no one did so before
    before = sum(images.asked)
    first, second = _maps(read.chunks()), _maps(read.chunks())
    assert sum(images.asked) - before == 5 * loads
    for number in range(5):
        for a, b in zip(first[number], second[number], strict=True):
            assert torch.equal(a, b)


def test_near_duplicates_are_seen_while_images_are_read_anyway() -> None:
    """After a reading of the originals, order and groups need no further one; before, one does."""
    images = CountingImages(9)
    read = _passes(images)
    asked = sum(images.asked)
    list(read.originals())
    order = read.order
    assert sum(images.asked) - asked == 9
    other = _passes(images)
    asked = sum(images.asked)
    assert other.order == order
    assert sum(images.asked) - asked == 9


def test_passes_stay_within_the_batch_size() -> None:
    """No forward pass sees more images than asked for, originals and transformed ones alike."""
    read = _passes(CountingImages(9), batch_size=4)
    sizes: list[int] = []
    read.model[0].register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    list(read.originals())
    list(read.chunks())
    assert max(sizes) == 4


def test_image_0_is_shown_as_it_is_and_under_each_transform() -> None:
    """The pixels of image 0 come with the chunk that holds it, before normalisation."""
    images = CountingImages(3)
    shown = [chunk.shown for chunk in _passes(images, mean=0.5, std=2.0).chunks()]
    (views,) = [view for view in shown if view is not None]
    assert views.shape == (1 + len(MOVES), 3, 18, 18)
    torch.testing.assert_close(views[0], images[0])


class Poisoned(nn.Module):
    """Gives NaN for bright images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Take a root that bright images make negative."""
        return self.conv(x) + torch.sqrt(0.9 - x[:, :1, 1:-1, 1:-1])


def test_nan_activations_name_layer_and_image() -> None:
    """NaN in a map stops the reading with the names of layer and image."""
    images = 0.8 * torch.rand(3, 3, 12, 12)
    images[1] += 0.5
    read = ForwardPasses(
        Poisoned(), TensorImages(images), ["(model)"], MOVES, ProbeOptions(), keep=False
    )
    with pytest.raises(InvalidInputError, match=r"layer '\(model\)': image '1' gives NaN"):
        list(read.originals())


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (CountingImages(2, (18, 20)), {}, r"image 'image 1' is \(20, 20\) pixels, the first one"),
        (CountingImages(2), {"crop": 64}, "is too small for a crop of 64 x 64; give larger images"),
        (CountingImages(2), {"std": (1.0, 2.0)}, r"std=\[1.0, 2.0\]: give one value, or one for"),
        (TensorImages(torch.rand(1, 1, 18, 18)), {}, r"refuses an image of shape \(1, 18, 18\)"),
    ],
)
def test_images_options_and_model_must_fit_together(
    images: object, options: dict[str, object], message: str
) -> None:
    """What does not fit is named, in one line."""
    with pytest.raises(InvalidInputError, match=message):
        list(_passes(images, **options).originals())


class HalfInside(nn.Module):
    """A network that computes in half precision whatever it is given, as under autocast."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.dtype = nn.Conv2d(3, 2, 3), dtype

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.dtype):
            maps: Tensor = self.body(images)
            return maps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_maps_of_half_precision_are_widened(dtype: torch.dtype) -> None:
    """What a model computes in half precision inside is compared in the dtype asked for."""
    net = HalfInside(dtype)
    run = ForwardPasses(net, CountingImages(2), ["*"], MOVES, ProbeOptions(), keep=False)
    (chunk,) = run.chunks()
    given = run.inputs(chunk.numbers)[0]
    assert net(given).dtype is dtype
    assert chunk.reference["body"].dtype is torch.float32
    # two roundings apart, where another batch size takes other kernels
    close = {"rtol": 2 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).eps}
    torch.testing.assert_close(chunk.reference["body"], net(given).float(), **close)


@pytest.mark.parametrize(
    "move", [ip.Scaling(0.001), ip.Shear(1000), ip.Affine([[1, 0], [0, 0.01]])]
)
def test_content_that_shrinks_to_nothing_is_refused(move: ip.Transform) -> None:
    """What the maps would be blurred by takes gigabytes, and nothing would be left to compare."""
    with pytest.raises(
        InvalidInputError, match="shrinks images of 24 x 24 pixels to less than two"
    ):
        ip.probe(_net(), torch.rand(1, 3, 24, 24), layers="0", transforms=[move])
