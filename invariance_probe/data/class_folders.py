"""Images in folders, one folder for each class: any such folder, and PlanktonSet."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from invariance_probe.data.pictures import image_files, opaque, read_picture, refuse_large
from invariance_probe.errors import InvalidInputError


def images_of_classes(root: Path) -> dict[str, list[Path]]:
    """List the images of each class.

    Args:
        root: A folder whose folders are the classes; hidden ones do not count.

    Returns:
        Image files by class, classes and files in the order of their names.

    Raises:
        InvalidInputError: If there is no such folder, it holds fewer than two classes, or a class
            holds no image.
    """
    if not root.is_dir():
        raise InvalidInputError(
            f"{str(root)!r} is not a folder; name one that contains a folder for each class"
        )
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise InvalidInputError(
            f"folder {str(root)!r} contains {len(folders)} folders; at least two are needed, one "
            "for each class"
        )
    found = {}
    for folder in folders:
        found[folder.name] = image_files(folder.iterdir())
        if not found[folder.name]:
            raise InvalidInputError(
                f"class folder {str(folder)!r} contains no images; remove it, or put images into it"
            )
    return found


def read_classes(
    classes: dict[str, list[Path]], side: int, background: int | None
) -> tuple[UInt8[Tensor, "sample channel {side} {side}"], Int64[Tensor, " sample"]]:
    """Load images of any size, each made square and resized.

    Args:
        classes: What `images_of_classes` returned.
        side: Side of the images that are returned, in pixels.
        background: Grey value, 0 to 255, with which images are padded to squares and which shows
            through them; None to cut out the middle instead, with mid-grey behind transparency.

    Returns:
        Images, grey unless one of the files has colour; and class numbers, in the order of the
        classes. An image that cannot be read is refused with an `InvalidInputError`.
    """
    paths = [path for members in classes.values() for path in members]
    loaded = [_load(path, side, background) for path in paths]
    grey = all(image.mode == "L" for image in loaded)
    arrays = [np.asarray(image if grey else image.convert("RGB")) for image in loaded]
    images = torch.from_numpy(np.stack(arrays))
    images = images[:, None] if grey else images.permute(0, 3, 1, 2).contiguous()
    counts = torch.tensor([len(members) for members in classes.values()])
    return images, torch.arange(len(classes)).repeat_interleave(counts)


def _load(path: Path, side: int, background: int | None) -> Image.Image:
    """Load an image as L or RGB, square, of the given side."""
    image = read_picture(path, "remove it or copy it again")
    image = opaque(image, 128 if background is None else background)
    if background is None:
        return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    longest = max(image.size)
    refuse_large(path, longest, longest)
    fill = background if image.mode == "L" else (background,) * 3
    square = Image.new(image.mode, (longest, longest), fill)
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    return square.resize((side, side), Image.Resampling.BICUBIC)
