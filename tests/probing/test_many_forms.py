"""A probe takes images in every form, and tokens as maps."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

import invariance_probe as ip
from tests.data.test_inputs import BYTES, IMAGES, Batches, Photographs, picture
from tests.network.test_tokens import IMAGES as PATCHED
from tests.network.test_tokens import Transformer


def test_the_form_of_images_does_not_matter(tmp_path: Path) -> None:
    """The table of files is that of the tensor, one transform and one module given as objects."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    names = [str(number) for number in range(len(BYTES))]
    paths = [tmp_path / f"{name}.png" for name in names]
    for pixels, path in zip(BYTES, paths, strict=True):
        picture(pixels).save(path)

    def table(images: object) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        result = ip.probe(net, images, layers=[net[1]], transforms=ip.Rotation(90), device="cpu")
        frame = result.frame()
        assert set(frame["image"]) == set(names)
        values: np.ndarray[tuple[int, int], np.dtype[np.float64]] = frame["value"].to_numpy()
        return values

    want = table(IMAGES)
    for form in (paths, [picture(pixels) for pixels in BYTES], Photographs(), Batches()):
        np.testing.assert_array_equal(table(form), want)


def test_a_probe_of_tokens() -> None:
    """The first norm of tokens is probed as the patches' map is, but for the embedding."""
    model = Transformer()
    with torch.no_grad():
        model.pos_embed.zero_()
    model.norm = nn.Identity()  # type: ignore[assignment]  (so that both maps are the same)
    result = ip.probe(
        model,
        PATCHED,
        layers=["patches", "norm"],
        methods=["oracle"],
        transforms=ip.Rotation(180),
        device="cpu",
    )
    values = result.frame().pivot_table("value", ["image", "metric"], "layer")
    torch.testing.assert_close(
        torch.tensor(values["norm"].to_numpy()), torch.tensor(values["patches"].to_numpy())
    )
