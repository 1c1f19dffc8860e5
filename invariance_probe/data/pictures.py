"""Images by name: packaged photographs, a folder of files, a tensor; each loaded when asked for."""

import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Real
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from invariance_probe import files
from invariance_probe.errors import InvalidInputError, first_line, refusing
from invariance_probe.errors.checks import check_flag, check_integer, check_path

PHOTOGRAPHS = (
    "astronaut",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "hubble_deep_field",
    "ihc",
    "motorcycle_left",
    "retina",
    "rocket",
)
"""Photographs in the wheel of scikit-image: people, animals, things, tissue, sky."""
Interpolation = Image.Resampling
"""How pixels are read between those of a picture."""
COLOUR = {1: "L", 3: "RGB"}
"""Pillow's modes by the number of channels."""
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "F"})
"""Pillow's modes without colour."""
_AT_ONCE = 2**20
"""Pixels of an image that are worked on at a time."""
_RUNS_PROGRAMS = "EPS"
"""A format of Pillow's whose files are programs, which Ghostscript runs, for ever if need be."""


@runtime_checkable
class ImageSource(Protocol):
    """Images of one size, loaded when asked for."""

    @property
    def names(self) -> Sequence[str]:
        """What to call the images in a table."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Float[Tensor, "channel height width"]:
        """Load one.

        Args:
            index: Its number.

        Returns:
            Pixel values.
        """
        ...


@dataclass(frozen=True)
class TensorImages:
    """Images that are in memory already.

    Attributes:
        images: All of them.
        labels: Class of each, where it is known.
    """

    images: Real[Tensor, "batch channel height width"]
    labels: tuple[int, ...] | None = None

    @property
    def names(self) -> list[str]:
        """Their numbers."""
        return [str(i) for i in range(len(self.images))]

    def __len__(self) -> int:
        """Count them."""
        return len(self.images)

    def __getitem__(self, index: int) -> Float[Tensor, "channel height width"]:
        """Return one.

        Args:
            index: Its number.

        Returns:
            Its pixel values, bytes as parts of 255.
        """
        return as_parts(self.images[index])


def as_parts(image: Real[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Bring bytes to pixel values in [0, 1].

    Args:
        image: Pixel values of any real type.

    Returns:
        Bytes divided by 255 in float32; anything else as it is.
    """
    return image.float() / 255 if image.dtype == torch.uint8 else image


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """Image files, each brought to one square canvas when it is loaded.

    The shorter side is resized (Pillow, antialiased) and the middle cut out.
    Grey, palette, RGBA (over grey, as transparency has no colour of its own) and 16-bit files
    become RGB in [0, 1]; the orientation in the EXIF data is applied.

    Attributes:
        paths: The files.
        canvas: Side of the canvas, in pixels; None leaves every image its own size.
        channels: 3 for colour, 1 for grey.
        resize: What the shorter side becomes, in pixels; the canvas by default.
        interpolation: How pixels are read when they are resized.
    """

    paths: tuple[Path, ...]
    canvas: int | None
    channels: int = 3
    resize: int | None = None
    interpolation: Interpolation = Interpolation.BICUBIC
    _names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        stems = [path.stem for path in self.paths]
        unique = len(set(stems)) == len(stems)
        names = tuple(stems) if unique else tuple(f"{p.parent.name}/{p.name}" for p in self.paths)
        object.__setattr__(self, "_names", names)

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names without folder and suffix, where that tells them apart."""
        return self._names

    def __len__(self) -> int:
        """Count them."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Float[Tensor, "channel height width"]:
        """Load one.

        Args:
            index: Its number.

        Returns:
            Pixel values in [0, 1].
        """
        return load_image(
            self.paths[index], self.canvas, self.channels, self.resize, self.interpolation
        )

    def about(self) -> dict[str, Any]:
        """Say how the files are read.

        Returns:
            What JSON holds.
        """
        resize = self.resize or self.canvas
        return {"resize": resize, "interpolation": self.interpolation.name.lower()}


def read_picture(path: Path, way_out: str) -> Image.Image:
    """Read an image file as it is meant to be seen: whole, and turned as its EXIF data say.

    Args:
        path: Any file that Pillow reads, but for EPS, which is a program.
        way_out: What to do if it cannot be read; ends the error.

    Returns:
        The image, in its own mode.

    Raises:
        InvalidInputError: If the file is no image, or broken off.
    """
    if not path.is_file():  # a pipe would be waited for for ever
        raise InvalidInputError(f"image {str(path)!r} is no file; {way_out}")
    unreadable = refusing(lambda cause: f"image {str(path)!r} cannot be read ({cause}); {way_out}")
    with unreadable, _opened(path) as opened:
        refuse_large(path, *opened.size)
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)  # a copy would take as much once more
        image: Image.Image = opened
    if image.mode == "F" and not np.isfinite(np.asarray(image)).all():
        raise InvalidInputError(f"image {str(path)!r} contains NaN or infinity; {way_out}")
    return image


def _opened(path: Path) -> Image.Image:
    """An image that is not read yet, and no program."""
    Image.init()
    return Image.open(path, formats=[each for each in Image.ID if each != _RUNS_PROGRAMS])


def refuse_large(path: Path, width: int, height: int) -> None:
    """Refuse an image that would fill the memory.

    Args:
        path: Its file.
        width: Of the image, or of what is made of it, in pixels.
        height: The same.

    Raises:
        InvalidInputError: If it has more pixels than `Image.MAX_IMAGE_PIXELS`, Pillow's own limit,
            which a program may set; times what `files.LIMIT` says in GB.
    """
    most = (Image.MAX_IMAGE_PIXELS or math.inf) * files.limit() / files.UNPACKED
    if width * height > most:
        raise InvalidInputError(
            f"image {str(path)!r} would take {width} x {height} pixels, more than the limit of "
            f"{most / 1e6:.0f} million; if it is meant, set {files.LIMIT} to more than "
            f"{files.limit() / 1e9:g}"
        )


def opaque(image: Image.Image, shade: int = 128) -> Image.Image:
    """Bring an image of any mode to 8-bit grey, if it has no colour, or RGB.

    Args:
        image: In any mode of Pillow.
        shade: Grey value that shows through where it is transparent.

    Returns:
        The image, in mode L or RGB.
    """
    mode = "L" if is_grey(image.mode) else "RGB"
    top = 255.0
    if image.mode.startswith("I"):
        top = 65535.0
    elif image.mode == "F":
        top = max(1.0, float(image.getextrema()[1]))  # type: ignore[arg-type]  # (one band)
    elif not image.has_transparency_data:
        return _in_mode(image, mode)
    whole = Image.new(mode, image.size)
    # a few rows at a time: what is between would take several times the memory of the image
    rows = max(1, _AT_ONCE // image.width)
    for first in range(0, image.height, rows):
        part = image.crop((0, first, image.width, min(image.height, first + rows)))
        whole.paste(_opaque(part, top, shade).convert(mode), (0, first))
    return whole


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image itself where it has the mode: a conversion to the same would copy it."""
    return image if image.mode == mode else image.convert(mode)


def _opaque(image: Image.Image, top: float, shade: int) -> Image.Image:
    """Some rows of an image, of which `top` is white, over a grey."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    colour = image.convert("RGBA")
    ground = Image.new("RGBA", colour.size, (shade, shade, shade, 255))
    return Image.alpha_composite(ground, colour)


def image_files(paths: Iterable[Path]) -> list[Path]:
    """List the files that Pillow knows by their suffix.

    Args:
        paths: Any.

    Returns:
        Those that are called images and not hidden, in the order of their names.

    Raises:
        InvalidInputError: If a name is not UTF-8.
    """
    suffixes = Image.registered_extensions()
    found = sorted(
        path
        for path in paths
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and not path.is_dir()
    )
    for path in found:
        # tables, JSON and pages hold names as UTF-8
        if not path.name.isprintable() and any("\udc80" <= c <= "\udcff" for c in path.name):
            raise InvalidInputError(f"image {str(path)!r}: its name is not UTF-8; rename it")
    return found


def load_image(
    path: Path,
    canvas: int | None,
    channels: int = 3,
    resize: int | None = None,
    interpolation: Interpolation = Interpolation.BICUBIC,
) -> Float[Tensor, "channel height width"]:
    """Load an image file onto a square canvas; see `ImageFiles`.

    Args:
        path: Any file that Pillow reads.
        canvas: Side of the canvas, in pixels; None for the size of the image.
        channels: 3 for colour, 1 for grey.
        resize: What the shorter side becomes, in pixels; the canvas by default.
        interpolation: How pixels are read when they are resized.

    Returns:
        Pixel values in [0, 1]; a file that is no image, or broken off, is refused with an
        `InvalidInputError`.
    """
    image = read_picture(path, "remove it, or go on without it with --skip-bad")
    if canvas is not None:
        refuse_large(path, *_resized(image.size, resize or canvas))
        image = on_canvas(image, canvas, channels, resize, interpolation)
    return pixel_values(image, channels)


def _resized(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height once the shorter one is of that many pixels."""
    scale = side / min(size)
    return max(side, round(size[0] * scale)), max(side, round(size[1] * scale))


def on_canvas(
    image: Image.Image,
    canvas: int,
    channels: int,
    resize: int | None = None,
    interpolation: Interpolation = Interpolation.BICUBIC,
) -> Image.Image:
    """Bring a picture to a square; see `load_image`.

    Args:
        image: In any mode of Pillow.
        canvas: Side of the canvas, in pixels.
        channels: 3 for colour, 1 for grey.
        resize: What the shorter side becomes, in pixels; the canvas by default.
        interpolation: How pixels are read when they are resized.

    Returns:
        The picture, in the mode L or RGB.
    """
    size = _resized(image.size, resize or canvas)
    resized = _in_mode(opaque(image), COLOUR[channels]).resize(size, interpolation)
    left, top = (size[0] - canvas) // 2, (size[1] - canvas) // 2
    return resized.crop((left, top, left + canvas, top + canvas))


def picture_size(path: Path) -> tuple[tuple[int, int], str]:
    """Look at the size of a picture without reading it.

    Args:
        path: Any file that Pillow reads.

    Returns:
        Width and height as it is meant to be seen, and Pillow's mode.

    Raises:
        InvalidInputError: If the file is no image.
    """
    if not path.is_file():  # a pipe would be waited for for ever
        raise InvalidInputError(f"image {str(path)!r} is no file; leave it out")
    unreadable = refusing(
        lambda cause: f"image {str(path)!r} cannot be read ({cause}); leave it out"
    )
    with unreadable, _opened(path) as opened:
        (width, height), mode = opened.size, opened.mode
        sideways = opened.getexif().get(ExifTags.Base.Orientation) in {5, 6, 7, 8}
    return ((height, width) if sideways else (width, height)), mode


def is_grey(mode: str) -> bool:
    """Say whether pictures of a mode have no colour.

    Args:
        mode: Pillow's name of it.

    Returns:
        Whether there is one channel, beside transparency.
    """
    return mode in _GREY_MODES


def pixel_values(image: Image.Image, channels: int) -> Float[Tensor, "channel height width"]:
    """Read an image as a tensor.

    Args:
        image: In any mode of Pillow.
        channels: 3 for colour, 1 for grey.

    Returns:
        Pixel values in [0, 1].
    """
    pixels = np.array(_in_mode(opaque(image), COLOUR[channels]), dtype=np.float32)
    values = torch.from_numpy(pixels / 255)
    return values[None] if channels == 1 else values.permute(2, 0, 1).contiguous()


def open_images(
    images: str | Path,
    canvas: int,
    *,
    channels: int = 3,
    skip_bad: bool = False,
    resize: int | None = None,
    interpolation: Interpolation | str = Interpolation.BICUBIC,
) -> tuple[ImageFiles, list[str]]:
    """Find images by name.

    Args:
        images: ``photographs`` (those in the wheel of scikit-image), an image file, or a folder,
            searched to its depths for files that Pillow knows by their suffix.
        canvas: Side of the square canvas, in pixels.
        channels: 3 for colour, 1 for grey.
        skip_bad: Go on without images that cannot be read.
        resize: What the shorter side becomes, in pixels; the canvas by default.
        interpolation: How pixels are read when they are resized, as Pillow names it.

    Returns:
        The images, and the names of those that were left out.

    Raises:
        InvalidInputError: If there is no such folder or file, or an image cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> import invariance_probe as ip
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (80, 60), "olive").save(Path(folder) / "field.png")
        ...     images, bad = ip.open_images(folder, canvas=48)
        ...     images[0].shape, images.names, bad
        (torch.Size([3, 48, 48]), ('field',), [])
    """
    check_integer("canvas", canvas, 1)
    check_integer("resize", canvas if resize is None else resize, canvas)
    if not isinstance(channels, int) or channels not in COLOUR:
        raise InvalidInputError(f"channels={channels!r}: give 3 for colour or 1 for grey")
    check_flag("skip_bad", skip_bad)
    reading = _interpolation(interpolation)
    paths = find_files(images)
    bad: list[str] = []
    if skip_bad:
        good = []
        for path in paths:
            try:
                load_image(path, canvas, channels)
            except InvalidInputError:
                bad.append(path.name)
            else:
                good.append(path)
        paths = good
        if not paths:
            raise InvalidInputError(
                f"folder {str(images)!r}: none of the {len(bad)} images can be read"
            )
    found = ImageFiles(
        paths=tuple(paths), canvas=canvas, channels=channels, resize=resize, interpolation=reading
    )
    return found, bad


def _interpolation(name: Interpolation | str) -> Interpolation:
    if isinstance(name, str) and name.upper() in Interpolation.__members__:
        return Image.Resampling[name.upper()]
    if isinstance(name, Interpolation):
        return name
    known = ", ".join(Interpolation.__members__).lower()
    raise InvalidInputError(f"interpolation={name!r}: choose from {known}")


def find_files(images: str | Path) -> list[Path]:
    """Find image files.

    Args:
        images: ``photographs``, a folder or a file, see `open_images`.

    Returns:
        The files, in the order of their names.

    Raises:
        InvalidInputError: If there is no such folder or file, or no image in it.
    """
    folder = check_path("images", images)
    if str(images) == "photographs":
        return photographs()
    if folder.exists() and (single := image_files([folder])):
        return single
    if not folder.is_dir():
        raise InvalidInputError(
            f"images {str(folder)!r}: not a folder; give a folder, a file that Pillow reads, or "
            "'photographs'"
        )
    try:
        paths = image_files(folder.rglob("*"))
    except OSError as error:
        raise InvalidInputError(
            f"folder {str(folder)!r} cannot be searched ({first_line(error)})"
        ) from error
    if not paths:
        raise InvalidInputError(
            f"folder {str(folder)!r} contains no images; Pillow reads files such as .png, .jpg, "
            ".webp"
        )
    return paths


def packaged_with(package: str, module: str, what: str, instead: str) -> Path:
    """Find the folder of an installed package that holds data.

    Args:
        package: What is installed.
        module: What it is imported as.
        what: The data.
        instead: What can be done without them.

    Returns:
        The folder of the module, which is not imported.

    Raises:
        InvalidInputError: If the package is missing.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise InvalidInputError(
            f"{what} come with {package}; install it with `pip install {package}`, or {instead}"
        )
    return Path(spec.origin).parent


def photographs(names: Iterable[str] = PHOTOGRAPHS) -> list[Path]:
    """Find the photographs in the wheel of scikit-image.

    Args:
        names: Which of them, without suffix.

    Returns:
        Their files.

    Raises:
        InvalidInputError: If scikit-image is missing, or has no such photograph.
    """
    folder = packaged_with("scikit-image", "skimage", "the photographs", "give a folder") / "data"
    found = []
    for name in names:
        matches = [folder / f"{name}{suffix}" for suffix in (".png", ".jpg")]
        existing = [path for path in matches if path.is_file()]
        if not existing:
            raise InvalidInputError(f"scikit-image has no photograph {name!r}")
        found.append(existing[0])
    return found
