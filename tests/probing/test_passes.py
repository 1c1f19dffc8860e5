"""Forward passes: the same images in the same order, whatever is kept; bad images are named."""

import time
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
from tests.threads import on_threads

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


@pytest.mark.parametrize(("room", "loads"), [(2**30, 1), (0, 4)])
def test_maps_that_fit_are_kept_and_others_made_again(
    monkeypatch: pytest.MonkeyPatch, room: int, loads: int
) -> None:
    """A second reading gives the same maps; with room for them no image is loaded again.

    Without, each reading loads images twice, the second time for their batch as it first passed.
    """
    monkeypatch.setattr(passes, "PAIRS_AT_ONCE", 6)
    monkeypatch.setattr(passes, "CACHE_BYTES", room)
    images = CountingImages(5)
    read = _passes(images, keep=True)
    list(read.originals())
    assert len(read.order) == 5
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


def _seen(forward_passes: ForwardPasses) -> list[Tensor]:
    """What the model is given from now on, image by image."""
    given: list[Tensor] = []
    forward_passes.model.register_forward_pre_hook(lambda _, batch: given.extend(batch[0]))
    return given


def test_what_is_the_same_passes_once() -> None:
    """Images as they are pass once in both readings, and not again where a transform stays."""
    moves = [Rotation(0), Rotation(90), Scaling(1), Scaling(0.5)]
    twice = ForwardPasses(_net(), CountingImages(5), ["*"], moves, ProbeOptions(), keep=False)
    wanted = _maps(twice.chunks())  # nothing was read before
    once = ForwardPasses(_net(), CountingImages(5), ["*"], moves, ProbeOptions(), keep=False)
    given = _seen(once)
    assert len(list(once.originals())) == 1
    assert len(given) == 5
    got = _maps(once.chunks())
    assert len(given) == 5 + 2 * 5
    assert len({image.contiguous().numpy().tobytes() for image in given}) == len(given)
    for number, (reference, moved) in wanted.items():
        # batches of another size may add in another order
        torch.testing.assert_close(got[number][0], reference, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(got[number][1], moved, atol=1e-6, rtol=1e-6)
        assert torch.equal(got[number][1][0], got[number][0])
        assert torch.equal(got[number][1][2], got[number][0])
    assert once._originals == {}
    assert once._room == passes.CACHE_BYTES


def test_transforms_that_all_stay_need_no_further_pass() -> None:
    """Where no transform changes an image, the first reading was enough."""
    some = ForwardPasses(
        _net(), CountingImages(3), ["*"], [Rotation(0)], ProbeOptions(), keep=False
    )
    first = {number: maps["1"][i] for n, maps in some.originals() for i, number in enumerate(n)}
    given = _seen(some)
    for number, (reference, moved) in _maps(some.chunks()).items():
        assert torch.equal(reference, first[number])
        assert torch.equal(moved[0], reference)
    assert given == []


def test_originals_without_room_pass_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache does not hold is made again, and the maps are the same."""
    roomy = _passes(CountingImages(4))
    list(roomy.originals())
    wanted = _maps(roomy.chunks())
    monkeypatch.setattr(passes, "CACHE_BYTES", 0)
    tight = _passes(CountingImages(4))
    list(tight.originals())
    given = _seen(tight)
    got = _maps(tight.chunks())
    assert len(given) == 4 * 3
    for number, (reference, moved) in wanted.items():
        torch.testing.assert_close(got[number][0], reference, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(got[number][1], moved, atol=1e-6, rtol=1e-6)


class _InOrder(nn.Module):
    """A network that reads its images as they lie in memory: by a view, or against all rules."""

    def __init__(self, *, wrongly: bool) -> None:
        super().__init__()
        self.inner, self.wrongly = _net(), wrongly

    def forward(self, images: Tensor) -> Tensor:
        """Take the images apart and put them together."""
        if self.wrongly:
            images = images.as_strided(images.shape, torch.empty(images.shape).stride())
        out: Tensor = self.inner(images.view(len(images), -1).view(images.shape))
        return out


@pytest.mark.parametrize("wrongly", [False, True])
def test_images_lie_channels_last_where_the_model_takes_them_so(wrongly: bool) -> None:
    """Images are channels last; the usual order where the model fails so, or its maps change."""
    quick = _passes(CountingImages(3))
    given = _seen(quick)
    chunks = list(quick.chunks())
    wanted = _maps(iter(chunks))
    assert all(image.stride()[0] == 1 for image in given)
    # what compares maps is written for the usual order
    assert all(chunk.moved["1"].is_contiguous() for chunk in chunks)
    assert all(chunk.reference["1"].is_contiguous() for chunk in chunks)
    model = _InOrder(wrongly=wrongly)
    model.inner.load_state_dict(quick.model.state_dict())
    careful = ForwardPasses(
        model, CountingImages(3), ["inner.*"], MOVES, ProbeOptions(), keep=False
    )
    given = _seen(careful)
    chunks = list(careful.chunks())
    assert all(image.is_contiguous() for image in given)
    for chunk in chunks:
        for place, number in enumerate(chunk.numbers):
            got = chunk.moved["inner.1"][:, place]
            torch.testing.assert_close(got, wanted[number][1], atol=1e-6, rtol=1e-6)


def test_passes_stay_within_the_batch_size() -> None:
    """No forward pass sees more images than asked for, originals and transformed ones alike."""
    read = _passes(CountingImages(9), batch_size=4)
    sizes: list[int] = []
    read.model[0].register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    list(read.originals())
    list(read.chunks())
    assert max(sizes) == 4


class Remembering(nn.Module):
    """Keeps what it is given among its attributes, rests, and goes on with what it finds there."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        """What was kept, convolved."""
        self.kept = images
        time.sleep(0.02)
        return self.convolution(self.kept)


def test_passes_beside_each_other_do_not_meet() -> None:
    """Each thread has modules of its own: nothing that one leaves in them reaches another."""
    torch.manual_seed(0)
    model, found = Remembering(), []
    options = ProbeOptions(batch_size=2)
    for count in (1, 3):
        with on_threads(count), torch.no_grad():
            read = ForwardPasses(model.eval(), CountingImages(7), ["*"], MOVES, options, keep=False)
            found.append(list(read.chunks()))
    for one, other in zip(*found, strict=True):
        assert one.numbers == other.numbers
        torch.testing.assert_close(one.moved["convolution"], other.moved["convolution"])


def test_passes_are_shared_out_evenly() -> None:
    """As many for each thread, of as many images, none of more than the batch size."""
    sizes: list[int] = []
    with on_threads(2):
        read = _passes(CountingImages(9), batch_size=4)
        read.model[0].register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
        read.shifted(list(range(9)), [Rotation(10)] * 9)
    assert sorted(sizes) == [2, 2, 2, 3]


def test_images_are_shown_as_they_are_and_under_each_transform() -> None:
    """The pixels of the first images come with the chunks that hold them, before normalisation."""
    images = CountingImages(3)
    shown: dict[int, torch.Tensor] = {}
    for chunk in _passes(images, mean=0.5, std=2.0, shown=2).chunks():
        shown |= chunk.shown
    assert set(shown) == {0, 1}
    for number, views in shown.items():
        assert views.shape == (1 + len(MOVES), 3, 18, 18)
        torch.testing.assert_close(views[0], images[number])


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
    ("values", "bad"),
    [
        ([1.0, 2.0], None),
        ([3e38, 3e38], None),  # their sum alone is infinite
        ([torch.inf, -torch.inf], "image 1"),
        ([torch.nan, 0.0], "image 1"),
        ([3e38, torch.nan], "image 1"),
    ],
)
def test_only_values_that_are_not_finite_are_refused(values: list[float], bad: str | None) -> None:
    """NaN and infinities of any sign are named, values whose sum overflows are not."""
    read = _passes(CountingImages(2))
    maps = torch.ones(4, 1, 1, 2)
    maps[3] = torch.tensor(values)
    if bad is None:
        read.refuse_non_finite({"1": maps}, [0, 1])
    else:
        with pytest.raises(InvalidInputError, match=f"layer '1': image '{bad}' gives NaN"):
            read.refuse_non_finite({"1": maps}, [0, 1])


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
