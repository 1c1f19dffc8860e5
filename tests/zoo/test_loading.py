"""Models by name from the libraries themselves: what their images look like, and their weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import invariance_probe as ip
from invariance_probe.data.pictures import load_image


def test_torchvision_brings_its_own_preprocessing(tmp_path: Path) -> None:
    """Sizes of the weights, not of all; what was trained on other values renormalises itself."""
    models = pytest.importorskip("torchvision.models")
    net = models.googlenet(weights=None, init_weights=False, aux_logits=False)
    torch.save({"model": net.state_dict()}, tmp_path / "w.pth")
    loaded = ip.load_model("torchvision:googlenet", tmp_path / "w.pth")
    assert loaded.module.transform_input
    assert loaded.module.aux1 is None  # the file has no weights for it
    assert (loaded.crop, loaded.resize, loaded.interpolation) == (224, 256, "bilinear")
    for name, crop, resize in (("inception_v3", 299, 342), ("efficientnet_v2_s", 384, 384)):
        seen = ip.network.preprocessing.of_torchvision(
            models.get_model_weights(name).DEFAULT.transforms()
        )
        assert (seen.crop, seen.resize) == (crop, resize)


def test_a_picture_becomes_what_torchvision_makes_of_it(tmp_path: Path) -> None:
    """Resized, cut and normalised to the last bit as by the weights' own transforms."""
    models = pytest.importorskip("torchvision.models")
    transforms = models.get_model_weights("resnet18").DEFAULT.transforms()
    seen = ip.network.preprocessing.of_torchvision(transforms)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_image(
        tmp_path / "a.png", seen.crop, 3, seen.resize, Image.Resampling[seen.interpolation.upper()]
    )
    mean, std = (torch.tensor(values)[:, None, None] for values in (seen.mean, seen.std))
    torch.testing.assert_close((image - mean) / std, transforms(Image.fromarray(pixels)))


def test_timm_brings_its_data_configuration(tmp_path: Path) -> None:
    """The share that is cut out says what images are resized to."""
    timm = pytest.importorskip("timm")
    net = timm.create_model("ghostnet_050", pretrained=False)
    torch.save({f"module.{key}": value for key, value in net.state_dict().items()}, tmp_path / "w")
    loaded = ip.load_model("timm:ghostnet_050", tmp_path / "w")
    config = timm.data.resolve_model_data_config(net)
    assert loaded.resize == int(loaded.crop / config["crop_pct"]) > loaded.crop == 224
    assert loaded.interpolation == config["interpolation"]


def test_transformers_load_a_folder(tmp_path: Path) -> None:
    """Architecture, weights and image processor come from it, without code of its own."""
    library = pytest.importorskip("transformers")
    config = library.ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
    )
    net = library.ViTForImageClassification(config)
    net.save_pretrained(tmp_path)
    library.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    loaded = ip.load_model(f"transformers:{tmp_path}")
    assert type(loaded.module) is type(net)
    assert (loaded.crop, loaded.interpolation, loaded.mean) == (32, "bilinear", (0.5, 0.5, 0.5))
    state = net.state_dict()
    assert all(torch.equal(value, state[k]) for k, value in loaded.module.state_dict().items())
    with pytest.raises(ip.InvalidInputError, match="cannot be built"):
        ip.load_model(f"transformers:{tmp_path / 'none'}")


def test_near_names_are_suggested() -> None:
    """A name without its library is met with the libraries that have it."""
    pytest.importorskip("torchvision.models")
    pytest.importorskip("timm")
    with pytest.raises(ip.InvalidInputError, match=r"mean torchvision:resnet18 or timm:resnet18?"):
        ip.load_model("resnet18")
    for library in ("torchvision", "timm"):
        with pytest.raises(ip.InvalidInputError, match=r"cannot be built: .*mean .*resnet18"):
            ip.load_model(f"{library}:resnet81")
