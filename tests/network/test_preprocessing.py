"""What publishers say of their models' images, read into one form."""

from types import SimpleNamespace

import pytest

from invariance_probe.network.preprocessing import (
    Preprocessing,
    of_timm,
    of_torchvision,
    of_transformers,
)

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def test_torchvision() -> None:
    """Classifiers are resized and cut; segmenters resized; detectors do it themselves."""
    reading = SimpleNamespace(value="bilinear")
    seen = SimpleNamespace(
        crop_size=[299], resize_size=[342], mean=MEAN, std=STD, interpolation=reading
    )
    want = Preprocessing(crop=299, resize=342, interpolation="bilinear", mean=MEAN, std=STD)
    assert of_torchvision(seen) == want
    del seen.crop_size
    assert (of_torchvision(seen).crop, of_torchvision(seen).resize) == (342, 342)
    assert of_torchvision(object()) == Preprocessing(interpolation="bilinear")


def test_timm() -> None:
    """The share crop_pct of what is resized is cut out, rounded down as timm does."""
    config = {
        "input_size": (3, 224, 224),
        "crop_pct": 0.95,
        "interpolation": "bicubic",
        "mean": MEAN,
        "std": STD,
    }
    want = Preprocessing(crop=224, resize=235, interpolation="bicubic", mean=MEAN, std=STD)
    assert of_timm(config) == want


@pytest.mark.parametrize(
    ("config", "crop", "resize"),
    [
        ({"size": {"height": 32, "width": 32}}, 32, 32),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, 224, 256),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": False, "crop_size": 224},
            256,
            256,
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224, 256),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, 384, 384),
        ({"do_resize": False, "size": {"height": 32, "width": 32}}, None, None),
        ({}, None, None),
    ],
)
def test_transformers(config: dict[str, object], crop: int | None, resize: int | None) -> None:
    """Every form of size, with and without a cut; means where it normalises."""
    seen = of_transformers(config, None)
    assert (seen.crop, seen.resize, seen.mean) == (crop, resize, (0.0,))
    about = config | {"do_normalize": True, "image_mean": MEAN, "image_std": STD}
    assert (of_transformers(about, "bicubic").mean, of_transformers(about, None).std) == (MEAN, STD)
