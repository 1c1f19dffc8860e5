"""Clutter: crops of other images, strewn over a canvas."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from invariance_probe.perturbations import canvases

CHOICES = ("source", "source column", "source row", "side", "column", "row")
"""Numbers that say what a piece is: where it is cut, how large it becomes, where it goes."""


@dataclass(frozen=True, kw_only=True)
class Clutter:
    """Sizes of what is strewn.

    Attributes:
        side: Side of the images that crops are cut from, in pixels.
        canvas: Side of the canvas, in pixels.
        crop: Side of a crop, in pixels.
        sides: Sides to which crops are resized, each as likely as the others; increasing.
    """

    side: int
    canvas: int
    crop: int
    sides: tuple[int, ...]

    def draw(
        self,
        samples: Int64[Tensor, " sample"],
        sources: int,
        pieces: int,
        generator: torch.Generator,
    ) -> Int64[Tensor, "sample piece choice"]:
        """Choose crops and where they lie, wholly on the canvas.

        Args:
            samples: Numbers of the images among the sources; no image clutters itself.
            sources: How many images crops are taken from; at least 2.
            pieces: Crops on each canvas.
            generator: Where the randomness comes from.

        Returns:
            The numbers of `CHOICES`.
        """
        device = generator.device
        shape = (len(samples), pieces, len(CHOICES))
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
        sides = torch.tensor(self.sides, device=device)

        def below(column: int, count: Tensor | int) -> Tensor:
            return (uniform[..., column] * count).long()

        other = samples.to(device)[:, None] + 1 + below(0, sources - 1)
        free = self.side - self.crop + 1
        chosen = sides[below(3, len(sides))]
        room = self.canvas - chosen + 1
        columns = (other % sources, below(1, free), below(2, free), chosen)
        return torch.stack((*columns, below(4, room), below(5, room)), dim=-1)

    def paint(
        self,
        choices: Int64[Tensor, "sample piece choice"],
        sources: UInt8[Tensor, "source channel side side"]
        | Float[Tensor, "source channel side side"],
    ) -> Float[Tensor, "sample channel canvas canvas"]:
        """Add the crops to empty canvases.

        Args:
            choices: What `draw` returned.
            sources: The images that crops are taken from.

        Returns:
            Sums of the crops, on the device of `sources`; on a GPU the order in which overlapping
            crops are added, and so the last bit, is not fixed.
        """
        device = sources.device
        source, column, row, target, left, top = choices.to(device).unbind(-1)
        span = torch.arange(self.crop, device=device)
        crops = sources[
            source[..., None, None, None],
            torch.arange(sources.shape[1], device=device)[:, None, None],
            (row[..., None] + span)[..., None, :, None],
            (column[..., None] + span)[..., None, None, :],
        ]
        crops = crops.float().div_(255) if sources.dtype == torch.uint8 else crops
        if self.sides != (self.crop,):
            sides = torch.tensor(self.sides, device=device)
            which = torch.searchsorted(sides, target.contiguous())
            resizer = canvases.resizers(self.crop, self.sides).to(crops)[which][:, :, None]
            crops = resizer @ crops @ resizer.mT
        return canvases.pasted(crops, left, top, self.canvas)
