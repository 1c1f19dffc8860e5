"""Sizes of training: as published, for hours, for minutes, for seconds."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from invariance_probe.data.catalogue import source_of
from invariance_probe.perturbations.kinds import RandomTranslation
from invariance_probe.perturbations.perturbation import SIDE, Perturbation
from invariance_probe.stn.variants import Variant
from invariance_probe.training.configuration import TrainConfig, TrainOptions

PresetName = Literal["paper", "standard", "two-cores", "quick", "brief", "tiny"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a preset decides where the user does not.

    Attributes:
        options: Attributes of `TrainOptions` that differ from its defaults.
        on_canvas: Those that differ from `options` where images lie on a larger canvas, whose
            maps have several times as many cells.
        on_translation: Those that differ from both where images are translated.
        data: Data sets of the matrix.
        variants: Variants of the matrix.
        seeds: Seeds of the matrix.
    """

    options: dict[str, Any]
    data: tuple[tuple[str, str], ...]
    variants: tuple[str, ...]
    seeds: int
    on_canvas: dict[str, Any] = field(default_factory=dict)
    on_translation: dict[str, Any] = field(default_factory=dict)


_HALVED = {"output_share": 0.5}
"""As in the papers' code of 2022: transformers of translated digits return half of the side."""

PRESETS: dict[str, Preset] = {
    # batch, steps and the step schedule of Jaderberg et al. 2015, appendix, whose networks the
    # papers take over: rate 0.01, a tenth of it after every 50 000 steps, no momentum
    "paper": Preset(
        options={
            "optimizer": "sgd",
            "rate": 0.01,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "schedule": "step",
            "steps": 150_000,
            "batch": 256,
            "evaluate_every": 5_000,
            "validation_images": 10_000,
        },
        data=(("mnist", "rotation"), ("mnist", "translation"), ("mnist", "scaling")),
        variants=("cnn", "c0", "c1", "dl1", "sl1", "c0x2", "sl1x2"),
        seeds=10,
        on_translation=_HALVED,
    ),
    "standard": Preset(
        options={"steps": 12_000, "batch": 256, "evaluate_every": 1_000},
        data=(("mnist", "rotation"), ("mnist", "translation"), ("mnist", "scaling")),
        variants=("cnn", "c0", "c1", "dl1", "sl1", "c0x2", "sl1x2"),
        seeds=5,
        on_translation=_HALVED,
    ),
    # rates chosen on validation images, see analyses/results/PLAN.md
    "two-cores": Preset(
        options={
            "width": 0.5,
            # 722 000 images
            "steps": 11_280,
            "batch": 64,
            "rate": 4e-3,
            "evaluate_every": 1_880,
        },
        data=(("mnist", "rotation"), ("mnist", "translation"), ("mnist", "scaling=-1:1")),
        variants=("cnn", "c0", "c1", "dl1", "sl1", "c0x2", "sl1x2"),
        seeds=10,
        on_canvas={
            "width": 0.25,
            "localizer_width": 0.5,
            "steps": 3_760,
            "evaluate_every": 940,
        },
    ),
    "quick": Preset(
        options={
            "train_images": 20_000,
            "width": 0.5,
            # six epochs; a rate that is good for the classifier lets localizers run away
            "steps": 1_880,
            "batch": 64,
            "rate": 4e-3,
            "localizer_rate": 0.5,
            "evaluate_every": 470,
        },
        data=(("mnist", "rotation"), ("mnist", "translation"), ("mnist", "scaling=-1:1")),
        variants=("cnn", "c0", "c1", "dl1", "sl1"),
        seeds=5,
        on_canvas={"width": 0.25, "localizer_width": 0.5, "steps": 800},
    ),
    "brief": Preset(
        options={
            "width": 0.25,
            "steps": 400,
            "batch": 64,
            "rate": 4e-3,
            "evaluate_every": 200,
            "validation_images": 500,
            "test_poses": 2,
        },
        data=(("mnist", "rotation=on:40"),),
        variants=("cnn", "c0", "c1"),
        seeds=10,
    ),
    "tiny": Preset(
        options={
            "train_images": 256,
            "width": 0.1,
            "steps": 40,
            "batch": 32,
            "evaluate_every": 20,
            "validation_images": 64,
        },
        data=(("mnist-5k", "rotation"),),
        variants=("cnn", "c0", "c1", "sl1"),
        seeds=2,
    ),
}
"""By name. ``paper``: 150 000 steps of 256, as published. ``standard``: hours on a GPU or a patient
CPU. ``two-cores``: steps enough for localizers to take off, two minutes a run and core; the whole
matrix in a night. ``quick``: minutes on two cores. ``brief``: half a minute a run, for hundreds of
runs that need no localizer. ``tiny``: seconds, for tests."""


def _flag(option: "dataclasses.Field[Any]", decided: frozenset[str]) -> tuple[str, Any, Any]:
    """An option as the command line asks for it: one that presets decide is None if not given."""
    if option.name not in decided:
        return option.name, option.type, option.default
    hint = tyro.conf.arg(help_behavior_hint="(default: the preset's)")
    return option.name, Annotated[option.type | None, hint], None  # type: ignore[operator]  # a type


Choices = dataclasses.make_dataclass(
    "Choices",
    [
        _flag(
            option,
            frozenset(("padding",)).union(
                *(each.options | each.on_canvas | each.on_translation for each in PRESETS.values())
            ),
        )
        for option in dataclasses.fields(TrainOptions)
    ],
    frozen=True,
    kw_only=True,
    namespace={"__doc__": TrainOptions.__doc__},
)
"""The options of `TrainOptions` as a user chooses them: None leaves a choice to the preset. Made
from that class, so that no option is declared twice."""


def configured(
    name: str,
    *,
    data: str,
    perturbation: Perturbation,
    variant: Variant,
    seed: int,
    choices: dict[str, Any],
) -> TrainConfig:
    """Build one run of a preset.

    Args:
        name: Name of the preset.
        data: Name of the data set.
        perturbation: What is done to the images.
        variant: Which transformers.
        seed: Root of all random choices.
        choices: Attributes of `TrainOptions` that the user chose.

    Returns:
        The run; it asks for no more training images than there are. An unknown data set or an
        unusable choice is refused with an `InvalidInputError`.
    """
    preset = PRESETS[name]
    options = {"padding": source_of(data).padding, **preset.options}
    if perturbation.canvas(SIDE) > SIDE:
        options |= preset.on_canvas
    if isinstance(perturbation, RandomTranslation):
        options |= preset.on_translation
    if "steps" in choices:
        # a shorter run has a curve, too
        every = max(1, choices["steps"] // 4)
        options["evaluate_every"] = min(options["evaluate_every"], every)
    if options.get("train_images", 0) > source_of(data).train_images:
        options["train_images"] = None
    return TrainConfig(
        data=data, perturbation=perturbation, variant=variant, seed=seed, **options | choices
    )
