"""What is kept of one image while maps are put back, so that it can be drawn."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.network.replay import outputs
from invariance_probe.plane.transforms import described
from invariance_probe.probing.pairs import Pairs, strips
from invariance_probe.probing.passes import ForwardPasses
from invariance_probe.results.methods import Method
from invariance_probe.results.predictions import UPRIGHT, rows
from invariance_probe.results.strips import Strip, shown_transforms


class Shown:
    """Pictures, maps and likeliest classes of one image, under one transform of each family.

    Args:
        passes: Model and images.
        names: Of the classes; their numbers by default.
    """

    def __init__(self, passes: ForwardPasses, names: Sequence[str] | None) -> None:
        self._passes, self._names = passes, names
        self._transforms = shown_transforms(described(passes.moves))
        self._image: int | None = None
        self.strips: list[Strip] = []
        self.predictions: list[dict[str, object]] = []

    def choose(self, numbers: Sequence[int], said: Float[Tensor, "image class"]) -> None:
        """Show the image of which the network is surest; nothing is kept before this is called.

        Args:
            numbers: Numbers of the first images of the run.
            said: Logits of these images as they are.
        """
        self._image = numbers[int(said.softmax(1).amax(1).argmax())]

    def put_back(self, pairs: Pairs, method: Method, said: Float[Tensor, "pair class"]) -> None:
        """Keep what the network says once a map is put back.

        Args:
            pairs: The images and transforms.
            method: What the map was made by.
            said: The logits.
        """
        if self._image in pairs.numbers:
            place = pairs.numbers.index(self._image)
            for transform, those in pairs.rows():
                if transform in self._transforms:
                    self._predict(said[those][place], transform, pairs.view.layer.name, method)

    def look(
        self,
        pairs: Pairs,
        theta: Float[Tensor, "pair 2 3"],
        inputs: Float[Tensor, "view image colour crop_height crop_width"],
    ) -> None:
        """Keep the maps of a layer; of the first layer also the pictures and plain answers.

        Args:
            pairs: The images and transforms.
            theta: The best warps found.
            inputs: The images as they are, then under each transform of the run.
        """
        if self._image not in pairs.numbers:
            return
        passes = self._passes
        seen = inputs[:, pairs.numbers.index(self._image)]
        back = passes.returned(seen[1:, None], range(len(passes.moves)))[:, 0]
        pixels, returned = (each * passes.std + passes.mean for each in (seen, back))
        for strip in strips(pairs, theta, self._transforms, pixels, self._image):
            images = [*strip.images, returned[strip.transform].cpu().numpy()]
            self.strips.append(replace(strip, images=np.stack(images)))
            if pairs.view.layer is passes.layers[0]:
                number = strip.transform
                views = torch.stack([seen[0], seen[number + 1], back[number]])
                (said,) = outputs(passes.model, views).values()
                for one, method in zip(said, (UPRIGHT, Method.IDENTITY, Method.INPUT), strict=True):
                    self._predict(one, number, "", method)

    def _predict(self, said: Tensor, transform: int, layer: str, method: str) -> None:
        """Keep the likeliest classes."""
        assert self._image is not None
        self.predictions += rows(
            said,
            self._names,
            image=self._passes.source.names[self._image],
            transform_number=transform,
            layer=layer,
            method=str(method),
        )
