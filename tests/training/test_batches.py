"""What a step is trained on, and what every variant is tested on."""

import torch

from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.training.batches import (
    TEST,
    VALIDATION,
    StoredBatches,
    TrainingBatches,
    stored_clutter,
    stored_poses,
)
from tests.training import tiny


def test_the_poses_of_the_test_images_are_fixed() -> None:
    """The stored poses and clutter are these, whatever else was drawn, and longer lists go on."""
    torch.manual_seed(123)
    torch.rand(7)
    rotation = stored_poses(parse_perturbation("rotation"), 1000, 28, TEST)
    scaling = stored_poses(parse_perturbation("scaling"), 1000, 28, TEST)
    translation = stored_poses(parse_perturbation("translation"), 1000, 28, TEST)
    torch.testing.assert_close(rotation[:3, 0], torch.tensor(ROTATIONS), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaling[:3, 0], torch.tensor(SCALINGS), atol=1e-5, rtol=0)
    assert translation[:3].tolist() == TRANSLATIONS
    for text in ("rotation", "translation"):
        perturbation = parse_perturbation(text)
        ten = stored_poses(perturbation, 10, 28, TEST)
        assert torch.equal(ten, stored_poses(perturbation, 10_000, 28, TEST)[:10])
        assert not torch.equal(ten, stored_poses(perturbation, 10, 28, VALIDATION))
    clutter = stored_clutter(parse_perturbation("translation"), 100, 28, TEST)
    assert clutter is not None
    assert clutter[0, 0].tolist() == CLUTTER
    assert stored_clutter(parse_perturbation("translation=clean"), 100, 28, TEST) is None
    assert stored_clutter(parse_perturbation("rotation"), 100, 28, TEST) is None


ROTATIONS = [88.8305, -79.9199, 78.8918]
SCALINGS = [1.98051, -0.832, 1.81486]
TRANSLATIONS = [[16.0, -15.0], [14.0, -11.0], [2.0, 6.0]]
CLUTTER = [53, 0, 0, 6, 47, 25]


def test_every_image_comes_once_before_any_twice() -> None:
    """Epochs are permutations, also where a batch spans two of them."""
    config = tiny.config(batch=20)
    batches = TrainingBatches(tiny.dataset(train=50), config, tiny.CPU)
    samples = torch.cat([batches.samples(step) for step in range(5)])
    for epoch in range(2):
        part = samples[50 * epoch : 50 * (epoch + 1)]
        assert sorted(part.tolist()) == list(range(50))
    assert samples[:50].tolist() != samples[50:].tolist()
    again = TrainingBatches(tiny.dataset(train=50), config, tiny.CPU)
    assert torch.equal(again.batch(3).images, batches.batch(3).images)
    assert not torch.equal(batches.batch(3).poses, batches.batch(4).poses)


def test_images_are_shown_in_as_many_poses_as_are_asked_for() -> None:
    """The first pose of each is the one it has alone; in the second only the pose differs."""
    dataset, perturbation = tiny.dataset(), RandomRotation()
    once, twice = (
        StoredBatches(
            dataset.test, dataset, perturbation, which=TEST, size=7, device=tiny.CPU, poses=poses
        )
        for poses in (1, 2)
    )
    assert (once.images, once.count, twice.images, twice.count) == (
        len(dataset.test),
        len(dataset.test),
        len(dataset.test),
        2 * len(dataset.test),
    )
    shown = [twice.batch(number) for number in range(len(twice))]
    labels = torch.cat([batch.labels for batch in shown])
    poses = torch.cat([batch.poses for batch in shown])
    assert torch.equal(labels, dataset.test.labels.repeat(2, 1))
    assert torch.equal(
        poses[: once.count], torch.cat([once.batch(number).poses for number in range(len(once))])
    )
    assert not (poses[: once.count] == poses[once.count :]).any()
    cluttered = stored_clutter(parse_perturbation("translation"), 50, 28, TEST, poses=2)
    assert cluttered is not None
    # no image clutters itself, in either pose
    assert not (cluttered[:, :, 0] == (torch.arange(100) % 50)[:, None]).any()
