"""Options are declared once, brought into one form, and refused in one line."""

import dataclasses
import inspect

import pytest
import torch
from torch import nn

from invariance_probe.alignment.search import SearchOptions
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.probe import probe
from invariance_probe.results.methods import DEFAULT_METHODS, Method

NAMES = [field.name for field in dataclasses.fields(ProbeOptions)]


def test_numbers_lists_and_texts_are_brought_into_one_form() -> None:
    """Scalars and sequences become tuples, texts methods; None stays None."""
    options = ProbeOptions(methods=["oracle", "floor", "oracle"], mean=0.5, std=[1, 2, 3])
    assert options.methods == options.compared == (Method.ORACLE, Method.FLOOR)
    assert all(isinstance(method, Method) for method in options.methods)
    assert (options.mean, options.std, options.fill) == ((0.5,), (1, 2, 3), None)
    assert ProbeOptions(methods="oracle").methods == ("oracle",)
    assert ProbeOptions(fill=0.0).fill == (0.0,)
    assert ProbeOptions().methods == DEFAULT_METHODS


def test_the_same_options_in_any_form_are_equal() -> None:
    """What was meant counts, not how it was written."""
    assert ProbeOptions(mean=[0.5], methods=["floor"]) == ProbeOptions(mean=0.5, methods=("floor",))


def test_some_options_can_be_replaced() -> None:
    """Others stay as they are; None stands for the usual search."""
    options = ProbeOptions(crop=64, search=SearchOptions(angles=3))
    changed = options.replace(mean=0.5, search=None)
    assert (changed.crop, changed.mean, changed.search) == (64, (0.5,), SearchOptions())
    assert options.replace() == options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metods": ["oracle"]},
            r"unknown option 'metods'; did you mean methods\? the options are",
        ),
        ({"zzz": 1}, f"unknown option 'zzz'; the options are {', '.join(NAMES)}$"),
        ({"methods": ["oracel"]}, r"methods=\['oracel'\]: choose from identity"),
        ({"methods": []}, r"methods=\[\]: choose from identity"),
        ({"dtype": "float16"}, "dtype='float16': choose float32 or float64"),
        ({"batch_size": 0}, "batch_size=0: give at least 1"),
        ({"margin": -1.0}, "margin=-1: give 0 or more cells"),
        ({"search": SearchOptions(max_distortion=0.5)}, "max_distortion=0.5: a bound on stretch"),
    ],
)
def test_what_cannot_be_used_is_refused(changes: dict[str, object], message: str) -> None:
    """Name, value, rule and way out, in one line."""
    with pytest.raises(InvalidInputError, match=message) as caught:
        ProbeOptions().replace(**changes)
    assert "\n" not in str(caught.value)


def test_every_option_is_described() -> None:
    """The docstring, which the command line shows, has a line for each field and no other."""
    text = inspect.cleandoc(ProbeOptions.__doc__ or "").partition("Attributes:")[2]
    said = text.partition("Raises:")[0].splitlines()
    assert [line.strip().partition(":")[0] for line in said if line[:5].strip()[:1]] == NAMES


def test_a_probe_takes_options_or_their_names() -> None:
    """An object, keywords, and keywords over an object make one configuration."""
    torch.manual_seed(0)
    net, images, fixed = nn.Conv2d(3, 2, 3), torch.rand(2, 3, 16, 16), {"layers": "(model)"}
    changes = {"methods": ["oracle"], "crop": 12, "mean": 0.5, "std": (1, 2, 3), "seed": 3}
    configs = [
        probe(net, images, transforms=[Rotation(9)], **fixed, **given).config
        for given in (
            changes,
            {"options": ProbeOptions(**changes)},
            {"options": ProbeOptions(**changes | {"seed": 7, "crop": 9}), "seed": 3, "crop": 12},
        )
    ]
    for config in configs:
        assert config["methods"] == ["oracle"]
        assert (config["crop"], config["mean"], config["std"]) == (12, [0.5], [1, 2, 3])
        assert set(NAMES) <= config.keys()
        del config["provenance"]
    assert configs[0] == configs[1] == configs[2]
