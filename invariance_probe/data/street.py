"""Street digits: house numbers that nobody ever saw, rendered for want of photographs of real ones.

SYNTHETIC: numbers of one to five digits in the fonts that matplotlib ships, in random colours, in
perspective, blurred and noisy, over crops of the photographs in scikit-image's wheel. They stand in
for SVHN, with its labels and size (64 x 64, five slots of eleven classes), where SVHN is not at
hand. Training, validation and test numbers lie over different parts of the photographs.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import PIL
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from invariance_probe import files
from invariance_probe.data.downloads import Progress
from invariance_probe.data.pictures import photographs
from invariance_probe.errors import InvalidInputError

SIDE, SLOTS, NO_DIGIT = 64, 5, 10
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold"),
    *("DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
    *("STIXGeneralBolIta", "cmr10", "cmb10", "cmss10", "cmtt10"),
)
"""Of matplotlib's fonts, those that hold the digits."""
TEXTURES = (
    *("brick", "grass", "gravel", "chelsea", "coffee", "motorcycle_left", "astronaut"),
    *("hubble_deep_field", "ihc", "retina", "rocket", "camera"),
)
"""Photographs of scikit-image without a digit in them."""
REGIONS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0)}
"""Parts of the photographs' width over which the numbers of each split lie."""
LENGTHS = (0.2, 0.3, 0.25, 0.15, 0.1)
"""Probabilities of one to five digits."""
_VERSION = 1
"""To be raised whenever other pictures come out, so that no stale cache is read."""
_FINE = 2
"""Numbers are drawn this much larger and then reduced."""
_GLYPH = 48
"""Size at which the glyphs are drawn, in pixels."""


@dataclass(frozen=True, kw_only=True)
class StreetDigits:
    """What to render.

    Attributes:
        split: ``train``, ``validation`` or ``test``.
        count: Number of images; a smaller set is the beginning of a larger one.
        seed: Of everything random.
        contrast: Least difference of luminance, in [0, 1], between a number and its ground.
        tilt: Largest rotation either way, in degrees.
        perspective: Largest displacement of a corner of the number, as a share of its height.
        blur: Largest standard deviation of the blur, in pixels.
        noise: Largest standard deviation of the noise, of values in [0, 1].
    """

    split: str = "train"
    count: int = 20_000
    seed: int = 0
    contrast: float = 0.3
    tilt: float = 20.0
    perspective: float = 0.25
    blur: float = 0.9
    noise: float = 0.06

    def __post_init__(self) -> None:
        if self.split not in REGIONS:
            raise InvalidInputError(
                f"street digits: there is no split {self.split!r}; choose from {', '.join(REGIONS)}"
            )
        if self.count < 1:
            raise InvalidInputError(f"street digits: count={self.count}; give at least 1")


def street_digits(
    config: StreetDigits, progress: Progress | None = None
) -> tuple[UInt8[Tensor, "sample 3 64 64"], Int64[Tensor, "sample 5"]]:
    """Load rendered numbers from the user's cache, or render and keep them; see `render`.

    Args:
        config: What to render.
        progress: Called now and then.

    Returns:
        Images and labels.
    """

    def make() -> dict[str, Tensor]:
        images, labels = render(config, progress)
        return {"images": images, "labels": labels}

    key = f"{_VERSION} {config} {PIL.__version__} {mpl.__version__} {np.__version__}"
    kept = files.cached(f"street-digits-synthetic-{config.split}", key, make)
    return kept["images"], kept["labels"]


def render(
    config: StreetDigits, progress: Progress | None = None
) -> tuple[UInt8[Tensor, "sample 3 64 64"], Int64[Tensor, "sample 5"]]:
    """Render numbers; each depends on the seed, the split and its own place only.

    Args:
        config: What to render.
        progress: Called now and then.

    Returns:
        RGB images, and labels: the digits from left to right, then 10 in the slots left over.
    """
    images = np.empty((config.count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.full((config.count, SLOTS), NO_DIGIT, dtype=np.int64)
    textures = _textures()
    for i in range(config.count):
        rng = np.random.default_rng([config.seed, list(REGIONS).index(config.split), i])
        digits = _digits(rng)
        labels[i, : len(digits)] = digits
        images[i] = _picture(digits, textures, config, rng)
        if progress is not None and (i + 1) % 100 == 0:
            progress(f"street digits for {config.split}", i + 1, config.count)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def _digits(rng: np.random.Generator) -> list[int]:
    """Draw a number; no house has a number that begins with 0."""
    length = int(rng.choice(SLOTS, p=LENGTHS)) + 1
    return [int(rng.integers(1, 10)), *rng.integers(0, 10, length - 1).tolist()]


def _picture(
    digits: list[int],
    textures: tuple[Image.Image, ...],
    config: StreetDigits,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "64 64 3"]:
    # each draw moves the generator on: another order of these lines makes other pictures, and needs
    # another `_VERSION`
    ground = _ground(textures, REGIONS[config.split], rng)
    shape = _lettering(digits, rng)
    corners = _corners(shape.size, config, rng)
    if rng.random() < 0.3:  # a plate behind the number
        plate = Image.new("L", shape.size, int(rng.integers(150, 256)))
        grown = corners.mean(0) + (corners - corners.mean(0)) * rng.uniform(1.15, 1.4)
        opacity = _in_perspective(plate, grown)
        ground += (rng.uniform(0, 1, 3).astype(np.float32) - ground) * opacity
    mask = _in_perspective(shape, corners)
    colour = _colour(ground, mask, config.contrast, rng)
    if rng.random() < 0.25:  # a shadow
        depth = int(rng.integers(1, 3))
        ground *= 1 - 0.6 * np.roll(mask, (depth, depth), (0, 1))
    ground += (colour - ground) * mask
    # a plane of light, as from one side
    light = rng.uniform(-0.15, 0.15, 2).astype(np.float32)
    slope = np.linspace(-1, 1, SIDE, dtype=np.float32)
    ground *= (1 + light[0] * slope + light[1] * slope[:, None])[..., None]
    pixels = Image.fromarray((ground * 255).clip(0, 255).astype(np.uint8))
    blurred = np.asarray(pixels.filter(ImageFilter.GaussianBlur(rng.uniform(0, config.blur))))
    noise = rng.standard_normal((SIDE, SIDE, 3), dtype=np.float32) * (
        255 * rng.uniform(0, config.noise)
    )
    noisy: np.ndarray = (blurred + noise).clip(0, 255).astype(np.uint8)
    return noisy


@cache
def _textures() -> tuple[Image.Image, ...]:
    opened = []
    for path in photographs(TEXTURES):
        with Image.open(path) as image:
            opened.append(image.convert("RGB"))
    return tuple(opened)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    # The basic layout draws the same everywhere, whether or not Raqm is installed.
    return ImageFont.truetype(str(path), _GLYPH, layout_engine=ImageFont.Layout.BASIC)


def _ground(
    textures: tuple[Image.Image, ...], region: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Cut a square from a photograph's region and resize it; values in [0, 1]."""
    texture = textures[int(rng.integers(len(textures)))]
    left, right = region[0] * texture.width, region[1] * texture.width
    side = min(rng.uniform(40, 200), right - left, texture.height)
    x, y = rng.uniform(left, right - side), rng.uniform(0, texture.height - side)
    cut = texture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    return np.asarray(cut, dtype=np.float32) / 255


def _lettering(digits: list[int], rng: np.random.Generator) -> Image.Image:
    """Draw the digits in one font, white on black, cut to what is drawn."""
    font = _font(FONTS[int(rng.integers(len(FONTS)))])
    spacing = rng.uniform(0, 0.25) * _GLYPH
    sheet = Image.new("L", (_GLYPH * (len(digits) + 2), 2 * _GLYPH))
    pen = ImageDraw.Draw(sheet)
    x = _GLYPH / 2
    for digit in digits:
        pen.text((x, _GLYPH / 2), str(digit), fill=255, font=font)
        x += font.getlength(str(digit)) + spacing
    return sheet.crop(sheet.getbbox())


def _corners(size: tuple[int, int], config: StreetDigits, rng: np.random.Generator) -> np.ndarray:
    """Choose where the corners of the lettering lie, clockwise from the top left, in pixels."""
    width, height = size
    # SVHN's crops are resized to a square whatever their shape, which stretches long numbers.
    aspect = (height / width) ** rng.uniform(0.5, 1.0)
    wide = rng.uniform(0.55, 0.9) * SIDE
    wide, high = (wide, wide * aspect) if aspect < 1 else (wide / aspect, wide)
    box = np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]]) / 2
    box += rng.uniform(-1, 1, (4, 2)) * config.perspective / 2 * min(wide, high)
    angle = np.deg2rad(rng.uniform(-config.tilt, config.tilt))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    box = box @ turn
    # shrunk until it fits however it was turned, then put anywhere it has room
    reach = np.abs(box).max(0)
    box *= min(1.0, (SIDE / 2 - 1) / reach.max())
    room = np.maximum(0, SIDE / 2 - 1 - np.abs(box).max(0))
    placed: np.ndarray = box + SIDE / 2 + rng.uniform(-1, 1, 2) * room
    return placed


def _in_perspective(shape: Image.Image, corners: np.ndarray) -> np.ndarray:
    """Map a grey image's corners to the given ones; opacity (64, 64, 1) in [0, 1]."""
    width, height = shape.size
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    # The plane is tilted: the map from the picture to the lettering is a homography, (u, v) =
    # (a x + b y + c, d x + e y + f) / (g x + h y + 1). Times the denominator each corner gives two
    # equations that are linear in the eight numbers, four corners all of them. Pillow asks for this
    # direction, from where a pixel is drawn to where it is read.
    rows, values = [], []
    for (x, y), (u, v) in zip(corners * _FINE, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows), np.array(values))
    drawn = shape.transform(
        (SIDE * _FINE, SIDE * _FINE),
        Image.Transform.PERSPECTIVE,
        coefficients.tolist(),
        Image.Resampling.BILINEAR,
    )
    # drawn finer and averaged: Pillow reads one point a pixel, which would break thin strokes
    return np.asarray(drawn.reduce(_FINE), dtype=np.float32)[..., None] / 255


def _colour(
    ground: np.ndarray, mask: np.ndarray, contrast: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a colour whose luminance differs enough from that under and around the number."""
    # contrast is what is seen, so luminance (the weights of ITU-R BT.601) and not colours
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    under = ground @ weights
    mean = float((under * mask[..., 0]).sum() / max(mask.sum(), 1e-6))
    for _ in range(8):
        colour = rng.uniform(0, 1, 3).astype(np.float32)
        if abs(float(colour @ weights) - mean) >= contrast:
            return colour
    return np.full(3, 0.02 if mean > 0.5 else 0.98, dtype=np.float32)
