"""How the networks of methods come about: by the trainer where it has them, else by one short loop.

Both see the same batches with the same schedule: a run's configuration says them.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from analyses.related.acting import CANVAS, Acting
from analyses.related.by_itself import Placed
from analyses.training_plan import Setup, TrainingPlan
from invariance_probe import files
from invariance_probe.data.datasets import Dataset
from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.statistics import torch_seed
from invariance_probe.training import evaluation
from invariance_probe.training.batches import TrainingBatches
from invariance_probe.training.configuration import Network, TrainConfig
from invariance_probe.training.runs import MODEL

UPRIGHT, TURNED = f"none=on:{CANVAS}", f"rotation=90,on:{CANVAS}"
SCALED, SHIFTED = f"scaling=-0.5:0.5,clean,on:{CANVAS}", f"translation=6,clean,on:{CANVAS}"
NETWORK: Network = "mnist-five"
_PRIOR = 16
"""Images of a batch that priors are asked of."""
CONFIG = "config.json"
"""File beside the weights of a network that the loop trained."""


@dataclass(frozen=True, kw_only=True)
class Plan(TrainingPlan):
    """A plan in which all networks learn as long.

    Attributes:
        steps: Batches to learn from; by default the preset's.
    """

    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """A network to be trained.

    Attributes:
        name: Among others of a plan.
        motion: What is done to the digits that it learns from.
    """

    name: str
    motion: str

    @abstractmethod
    def trained(self, plan: Plan, seed: int) -> Acting:
        """Find the network, or train it.

        Args:
            plan: Which data, how long, and where it lies.
            seed: Root of all random choices.

        Returns:
            The network, in evaluation mode.
        """

    @abstractmethod
    def run(self, plan: Plan, seed: int) -> TrainConfig:
        """Configure the training.

        Args:
            plan: As of `trained`.
            seed: As of `trained`.

        Returns:
            All that the network depends on, but what is built.
        """

    @abstractmethod
    def folder(self, plan: Plan, seed: int) -> Path:
        """Say where it lies.

        Args:
            plan: As of `trained`.
            seed: As of `trained`.

        Returns:
            Its folder.
        """

    def setup(self, steps: int | None, variant: str = "cnn") -> Setup:
        """Say what is trained.

        Args:
            steps: Batches to learn from; by default the preset's.
            variant: Of the papers.

        Returns:
            A setup of one network.
        """
        return Setup(
            perturbations=(str(parse_perturbation(self.motion)),),
            variants=(variant,),
            network=NETWORK,
            steps=steps,
        )


@dataclass(frozen=True, kw_only=True)
class Variant(Recipe):
    """A network of the papers, named as on the command line: the trainer's."""

    variant: str

    def run(self, plan: Plan, seed: int) -> TrainConfig:
        """Name the run, one of the plan's."""
        return plan.config(self.setup(plan.steps, self.variant), self.motion, self.variant, seed)

    def folder(self, plan: Plan, seed: int) -> Path:
        """Say where the trainer put it."""
        return plan.root / self.run(plan, seed).name

    def trained(self, plan: Plan, seed: int) -> Acting:
        """Read it: the plan has finished it."""
        (number,) = parse_perturbation(self.motion).pose_names
        return Placed(plan.trained(self.run(plan, seed)), number).eval()


@dataclass(frozen=True, kw_only=True)
class Built(Recipe):
    """Another network.

    Attributes:
        build: From the factor of the numbers of filters to the network, with first weights.
    """

    build: Callable[[float], Acting]

    def folder(self, plan: Plan, seed: int) -> Path:
        """Say where it lies, beside the trainer's."""
        run = self.run(plan, seed)
        name = f"{run.data}-{run.steps}-{self.name.replace(',', '').replace(' ', '-')}-seed{seed}"
        return plan.root / "related" / name

    def run(self, plan: Plan, seed: int) -> TrainConfig:
        """Configure the training, as that of a CNN of the trainer's."""
        return plan.config(self.setup(plan.steps), self.motion, "cnn", seed)

    def trained(self, plan: Plan, seed: int) -> Acting:
        """Train it unless its weights are kept.

        Args:
            plan: As of `Recipe.trained`.
            seed: As of `Recipe.trained`.

        Returns:
            The network.

        Raises:
            InvalidInputError: If those that are kept were trained otherwise.
        """
        run, folder = self.run(plan, seed), self.folder(plan, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(seed, "weights"))
            network = self.build(run.width)
        if (folder / CONFIG).is_file():
            if differs := run.difference(files.read_json(folder / CONFIG)):
                raise InvalidInputError(
                    f"{str(folder)!r} holds a network of another training ({differs}); remove it, "
                    "or name other trainings"
                )
            network.load_state_dict(files.read_tensors(folder / MODEL))
            return network.eval()
        learn(network, run, plan.dataset)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_tensors(folder / MODEL, network.state_dict())
        # last: it says that the network is whole
        files.write_json(folder / CONFIG, run.as_dict())
        return network.eval()


def learn(network: Acting, run: TrainConfig, dataset: Dataset) -> None:
    """Train a network.

    Args:
        network: Is changed.
        run: The batches, and how fast.
        dataset: What is learnt from.
    """
    still = dataclasses.replace(run, perturbation=parse_perturbation(UPRIGHT))
    cpu = torch.device("cpu")
    batches, upright = (TrainingBatches(dataset, each, cpu) for each in (run, still))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=run.weight_decay, fused=True)
    network.train()
    for step in range(run.steps):
        for group in optimizer.param_groups:
            group["lr"] = run.rate_at(step)
        batch = batches.batch(step)
        loss = evaluation.loss_of(network(batch.images)[:, None], batch.labels).mean()
        # the first ones: a prior about poses needs fewer than a classifier
        loss = loss + network.prior(upright.batch(step).images[:_PRIOR])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        optimizer.step()
    network.eval()
