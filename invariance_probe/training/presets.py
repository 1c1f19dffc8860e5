"""Sizes of training: as published, for hours, for minutes, for seconds."""

from dataclasses import dataclass, field
from typing import Any, Literal

from invariance_probe.perturbations.kinds import parse_perturbation
from invariance_probe.perturbations.perturbation import SIDE
from invariance_probe.training.configuration import TrainConfig

Preset = Literal["paper", "standard", "two-cores", "quick", "tiny"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a preset decides where the user does not.

    Attributes:
        settings: Attributes of `TrainConfig` that differ from its defaults.
        on_canvas: Those that differ from `settings` where images lie on a larger canvas, whose
            maps have several times as many cells.
        data: Data sets of the matrix.
        variants: Variants of the matrix.
        seeds: Seeds of the matrix.
    """

    settings: dict[str, Any]
    data: tuple[tuple[str, str], ...]
    variants: tuple[str, ...]
    seeds: int
    on_canvas: dict[str, Any] = field(default_factory=dict)


PLANS: dict[str, Plan] = {
    # batch, steps and the step schedule of Jaderberg et al. 2015, appendix, whose networks the
    # papers take over: rate 0.01, a tenth of it after every 50 000 steps, no momentum
    "paper": Plan(
        settings={
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
    ),
    "standard": Plan(
        settings={"steps": 12_000, "batch": 256, "evaluate_every": 1_000},
        data=(("mnist", "rotation"), ("mnist", "translation"), ("mnist", "scaling")),
        variants=("cnn", "c0", "c1", "dl1", "sl1", "c0x2", "sl1x2"),
        seeds=5,
    ),
    # rates chosen on validation images, see analyses/results/PLAN.md
    "two-cores": Plan(
        settings={
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
    "quick": Plan(
        settings={
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
    "tiny": Plan(
        settings={
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
matrix in a night. ``quick``: minutes on two cores. ``tiny``: seconds, for tests."""


AT_LEAST = {
    "mnist": 50_000,
    "mnist-5k": 4_000,
    "svhn-cropped": 60_000,
    "svhn": 30_000,
    "street-digits": 20_000,
}
"""Training images of the data sets whose number is known; presets do not ask for more, and take all
of any other data set."""


def configured(
    preset: str,
    *,
    data: str,
    perturbation: str,
    variant: str,
    seed: int,
    overrides: dict[str, Any],
) -> TrainConfig:
    """Build one run of a preset.

    Args:
        preset: Name of the preset.
        data: Name of the data set.
        perturbation: What is done to the images.
        variant: Which transformers.
        seed: Root of all random choices.
        overrides: Attributes of `TrainConfig` that the user chose.

    Returns:
        The run.
    """
    plan = PLANS[preset]
    settings = dict(plan.settings)
    if parse_perturbation(perturbation).canvas(SIDE) > SIDE:
        settings |= plan.on_canvas
    if "steps" in overrides:
        # a shorter run has a curve, too
        every = max(1, overrides["steps"] // 4)
        settings["evaluate_every"] = min(settings["evaluate_every"], every)
    if settings.get("train_images", 0) > AT_LEAST.get(data, 0):
        settings["train_images"] = None
    return TrainConfig(
        data=data, perturbation=perturbation, variant=variant, seed=seed, **settings | overrides
    )
