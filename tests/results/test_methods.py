"""Methods are read once, and know their warp, mixing, label, colour and needs."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.alignment.mixing import Kind
from invariance_probe.errors import InvalidInputError
from invariance_probe.results.methods import (
    DEFAULT_METHODS,
    EXPLAINING_METHODS,
    METHODS,
    Method,
    Warp,
    parse_methods,
)

TEXTS = (
    *("identity", "identity+gain", "input"),
    *("oracle", "oracle+gain", "oracle+permutation", "oracle+orthogonal", "oracle+linear"),
    *("affine", "affine+gain", "affine+permutation", "affine+orthogonal", "affine+linear", "flow"),
    *("joint+permutation", "joint+orthogonal", "joint+linear", "any-warp", "floor"),
    *("unrelated", "unrelated+gain"),
    *("unrelated+permutation", "unrelated+orthogonal", "unrelated+linear"),
)
"""In the order of tables: those of version 0.1.0, `input`, `flow` and gains."""


def test_methods_are_used_as_the_texts_that_they_were() -> None:
    """Tuples compare, contain, print and look up as tuples of strings do."""
    assert METHODS == TEXTS
    assert str(METHODS) == str(TEXTS)
    assert "oracle+linear" in METHODS
    assert {"oracle+linear": 1}[Method.ORACLE_LINEAR] == 1
    assert DEFAULT_METHODS == ("identity", "oracle", "affine", "floor", "unrelated")
    assert set(EXPLAINING_METHODS) < set(METHODS)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_apart_into_warp_and_mixing(text: str) -> None:
    """What stands before the plus sign is the warp, what stands after it the mixing."""
    warp, _, kind = text.partition("+")
    method = Method(text)
    assert method.warp is Warp(warp)
    assert method.mixing is (Kind(kind) if kind else None)
    assert method.name == text.upper().replace("+", "_").replace("-", "_")


def test_no_two_methods_look_alike() -> None:
    """Colour and line together tell curves apart, and so do labels."""
    assert len({(method.colour, method.line) for method in METHODS}) == len(METHODS)
    assert len({method.label for method in METHODS}) == len(METHODS)
    for a, b in itertools.combinations(METHODS, 2):
        assert (a.colour == b.colour) == (a.warp is b.warp)
        assert (a.line == b.line) == (a.mixing is b.mixing)


def test_methods_know_what_they_need() -> None:
    """Affine, smooth and joint ones need a search; mixings and chance need another image."""
    assert {m for m in METHODS if m.needs_search} == {
        m for m in METHODS if m.startswith(("affine", "flow", "joint"))
    }
    assert {m for m in METHODS if m.needs_another_image} == {
        m for m in METHODS if "+" in m or m == "unrelated"
    }


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6))
def test_each_method_is_read_once_in_the_order_given(texts: list[str]) -> None:
    """Texts and methods give methods; what is repeated counts where it first stands."""
    read = parse_methods(texts)
    assert list(read) == list(dict.fromkeys(texts))
    assert all(isinstance(method, Method) for method in read)
    assert parse_methods(read) == read
    assert parse_methods(texts[0]) == (texts[0],)


@pytest.mark.parametrize(
    ("texts", "named"), [(["oracle", "oracel"], r"\['oracle', 'oracel'\]"), ([], r"\[\]")]
)
def test_other_texts_are_refused_in_one_line(texts: list[str], named: str) -> None:
    """An unknown method, or none at all, is told which there are."""
    with pytest.raises(InvalidInputError, match=rf"methods={named}: choose from identity, id"):
        parse_methods(texts)
