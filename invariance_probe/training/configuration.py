"""What a training run is: everything that its numbers depend on."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
)
from invariance_probe.files import difference
from invariance_probe.perturbations.perturbation import Perturbation
from invariance_probe.stn.variants import Variant

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["step", "one-cycle", "constant"]
Localizer = Literal["auto", "fc", "conv"]
Motion = Literal["affine", "similarity", "rotation", "scale", "translation"]
Sampler = Literal["bilinear", "bicubic"]
Padding = Literal["border", "zeros", "reflection"]
Trunk = Literal["anew", "copy"]
Precision = Literal["float32", "bf16"]
Alignment = Literal["predicted", "true"]
Network = Literal["auto", "mnist", "mnist-five", "mnist-deep", "svhn", "plankton"]

STEP_EVERY, STEP_FACTOR = 1 / 3, 0.1
"""Of the step schedule: a tenth after each third of the run (Jaderberg et al. 2015, appendix)."""
WARM_UP, FINAL = 0.15, 1e-3
"""Of the one-cycle schedule: share of the run in which the rate rises, and share it ends at."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a network is built and trained; presets choose other values than these defaults.

    Attributes:
        train_images: Training images; all by default.
        network: Classifier; auto: the papers' for the data.
        width: Factor of the classifier's filters and hidden units.
        localizer: Fully connected or convolutional; auto: the data set's own, else fc up to 32
            pixels and conv beyond.
        localizer_width: Factor of the localizers' units.
        parametrisation: Motions that a localizer can predict.
        sampler: How maps are read.
        padding: What is read outside maps.
        output_share: Side of what a transformer returns over that of what it reads; the papers
            halve translated digits.
        trunk: Whether the layers that a DLX localizer has for itself start as a copy of the
            classifier's, or are drawn anew.
        gradient_scale: Factor of the gradient where it enters a localizer.
        alignment: true feeds the inverse of the applied motion in place of predictions, to show
            what perfect localization would reach.
        optimizer: What takes the steps.
        rate: Highest learning rate.
        localizer_rate: Factor of the learning rate for what only serves to predict motions.
        momentum: Of SGD (0 in Jaderberg et al. 2015); of AdamW the first coefficient is 0.9.
        weight_decay: Of all weights.
        schedule: Of the learning rate: a tenth after each third, one rise and fall, or constant.
        steps: Batches to learn from.
        batch: Images of a batch.
        precision: Of matrix products and convolutions.
        compiled: Use torch.compile.
        evaluate_every: Steps from one evaluation on validation images to the next.
        validation_images: Validation images for these; at most all.
        test_poses: Poses in which each test image is shown.
    """

    train_images: int | None = None
    network: Network = "auto"
    width: float = 1.0
    localizer: Localizer = "auto"
    localizer_width: float = 1.0
    parametrisation: Motion = "affine"
    sampler: Sampler = "bilinear"
    padding: Padding = "border"
    output_share: float = 1.0
    trunk: Trunk = "anew"
    gradient_scale: float = 1.0
    alignment: Alignment = "predicted"
    optimizer: Optimizer = "adamw"
    rate: float = 2e-3
    localizer_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "one-cycle"
    steps: int = 1000
    batch: int = 256
    precision: Precision = "float32"
    compiled: Annotated[bool, tyro.conf.arg(name="compile")] = False
    evaluate_every: int = 200
    validation_images: int = 2000
    test_poses: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(TrainOptions):
            if get_origin(field.type) is Literal:
                check_choice(field.name, getattr(self, field.name), get_args(field.type))
        check_flag("compiled", self.compiled)
        for name in ("steps", "batch", "evaluate_every", "validation_images", "test_poses"):
            check_integer(name, getattr(self, name), 1)
        if self.train_images is not None:
            check_integer("train_images", self.train_images, 1)
        for name in ("width", "localizer_width", "rate"):
            if check_number(name, value := getattr(self, name)) <= 0:
                raise InvalidInputError(f"{name}={value:g}: give a positive number")
        if not 0 < check_number("output_share", self.output_share) <= 1:
            raise InvalidInputError(f"output_share={self.output_share:g}: give a share in (0, 1]")
        for name in ("localizer_rate", "gradient_scale", "momentum", "weight_decay"):
            if check_number(name, value := getattr(self, name)) < 0:
                raise InvalidInputError(f"{name}={value:g}: give 0 or more")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(TrainOptions):
    """One training run: everything that its numbers depend on.

    Attributes:
        data: Name of the data set, as of `datasets.open_dataset`.
        perturbation: What is done to the images.
        variant: Which transformers the network has, and where.
        seed: Root of weights, order, poses, clutter and dropout.
    """

    data: str
    perturbation: Perturbation
    variant: Variant
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("seed", self.seed, 0)
        kinds = {"data": str, "perturbation": Perturbation, "variant": Variant}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise InvalidInputError(f"{name}={getattr(self, name)!r}: give a {kind.__name__}")

    @property
    def name(self) -> str:
        """Name of the run among others of one preset."""
        words = [self.data, str(self.perturbation), self.variant.name]
        words += [] if self.alignment == "predicted" else ["true-poses"]
        words += [] if self.network == "auto" else [self.network]
        stem = "-".join(words).replace("=", "-").replace(":", "-").replace("/", "-")
        return f"{stem}-seed{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """Return a copy for JSON.

        Returns:
            Every attribute by name, perturbation and variant as they are written.
        """
        about = {
            "data": self.data,
            "perturbation": str(self.perturbation),
            "variant": self.variant.name,
            "seed": self.seed,
        }
        options = (field.name for field in dataclasses.fields(TrainOptions))
        return about | {name: getattr(self, name) for name in options}

    def difference(self, other: dict[str, Any]) -> str:
        """Say where a stored configuration differs.

        Args:
            other: What `as_dict` returned.

        Returns:
            ``"rate=0.1 there, 0.2 here"``, joined by semicolons; empty if it does not.
        """
        # an option that a stored run knows nothing of did what is its default now
        usual = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
        return difference(usual | other, self.as_dict())

    def rate_at(self, step: int) -> float:
        """Look the schedule up.

        Args:
            step: Number of the batch, from 0.

        Returns:
            The learning rate.
        """
        done = step / self.steps
        if self.schedule == "constant":
            return self.rate
        if self.schedule == "step":
            return self.rate * STEP_FACTOR ** int(done / STEP_EVERY + 1e-9)
        if done < WARM_UP:
            return self.rate * (0.04 + 0.96 * done / WARM_UP)
        fall = (done - WARM_UP) / (1 - WARM_UP)
        return self.rate * (FINAL + (1 - FINAL) * (1 + math.cos(math.pi * fall)) / 2)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How trainings are carried out: nothing that their numbers depend on.

    Attributes:
        data_root: Folder that holds the data's files; packaged and synthetic data need none.
        download: Fetch missing files into --data-root, from official addresses.
        device: auto, cpu, cuda or cuda:K.
        checkpoint_minutes: Minutes from one checkpoint of a run to the next.
        checkpoint_steps: Also a checkpoint every so many steps; by default by time only.
        progress: Show progress on stderr, if that is a terminal.
    """

    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    checkpoint_minutes: float = 3.0
    checkpoint_steps: int | None = None
    progress: bool = False


DEFAULT_EXECUTION = Execution()
