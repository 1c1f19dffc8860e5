"""Sequences of tokens that are maps: patches of the image, row by row, behind a few others.

Vision transformers and their like cut the image into patches, by a convolution as a rule, and go on
with a sequence (batch, token, channel). It is a map again where its length is that of a grid that
was seen earlier in the same pass, or of one that was halved since, plus as many tokens as the model
puts before the patches (class, distillation and register tokens, which are parameters).
"""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

_OTHER = re.compile(r"(^|\.)(cls|class|dist|distillation|reg|register)_(tokens?|embedding)$")
"""Names of the parameters that stand before the patches: those of timm, torchvision and
transformers."""


@dataclass(frozen=True)
class Grid:
    """How a sequence of tokens lies on a grid.

    Attributes:
        before: Tokens before the patches.
        height: Rows of patches.
        width: Columns of patches.
    """

    before: int
    height: int
    width: int

    def read(
        self, tokens: Float[Tensor, "batch token channel"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Lay tokens out as a map.

        Args:
            tokens: A sequence.

        Returns:
            The patches' tokens as a map, in memory of the sequence.
        """
        patches = tokens[:, self.before :]
        shape = (len(tokens), self.height, self.width, tokens.shape[2])
        return patches.reshape(shape).movedim(-1, 1)

    def write(
        self,
        maps: Float[Tensor, "batch channel height width"],
        tokens: Float[Tensor, "batch token channel"],
    ) -> Float[Tensor, "batch token channel"]:
        """Put a map into a sequence.

        Args:
            maps: What the patches' tokens become.
            tokens: The sequence, of which the other tokens stay.

        Returns:
            A new sequence.
        """
        return torch.cat([tokens[:, : self.before], maps.flatten(2).movedim(1, 2)], dim=1)


def tokens_before(model: nn.Module) -> int:
    """Count the tokens that a model may put before the patches.

    Args:
        model: Any module.

    Returns:
        How many, at most.
    """
    found = (each for name, each in model.named_parameters() if _OTHER.search(name))
    return sum(each.shape[-2] if each.dim() > 1 else 1 for each in found)


def covers_evenly(height: int, width: int, size: tuple[int, int]) -> bool:
    """Say whether cells that cover an image evenly are as high as they are wide.

    Args:
        height: Rows of cells.
        width: Columns of cells.
        size: Height and width of the image, in pixels.

    Returns:
        Whether they are, but for a row or a column, as sizes are rounded to whole cells.
    """
    return min(height, width) > 0 and abs(height * size[1] - width * size[0]) <= max(size)


class Grids:
    """The grids of one pass: which sequences are maps, and which other tensors are sequences.

    Args:
        before: Most tokens before the patches, see `tokens_before`.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """

    def __init__(self, before: int, height: int, width: int) -> None:
        self._before, self._size = before, (height, width)
        self._grids: dict[int, tuple[int, int]] = {}
        self._lengths: set[int] = set()

    def see(self, output: Tensor) -> Grid | None:
        """Look at what a module returned for one image, in the order of the pass.

        Args:
            output: Of any shape.

        Returns:
            Its grid, if it is a sequence that is a map.
        """
        if output.dim() == 4:
            for height, width in (output.shape[2:], output.shape[1:3]):
                self._add(height, width)
        if output.dim() != 3 or output.shape[0] != 1 or not output.is_floating_point():
            return None
        length = output.shape[1]
        for before in range(self._before + 1):
            if length - before in self._grids:
                self._lengths.add(length)
                return Grid(before, *self._grids[length - before])
        return None

    def is_of_tokens(self, shape: tuple[int, ...]) -> bool:
        """Say whether an output is (batch, head, token, ...), as within attention.

        Args:
            shape: Its shape.

        Returns:
            Whether its rows are as many as the tokens of a sequence that was seen.
        """
        return len(shape) == 4 and shape[2] in self._lengths

    def is_mixed(self, shape: tuple[int, ...]) -> bool:
        """Say whether an output is (batch, channel, token), as where mixers mix tokens.

        Args:
            shape: Its shape.

        Returns:
            Whether its columns are as many as the tokens of a sequence that was seen.
        """
        return len(shape) == 3 and shape[2] in self._lengths

    def _add(self, height: int, width: int) -> None:
        """Remember a grid that covers the image evenly, and those that it may be merged to."""
        if not covers_evenly(height, width, self._size):
            return
        while height * width > 1:
            self._grids.setdefault(height * width, (height, width))
            height, width = -(-height // 2), -(-width // 2)
