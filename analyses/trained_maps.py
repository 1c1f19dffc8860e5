"""How far the maps of a trained classifier can be re-aligned under the motions it learnt from.

Images are those that the classifier is tested with, clutter included, on a canvas that is large
enough for every motion, so that nothing is made up at the border. The clutter moves with them.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.perturbations.perturbation import Perturbation
from invariance_probe.stn.networks import Classifier
from invariance_probe.training.batches import TEST, stored_clutter

METHODS = ("affine", "oracle", "identity", "floor")
MARGIN = 0.0
"""Cells kept from the maps' edges: nothing is padded, and the deepest maps are 2 x 2."""


def residuals(
    classifier: Classifier,
    images: Float[Tensor, "sample channel side side"],
    perturbation: Perturbation,
    *,
    depths: Sequence[int],
    count: int,
    background: float,
    seed: int,
) -> dict[int, dict[str, float]]:
    """Probe a classifier after some of its layers.

    Args:
        classifier: The network.
        images: Images with values in [0, 1].
        perturbation: What it was trained on: a rotation, scaling or translation.
        depths: Layers, in the sense of the papers.
        count: Motions, as of `Perturbation.sweep`.
        background: Value around the images.
        seed: Root of the probe.

    Returns:
        By depth: mean residuals (fvu) over images and motions, by each of `METHODS`; ``side``, the
        height of the map in cells; ``region_frac``.
    """
    names = {depth: f"layers.{depth - 1}" for depth in depths}
    result = ip.probe(
        classifier,
        on_canvas(images, perturbation, background),
        layers=list(names.values()),
        transforms=perturbation.sweep(count, images.shape[-1]),
        methods=METHODS,
        crop=perturbation.canvas(images.shape[-1]),
        fill=background,
        margin=MARGIN,
        device="cpu",
        seed=seed,
    )
    table = result.summary()
    means = table[table["metric"] == "fvu"].set_index(["layer", "method"])["mean"]
    sides = result.layers.set_index("name")["height"]
    regions = result.table.groupby("layer", observed=True)["region_frac"].mean()
    return {
        depth: {method: float(means.loc[(name, method)]) for method in METHODS}
        | {"side": int(sides[name]), "region_frac": float(regions[name])}
        for depth, name in names.items()
    }


def on_canvas(images: Tensor, perturbation: Perturbation, background: float) -> Tensor:
    """Put images where a perturbation leaves them in the middle, and pad them for every motion.

    Args:
        images: Images, ``(sample, channel, side, side)``; at least two if there is clutter.
        perturbation: What will be done to them.
        background: Value around them.

    Returns:
        The images, cluttered as `perturbation` clutters test images, in the middle of larger ones
        that no motion of it leads out of.
    """
    side = images.shape[-1]
    choices = stored_clutter(perturbation, len(images), side, TEST)
    clutter = None if choices is None else perturbation.clutter_layer(choices, images)
    # all numbers of a pose are 0 where nothing moves
    still = images.new_zeros(len(images), len(perturbation.pose_names))
    placed = perturbation.apply(images, still, clutter=clutter, background=background)
    edge = (perturbation.source_side(side) - placed.shape[-1]) // 2
    return F.pad(placed, (edge,) * 4, value=background)


class Named(nn.Module):
    """A classifier of single digits, its logits as `invariance_probe.recover` takes them.

    Args:
        classifier: The network.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.layers, self.head = classifier.layers, classifier.head

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Name what images show.

        Args:
            images: The images.

        Returns:
            Logits.
        """
        for layer in self.layers:
            images = layer(images)
        logits: Tensor = self.head(images)
        return logits
