"""Images in every form that people have them in, read alike, or refused with a way out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler

import invariance_probe as ip
from invariance_probe import files
from invariance_probe.data.inputs import about, as_source, labels_of
from invariance_probe.errors import ConvertedImagesWarning

BYTES = torch.randint(0, 256, (4, 3, 20, 18), dtype=torch.uint8)
IMAGES = BYTES.float() / 255
LABELS = (3, 1, 4, 1)


class Photographs(Dataset[tuple[Image.Image, int]]):
    """Pictures and their classes, as torchvision's data sets return them."""

    def __len__(self) -> int:
        """Count them."""
        return len(BYTES)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return a picture and its class."""
        return picture(BYTES[index]), LABELS[index]


class Batches:
    """Batches with a length, which can only be had in order."""

    def __len__(self) -> int:
        """Count the batches."""
        return 2

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give images and classes."""
        return iter([(IMAGES[:3], torch.tensor(LABELS[:3])), (IMAGES[3:], torch.tensor([1]))])


def picture(pixels: Tensor) -> Image.Image:
    """Bytes as a picture."""
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """The images as files."""
    names = [str(tmp_path / f"{i}.png") for i in range(len(BYTES))]
    for pixels, name in zip(BYTES, names, strict=True):
        picture(pixels).save(name)
    return names


def test_every_form_gives_the_same_pixels(paths: list[str]) -> None:
    """Files, pictures, a folder, data sets, loaders and batches: values in [0, 1], bit for bit."""
    labelled = TensorDataset(IMAGES, torch.tensor(LABELS))
    forms = {
        "paths": paths,
        "folder": str(Path(paths[0]).parent),
        "pictures": [picture(pixels) for pixels in BYTES],
        "both": [paths[0], *(picture(pixels) for pixels in BYTES[1:])],
        "tensors": list(IMAGES),
        "data set": labelled,
        "pictures with classes": Photographs(),
        "loader": DataLoader(labelled, batch_size=3),
        "shuffled loader": DataLoader(labelled, batch_size=3, shuffle=True),
        "one by one": DataLoader(labelled, batch_size=None),
        "subset": DataLoader(Subset(labelled, range(4))),
        "batches": Batches(),
        "list of batches": [IMAGES[:1], IMAGES[1:]],
    }
    for name, form in forms.items():
        source = as_source(form)
        assert isinstance(source, ip.data.pictures.ImageSource), name
        assert len(source) == len(source.names) == 4, name
        assert torch.equal(torch.stack([source[i] for i in range(4)]), IMAGES), name
        with_classes = name in {
            "data set",
            "pictures with classes",
            "loader",
            "shuffled loader",
            "one by one",
            "subset",
            "batches",
        }
        assert labels_of(source) == (LABELS if with_classes else None), name
        assert about(source).get("labels") == (list(LABELS) if with_classes else None), name


def test_bytes_are_parts_of_255_and_it_is_said() -> None:
    """A tensor, a data set and batches of bytes are converted with a warning, floats without."""
    for form in (BYTES, TensorDataset(BYTES), list(BYTES), [BYTES]):
        with pytest.warns(ConvertedImagesWarning, match="are bytes: they are divided by 255"):
            source = as_source(form)
        assert torch.equal(torch.stack([source[i] for i in range(4)]), IMAGES)


def test_a_loader_is_left_as_it_was_found() -> None:
    """Neither its generator nor the global one has moved when its order has been read."""
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(IMAGES), shuffle=True, generator=generator)
    before = generator.get_state(), torch.get_rng_state()
    as_source(loader)
    assert torch.equal(before[0], generator.get_state())
    assert torch.equal(before[1], torch.get_rng_state())


def test_a_loader_keeps_its_own_order_and_collation() -> None:
    """A sampler that always draws the same is followed, and what collates makes the images."""

    class Last:
        """Draws three images, the last one first."""

        def __iter__(self) -> Iterator[int]:
            """Draw."""
            return iter([3, 1, 0])

        def __len__(self) -> int:
            """Count."""
            return 3

    loader = DataLoader(
        TensorDataset(BYTES),
        sampler=Last(),
        batch_size=2,
        collate_fn=lambda items: torch.stack([item[0] / 510 for item in items]),
    )
    source = as_source(loader)
    assert torch.equal(torch.stack([source[i] for i in range(3)]), BYTES[[3, 1, 0]] / 510)


def test_a_loader_that_draws_others_each_time_is_refused() -> None:
    """Images are read several times, and must be the same."""
    sampler = WeightedRandomSampler([1.0] * 4, 40)
    with pytest.raises(ip.InvalidInputError, match="WeightedRandomSampler of the DataLoader draws"):
        as_source(DataLoader(TensorDataset(IMAGES), sampler=sampler))


def test_files_of_several_sizes_need_a_crop(tmp_path: Path, paths: list[str]) -> None:
    """They are brought to a canvas that holds any rotation of the crop, or refused."""
    Image.new("L", (40, 31)).save(tmp_path / "z.png")
    for form in (str(tmp_path), [*paths, Image.new("L", (40, 31))]):
        with pytest.raises(ip.InvalidInputError, match="of 2 sizes, such as 18 x 20 and 40 x 31;"):
            as_source(form)
        source = as_source(form, crop=10)
        assert {source[i].shape for i in range(5)} == {(3, 16, 16)}


def test_grey_pictures_stay_grey_unless_the_model_sees_colour() -> None:
    """One channel if all are grey, three if one is not, and what is asked for in any case."""
    grey, red = Image.new("L", (8, 8)), Image.new("RGB", (8, 8), (255, 0, 0))
    assert as_source([grey, grey])[0].shape == (1, 8, 8)
    assert as_source([grey, red])[0].shape == (3, 8, 8)
    assert as_source([grey], channels=3)[0].shape == (3, 8, 8)


def test_turned_files_have_the_size_they_are_seen_in(tmp_path: Path) -> None:
    """An upright picture stored on its side is as wide as an upright one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (12, 8)).save(tmp_path / "side.png", exif=exif)
    Image.new("L", (8, 12)).save(tmp_path / "up.png")
    assert as_source(tmp_path)[0].shape == as_source(tmp_path)[1].shape == (1, 12, 8)


def test_batches_beyond_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would have to be held at once; a data set need not be."""
    monkeypatch.setenv(files.LIMIT, "1e-5")
    with pytest.raises(ip.InvalidInputError, match="give a Dataset, which is read image by image"):
        as_source(Batches())


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        (iter(IMAGES), "without a length was given; give a tensor"),
        (3, "a int without a length was given"),
        ({"a": 1}, "a dict was given; give a list of its values"),
        (IMAGES.numpy(), r"a ndarray was given; give torch.from_numpy\(images\)"),
        ([], "there are no images"),
        (IMAGES[0], "give one of shape .batch, channel, height, width"),
        (list(IMAGES.numpy()), r"images\[0\]: an array of .*from_numpy\(image\).permute\(2, 0, 1"),
        ([{"pixel_values": 1}], "a dict of pixel_values was given; give a Dataset that returns"),
        ([torch.rand(3, 3)], r"images\[0\]: a tensor of shape \(3, 3\) was given"),
        ([1, 2], r"images\[0\]: a int was given"),
        (["/nope/a.png"], "'/nope/a.png' is no file"),
        ([IMAGES, torch.rand(2, 3)], "batch 1 of images: a tensor of shape"),
        ([IMAGES, IMAGES[..., 1:]], r"of shapes \(3, 20, 17\) and \(3, 20, 18\); give one size"),
    ],
)
def test_what_is_refused_names_the_way_out(given: object, way_out: str) -> None:
    """One line each, at the latest when the first image is loaded."""
    with pytest.raises(ip.InvalidInputError, match=way_out) as caught:
        as_source(given)[0]
    assert "\n" not in str(caught.value)
