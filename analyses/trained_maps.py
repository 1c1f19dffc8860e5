"""What the maps of trained classifiers are probed on, and the classifiers as they are probed.

Images are those that the classifier is tested with, clutter included, on a canvas that is large
enough for every motion, so that nothing is made up at the border. The clutter moves with them.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.perturbations.perturbation import Perturbation
from invariance_probe.stn.networks import Classifier
from invariance_probe.training.batches import TEST, stored_clutter


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
