"""The commands ``layers``, ``probe``, ``audit`` and ``demo``."""

import json
import math
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from invariance_probe import console
from invariance_probe.data.pictures import ImageFiles, find_files, open_images, picture_size
from invariance_probe.engines import EngineOptions
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_integer
from invariance_probe.files import UNFINISHED, check_out
from invariance_probe.network import features
from invariance_probe.network.models import LITE_CROPS, LoadedModel, load_model
from invariance_probe.network.sizes import USUAL, find_image, input_channels
from invariance_probe.plane.rendering import rotating_canvas
from invariance_probe.plane.transforms import Rotation, Transform, sweep
from invariance_probe.probing.audit import audit
from invariance_probe.probing.journal import check_run_folder
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.probe import probe
from invariance_probe.probing.readout import recover
from invariance_probe.results.methods import (
    EXPLAINING_METHODS,
    PARTITION_METHODS,
    RECOVERY_METHODS,
    Method,
)
from invariance_probe.results.recovery import PUT_BACK

DEMO_LAYERS = ("_blocks.0", "_blocks.2", "_blocks.4", "_blocks.7", "_blocks.10", "_blocks.15")
"""Six depths of EfficientNet-Lite0: each of its resolutions from 112 to 7, 14 twice."""
DEMO_TRANSFORMS = ("rotation=-90:90:30", "scaling=0.5:2:0.25")
DEMO_PUT_BACK = (
    *(method for method in RECOVERY_METHODS if not method.needs_search),
    Method.ORACLE_PERMUTATION,
)
COMMON_TRANSFORMS = ("rotation=-90:90:15",)

ModelName = Annotated[
    str,
    tyro.conf.arg(
        help="efficientnet-lite0, -lite1, -lite2, timm:NAME, torchvision:NAME, transformers:NAME "
        "or :FOLDER, or package.module:factory."
    ),
]
Weights = Annotated[
    Path | None,
    tyro.conf.arg(help="State dict to load: .safetensors, or a file torch loads weights-only."),
]
Images = Annotated[
    str,
    tyro.conf.arg(
        help="A folder of images, one image, or 'photographs' (those in scikit-image's wheel)."
    ),
]
Crop = Annotated[
    int | None,
    tyro.conf.arg(
        help="Side of the square the model sees, in pixels; by default what it was trained on; "
        f"where that is unknown, that of the images if it is less than {USUAL}, or the first of "
        "usual sides that it takes."
    ),
]
Channels = Annotated[
    int | None,
    tyro.conf.arg(
        help="Channels of the model's input: 3 for colour, 1 for grey; by default as its first "
        "layer reads."
    ),
]
Words = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]
"""Options that take several words and may be repeated."""
Out = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Folder for the run; by default a new one under runs/, named after model and time. "
        "Named again by the same command, a run that was stopped goes on."
    ),
]
Json = Annotated[bool, tyro.conf.arg(help="Print JSON instead of a table.", name="json")]
ShowProgress = Annotated[
    bool, tyro.conf.arg(help="Show the first result, progress and time left on stderr.")
]
Device = Annotated[str, tyro.conf.arg(help="auto, cpu, cuda or cuda:K.")]
SkipBad = Annotated[bool, tyro.conf.arg(help="Go on without images that cannot be read.")]


@dataclass(frozen=True, kw_only=True)
class LayersCommand:
    """List the layers of a model: names, shapes, stride and offset against the input."""

    model: ModelName = "efficientnet-lite0"
    weights: Weights = None
    crop: Crop = None
    channels: Channels = None
    images: Annotated[
        str | None, tyro.conf.arg(help="Images whose size the model is asked for, as of probe.")
    ] = None
    pattern: Annotated[
        str | None, tyro.conf.arg(help="Show only layers whose name matches, e.g. '_blocks.*'.")
    ] = None
    json: Json = False

    def run(self) -> None:
        """List them."""
        model = load_model(self.model, self.weights)
        image = _seen(model, _own_side(model, self.images), self.crop, self.channels)
        side = image.shape[-1]
        patterns = None if self.pattern is None else [self.pattern]
        with features.forwarding(image):
            frame = features.listing(features.find_layers(model.module, image, patterns))
        if self.json:
            print(frame.to_json(orient="records"))
            return
        console.print_layers(frame, f"{self.model} at {side} x {side} pixels")


@dataclass(frozen=True, kw_only=True)
class _Measuring:
    """What a model is measured with: images, transforms, options."""

    model: ModelName = "efficientnet-lite0"
    weights: Weights = None
    images: Images = "photographs"
    transform: Annotated[
        Words,
        tyro.conf.arg(
            help="KIND=START:STOP:STEP or KIND=A,B,C with KIND rotation (degrees), scaling "
            "(factor), shear, translation (pixels) or reflection (degrees) (default: "
            f"{' '.join(COMMON_TRANSFORMS)})."
        ),
    ] = ()
    canvas: Annotated[
        int | None,
        tyro.conf.arg(
            help="Side to which images are resized and cut before they are transformed, in pixels; "
            "by default 1.41 times the crop, so that no rotation has to invent content, or less "
            "where what they are resized to is less."
        ),
    ] = None
    resize: Annotated[
        int | None,
        tyro.conf.arg(
            help="What the shorter side of images becomes before they are cut to the canvas, in "
            "pixels; by default what the model was evaluated with, where it says so, or the canvas."
        ),
    ] = None
    interpolation: Annotated[
        str | None,
        tyro.conf.arg(
            help="How pixels are read then: nearest, box, bilinear, hamming, bicubic or lanczos; "
            "by default as the model was evaluated, or bicubic."
        ),
    ] = None
    channels: Channels = None
    skip_bad: SkipBad = False
    out: Out = None
    json: Json = False
    progress: ShowProgress = True
    # without a name its options have no prefix, and what it refuses is one line of ours
    options: Annotated[ProbeOptions, tyro.conf.arg(name="")] = field(default_factory=ProbeOptions)

    @property
    def moves(self) -> list[Transform]:
        """What is done to the images."""
        words = _flat(self.transform) or COMMON_TRANSFORMS
        return [move for text in words for move in parse_transform(text)]

    def opened(self) -> tuple[LoadedModel, ImageFiles, ProbeOptions]:
        """Load the model and the images; images that cannot be read are named if left out.

        Returns:
            Model, images, and options completed by what the model was trained with.

        Raises:
            InvalidInputError: If they do not go together.
        """
        model = load_model(self.model, self.weights)
        own = _own_side(model, self.images)
        image = _seen(model, own, self.options.crop, self.channels)
        channels, side = image.shape[1], image.shape[-1]
        resize = self.resize or self.canvas or _resize(model, own, side)
        canvas = self.canvas or min(rotating_canvas(side), resize or math.inf)
        if canvas < side:
            raise InvalidInputError(
                f"canvas {canvas} is smaller than the crop {side}; give a larger --canvas"
            )
        images, bad = open_images(
            self.images,
            int(canvas),
            channels=channels,
            skip_bad=self.skip_bad,
            resize=resize,
            interpolation=self.interpolation or model.interpolation,
        )
        if bad:
            print(f"skipped {len(bad)} unreadable images: {', '.join(bad[:5])}", file=sys.stderr)
        return model, images, self._options_for(model, channels).replace(crop=side)

    def _options_for(self, model: LoadedModel, channels: int) -> ProbeOptions:
        """What was asked for, completed by what the model was trained with."""
        options = self.options
        if options.mean is None:
            options = options.replace(mean=_fitting(model.mean, channels))
        if options.std is None:
            options = options.replace(std=_fitting(model.std, channels))
        return options


@dataclass(frozen=True, kw_only=True)
class ProbeCommand(_Measuring):
    """Measure how far a spatial warp re-aligns a model's maps, and write a run folder."""

    layers: Annotated[
        Words,
        tyro.conf.arg(
            help="Names or patterns of layers, parted by spaces or commas, see `invariance-probe "
            "layers` (default: "
            f"{' '.join(DEMO_LAYERS)} of EfficientNet-Lite; other models need it)."
        ),
    ] = ()
    explain: Annotated[
        bool,
        tyro.conf.arg(
            help="Split what the oracle warp leaves into its parts: repaired by another warp, by "
            "permuting or mixing channels, interpolation, the rest; certify what no warp can "
            "repair; and, from five images on, split the maps' variance into unchanged, moved, "
            "mixed and lost. Needs two images or more."
        ),
    ] = False
    engine: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)

    def run(self) -> None:
        """Probe, save and print."""
        out = check_run_folder(self.out or _new_folder(self.model))
        moves = self.moves
        if not self.layers and self.model not in LITE_CROPS:
            raise InvalidInputError(
                f"which layers of {self.model!r}? name them with --layers; "
                f"`invariance-probe layers --model {self.model}` lists them"
            )
        model, images, options = self.opened()
        try:
            result = probe(
                model.module,
                images,
                layers=_flat(self.layers) or DEMO_LAYERS,
                transforms=moves,
                options=options,
                out=out,
                progress=self.progress,
                name=self.model,
                engine=self.engine.chosen,
            )
        except KeyboardInterrupt as error:
            kept = (out / UNFINISHED).is_dir()
            way = f"the same command with --out {out} goes on" if kept else "nothing was written"
            raise KeyboardInterrupt(way) from error
        console.report(result, out, as_json=self.json)

    def _options_for(self, model: LoadedModel, channels: int) -> ProbeOptions:
        options = super()._options_for(model, channels)
        if self.explain:
            more = (*EXPLAINING_METHODS, *PARTITION_METHODS)
            options = options.replace(methods=(*options.methods, *more))
        return options


@dataclass(frozen=True, kw_only=True)
class AuditCommand(_Measuring):
    """Find what a model moves by itself, how much of a transform that undoes, and what it leaves.

    Writes frame.csv, grids.png and grids.svg; the methods are its own.
    """

    def run(self) -> None:
        """Audit, save and print."""
        out = check_out(self.out or _new_folder(self.model))
        assert out is not None
        moves = self.moves
        model, images, options = self.opened()
        found = audit(
            model.module,
            images,
            transforms=moves,
            options=options,
            progress=self.progress,
            name=self.model,
        )
        found.save(out)
        if self.json:
            rows = json.loads(found.frame().to_json(orient="records"))
            print(json.dumps({"out": str(out), "frame": rows, "notes": dict(found.notes)}))
        else:
            print(f"{found}\nFolder: {out}")


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Probe EfficientNet-Lite0 at six depths on photographs: what is left, why, what it costs.

    Maps after a rotation by 90 degrees are put back: their run lies in the folder ``recovery``.
    """

    out: Out = None
    device: Device = "auto"
    seed: Annotated[int, tyro.conf.arg(help="Root of all random choices.")] = 0
    json: Json = False
    progress: ShowProgress = True

    def run(self) -> None:
        """Probe, save and print."""
        out = check_run_folder(self.out or _new_folder("demo"))
        probing = ProbeCommand(
            transform=(DEMO_TRANSFORMS,),
            explain=True,
            out=out,
            options=ProbeOptions(device=self.device, seed=self.seed),
            json=self.json,
            progress=self.progress,
        )
        probing.run()
        model, images, options = probing.opened()
        recovered = recover(
            model.module,
            images,
            layers=DEMO_LAYERS,
            transforms=[Rotation(90)],
            options=options.replace(methods=DEMO_PUT_BACK),
            out=out / PUT_BACK,
            progress=self.progress,
            name=probing.model,
        )
        if not self.json:
            console.report_recovery(recovered)


def parse_transform(text: str) -> list[Transform]:
    """Read ``KIND=START:STOP:STEP`` or ``KIND=A,B,C``.

    Args:
        text: What the user wrote.

    Returns:
        The transforms.

    Raises:
        InvalidInputError: If it is malformed.
    """
    kind, equals, values = text.partition("=")
    way_out = "write KIND=START:STOP:STEP or KIND=A,B,C, such as rotation=-90:90:15"
    if not equals or not values:
        raise InvalidInputError(f"transform {text!r} is malformed; {way_out}")
    try:
        if ":" in values:
            start, stop, step = (float(value) for value in values.split(":"))
            return sweep(kind.strip(), start, stop, step)
        singles = [float(value) for value in values.split(",")]
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(f"transform {text!r} is malformed; {way_out}") from error
    return [move for value in singles for move in sweep(kind.strip(), value, value, 1.0)]


def _flat(words: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(word for group in words for word in group)


def _fitting(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Values by channel for images of another number of channels."""
    return values if len(values) in {1, channels} else values[:1]


def _seen(
    model: LoadedModel, own: int | None, crop: int | None, channels: int | None
) -> Float[Tensor, "1 channel side side"]:
    """A random image as a model takes it."""
    if channels is not None:
        check_integer("channels", channels, 1)
    count = channels or input_channels(model.module)
    side = model.crop if crop is None else crop
    if side is not None:
        check_integer("crop", side, 1)
        return torch.rand(1, count or 3, side, side)
    return find_image(model.module, channels=count, sides=(own,))


def _own_side(model: LoadedModel, images: str | None) -> int | None:
    """Side of images that are square, of one size and smaller than usual ones."""
    sizes = set()
    # they are looked at only where the model does not say what it was trained on
    for path in find_files(images) if images is not None and model.crop is None else ():
        with suppress(InvalidInputError):  # said, or passed over, when it is loaded
            sizes.add(picture_size(path)[0])
    sides = {side for size in sizes for side in size}
    return next((side for side in sides if len(sides) == 1 and side < USUAL), None)


def _resize(model: LoadedModel, own: int | None, side: int) -> int | None:
    """What the shorter side of images becomes: as much of them is seen as the model was shown."""
    if model.resize is not None and model.crop is not None:
        return max(side, round(model.resize * side / model.crop))
    # small images that fit are not enlarged
    return side if own == side else None


def _new_folder(name: str) -> Path:
    stem = name.replace(":", "-").replace("/", "-")
    return Path("runs") / f"{stem}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
