"""Trainings of several seeds as one model: their weights stacked, their steps one."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call, vmap

from analyses.papers_network import SIDE, PlainTransformer

MOMENTUM = 0.9


class Network(PlainTransformer):
    """The papers' network in operations that torch can batch over networks.

    Args:
        variant: ``cnn`` or ``c0``.
    """

    _still: Tensor

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        still = F.affine_grid(torch.eye(2, 3)[None], [1, 1, SIDE, SIDE], align_corners=False)
        self.register_buffer("_still", still, persistent=False)

    def grid(self, theta: Tensor, images: Tensor) -> Tensor:
        """Say where warps read: `affine_grid`, for which torch has no batching rule."""
        del images
        # no matrix product, which autocast would round
        rows = theta[:, None, None]
        return (
            self._still[..., :1] * rows[..., 0] + self._still[..., 1:] * rows[..., 1] + rows[..., 2]
        )


class Learner:
    """Networks of one kind, each with weights, images and a loss of its own, that step together.

    Args:
        variant: Which network: ``cnn`` or ``c0``.
        seeds: A network for each.
        rate: Learning rate of gradient descent with momentum 0.9.
        device: Where they learn.
        half: Whether what autocast can compute in bfloat16 is.
    """

    def __init__(
        self,
        variant: str,
        seeds: Sequence[int],
        *,
        rate: float,
        device: torch.device,
        half: bool = False,
    ) -> None:
        networks = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(seed)
                networks.append(Network(variant))
        self._bare, self._rate, self._half = networks[0].to(device), rate, half
        each = [dict(network.named_parameters()) for network in networks]
        self._weights = {
            name: torch.stack([one[name].detach().to(device) for one in each]).requires_grad_()
            for name in each[0]
        }
        self._momentum = [torch.zeros_like(each) for each in self._weights.values()]

    def logits(
        self, images: Float[Tensor, "seed sample channel height width"]
    ) -> Float[Tensor, "seed sample class"]:
        """Classify.

        Args:
            images: Those of each network.

        Returns:
            What each says of its own; at least float32.
        """
        kind = images.device.type
        # without a cache of cast weights, which a captured step could not renew
        with torch.autocast(kind, torch.bfloat16, enabled=self._half, cache_enabled=False):
            if len(images) == 1:  # a convolution of one group is quicker than a grouped one
                alone = {name: each[0] for name, each in self._weights.items()}
                said: Tensor = functional_call(self._bare, alone, (images[0],))[None]
            else:
                together = vmap(lambda weights, seen: functional_call(self._bare, weights, (seen,)))
                said = together(self._weights, images)
        return said.float()

    def step(
        self,
        images: Float[Tensor, "seed sample channel height width"],
        labels: Int64[Tensor, "seed sample"],
    ) -> Float[Tensor, " seed"]:
        """Take a step.

        Args:
            images: Those that each network learns from.
            labels: Their classes.

        Returns:
            Mean cross entropy of each network before the step, in nats.
        """
        said = self.logits(images)
        each = F.cross_entropy(said.flatten(0, 1), labels.flatten(), reduction="none")
        losses = each.view(labels.shape).mean(1)
        weights = list(self._weights.values())
        # of the sum, which no network shares with another: each has the gradient it has alone
        gradients = torch.autograd.grad(losses.sum(), weights)
        with torch.no_grad():
            torch._foreach_mul_(self._momentum, MOMENTUM)
            torch._foreach_add_(self._momentum, gradients)
            torch._foreach_add_(weights, self._momentum, alpha=-self._rate)
        return losses.detach()

    def state(self) -> list[Tensor]:
        """Copy weights and momentum.

        Returns:
            The copies.
        """
        return [each.detach().clone() for each in (*self._weights.values(), *self._momentum)]

    def restore(self, state: Sequence[Tensor]) -> None:
        """Go back, in place.

        Args:
            state: What `state` returned.
        """
        with torch.no_grad():
            for each, old in zip((*self._weights.values(), *self._momentum), state, strict=True):
                each.copy_(old)


class Graphed:
    """The steps of a learner as one CUDA graph, which is launched whole.

    Args:
        learner: On a CUDA device; it stays where it is.
        images: Of a step, for their shape.
        labels: Likewise.
    """

    def __init__(
        self,
        learner: Learner,
        images: Float[Tensor, "seed sample channel height width"],
        labels: Int64[Tensor, "seed sample"],
    ) -> None:
        self._images, self._labels = images.clone(), labels.clone()
        before = learner.state()
        # what is made at the first calls (handles, workspaces) may not be made while capturing
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it so
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                learner.step(self._images, self._labels)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._losses = learner.step(self._images, self._labels)
        learner.restore(before)

    def step(
        self,
        images: Float[Tensor, "seed sample channel height width"],
        labels: Int64[Tensor, "seed sample"],
    ) -> Float[Tensor, " seed"]:
        """Take a step; see `Learner.step`.

        Args:
            images: Those that each network learns from.
            labels: Their classes.

        Returns:
            Mean cross entropy of each network before the step, in nats.
        """
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._losses.clone()
