"""Bytes of real files, damaged: flipped, cut, repeated, swapped, blanked, with other numbers."""

import struct

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEAD = 200
"""Bytes at the beginning and the end, where formats keep their sizes."""


def _place(draw: DrawFn, size: int) -> int:
    """A place in a file; half of them near its ends."""
    near = min(size, _HEAD)
    start = st.integers(0, near)
    return draw(st.one_of(start, start.map(lambda n: size - n), st.integers(0, size)))


@st.composite
def damaged(draw: DrawFn, content: bytes, changes: int = 3) -> bytes:
    """Draw a damaged copy of a file; now and then one that is whole.

    Args:
        draw: Of Hypothesis.
        content: What the file holds.
        changes: Most damages, one after the other.
    """
    out = bytearray(content)
    for _ in range(draw(st.integers(0, changes))):
        at, to = sorted((_place(draw, len(out)), _place(draw, len(out))))
        match draw(
            st.sampled_from(["flip", "cut", "drop", "repeat", "swap", "blank", "number", "insert"])
        ):
            case "flip":
                for _ in range(draw(st.integers(1, 8))):
                    if out:
                        where = min(_place(draw, len(out)), len(out) - 1)
                        out[where] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del out[at:]
            case "drop":
                del out[at:to]
            case "repeat":
                out[to:to] = out[at:to]
            case "swap":
                out = out[to:] + out[at:to] + out[:at]
            case "blank":
                out[at:to] = bytes([draw(st.sampled_from((0, 255)))]) * (to - at)
            case "number":
                code = draw(st.sampled_from(("<I", ">I", "<H", ">H", "<Q", ">Q", "B")))
                most = 256 ** struct.calcsize(code) - 1
                packed = struct.pack(code, min(draw(st.sampled_from(_NUMBERS)), most))
                out[at : at + len(packed)] = packed
            case "insert":
                out[at:at] = draw(st.binary(min_size=1, max_size=16))
        out = out[: 4 * len(content) + 64]
    return bytes(out)


@st.composite
def spoilt(draw: DrawFn, texts: tuple[str, ...]) -> str:
    """Draw a text that is one of some, or like it, or nothing like it.

    Args:
        draw: Of Hypothesis.
        texts: Those that mean something.
    """
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=30))
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 3))):
        at, to = (draw(st.integers(0, len(text))) for _ in range(2))
        match draw(st.sampled_from(("insert", "drop", "repeat", "number"))):
            case "insert":
                text = (
                    text[:at] + draw(st.sampled_from([*",:=.-+e_ 0", "\0", "\n", "٣"])) + text[at:]
                )
            case "drop":
                text = text[:at] + text[to:]
            case "repeat":
                text = text[:at] + text[min(at, to) : to] * 2 + text[at:]
            case "number":
                odd = ("nan", "inf", "-inf", "1e999", "1e-320", "-1", "0", "9" * 400, "1_0", "0x1")
                text = text[:at] + draw(st.sampled_from(odd)) + text[to:]
    return text
