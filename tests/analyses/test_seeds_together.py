"""Seeds that learn as one model learn what they learn alone."""

import pytest
import torch
import torch.nn.functional as F

from analyses.papers_network import PlainTransformer
from analyses.seeds_together import Graphed, Learner

CPU = torch.device("cpu")


@pytest.mark.parametrize("variant", ["cnn", "c0"])
def test_seeds_learn_together_what_a_plain_loop_learns(variant: str) -> None:
    """Losses and answers equal those of torch's own optimizer, network by network."""
    seeds = [3, 8]
    together = Learner(variant, seeds, rate=0.05, device=CPU)
    images = torch.rand(3, 2, 6, 1, 28, 28)
    labels = torch.randint(0, 10, (3, 2, 6))
    got = torch.stack([together.step(*batch) for batch in zip(images, labels, strict=True)], dim=1)
    for place, seed in enumerate(seeds):
        torch.manual_seed(seed)
        network = PlainTransformer(variant)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        for step in range(3):
            loss = F.cross_entropy(network(images[step, place]), labels[step, place])
            torch.testing.assert_close(got[place, step], loss.detach(), rtol=1e-4, atol=1e-5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            want = network(images[0, place])
            said = together.logits(images[0])[place]
        torch.testing.assert_close(said, want, rtol=1e-3, atol=1e-4)
    # seeds and images differ, so that a mix-up would show
    assert (got[0] - got[1]).abs().min() > 1e-4


def test_one_network_is_no_group_and_learns_the_same() -> None:
    """Alone, in single steps, a seed learns what it learns among others."""
    images, labels = torch.rand(2, 4, 1, 28, 28), torch.randint(0, 10, (2, 4))
    both = Learner("c0", [1, 2], rate=0.05, device=CPU)
    second = Learner("c0", [2], rate=0.05, device=CPU)
    for _ in range(2):
        losses, (alone,) = both.step(images, labels), second.step(images[1:], labels[1:])
        torch.testing.assert_close(losses[1], alone, rtol=1e-4, atol=1e-5)


def test_a_learner_goes_back_to_where_it_was() -> None:
    """After `restore` the same steps give the same losses, momentum and all."""
    images, labels = torch.rand(1, 4, 1, 28, 28), torch.randint(0, 10, (1, 4))
    learner = Learner("cnn", [1], rate=0.05, device=CPU)
    learner.step(images, labels)
    state = learner.state()
    first = [learner.step(images, labels) for _ in range(2)]
    learner.restore(state)
    assert first == [learner.step(images, labels) for _ in range(2)]


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_half_precision_changes_losses_by_its_rounding(seeds: list[int]) -> None:
    """In bfloat16 a step's loss is that of float32 to within 2 %, and not the same."""
    images = torch.rand(len(seeds), 16, 1, 28, 28)
    labels = torch.randint(0, 10, (len(seeds), 16))
    whole, half = (
        Learner("c0", seeds, rate=0.05, device=CPU, half=half).step(images, labels)
        for half in (False, True)
    )
    torch.testing.assert_close(half, whole, rtol=0.02, atol=0)
    assert not torch.equal(half, whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_graph_steps_as_its_learner_does(seeds: list[int]) -> None:
    """Captured and not, the same batches give the same losses."""
    device = torch.device("cuda")
    images = torch.rand(4, len(seeds), 16, 1, 28, 28, device=device)
    labels = torch.randint(0, 10, (4, len(seeds), 16), device=device)
    plain, captured = (Learner("c0", seeds, rate=0.05, device=device) for _ in range(2))
    graph = Graphed(captured, images[0], labels[0])
    for batch in zip(images, labels, strict=True):
        torch.testing.assert_close(graph.step(*batch), plain.step(*batch), rtol=1e-3, atol=1e-4)
