"""Texts that users write: transforms, perturbations, variants, methods, names of models."""

from collections.abc import Callable

import pytest
from hypothesis import given

import invariance_probe as ip
from invariance_probe.cli.probing import parse_transform
from invariance_probe.data.datasets import open_dataset
from invariance_probe.perturbations.parsing import FORMS, parse_perturbation
from invariance_probe.results.methods import METHODS
from invariance_probe.stn.variants import parse_variant
from tests.fuzz.judging import Judge
from tests.fuzz.mutations import spoilt
from tests.profiles import share

_PERTURBATIONS = ("rotation=90", "translation=16,clean", "scaling=-1:2,clean,on:60", "shear=0.5")


def _transform(text: str) -> None:
    for move in parse_transform(text):
        assert move.matrix.isfinite().all()
        assert move.inverse().matrix.shape == (3, 3)


def _perturbation(text: str) -> None:
    drawn = parse_perturbation(text)
    assert parse_perturbation(str(drawn)) == drawn
    assert 0 < drawn.canvas(28) <= drawn.source_side(28) + drawn.canvas(28)
    assert len(drawn.sweep(3)) == 3


LANGUAGES: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "transform": (
        _transform,
        (
            *("rotation=-90:90:30", "scaling=0.5:2:0.25", "shear=0.1,0.2", "translation=1:9:4"),
            *("reflection=45", "rotation=30", "scaling=1e-3"),
        ),
    ),
    "perturbation": (_perturbation, (*FORMS, *_PERTURBATIONS)),
    "variant": (parse_variant, ("cnn", "c0", "c1", "dl1", "sl2", "c0x2", "c0+c1", "sl1x2")),
    "method": (lambda text: ip.ProbeOptions(methods=[text]), tuple(METHODS)),
    "model": (
        ip.load_model,
        ("torch.nn:Identity", "torch.nn:Conv2d", "timm:resnet18", "tests.tiny_net:factory"),
    ),
    "data set": (
        lambda text: open_dataset(text, train=5),
        ("mnist-5k", "mnist", "idx", "plankton", "folder", "svhn", "svhn-cropped"),
    ),
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_texts(name: str) -> None:
    """A text is understood or refused in a line, whatever was typed."""
    read, texts = LANGUAGES[name]
    judge = Judge()

    @share(2)
    @given(spoilt(texts))
    def texts_are_read_or_refused(text: str) -> None:
        judge(lambda: read(text))

    texts_are_read_or_refused()
    judge.saw_both(name)
