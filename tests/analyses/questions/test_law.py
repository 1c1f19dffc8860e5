"""The spectral law against what is measured."""

import numpy as np

from analyses.questions import law
from proofs.worlds import spectral
from tests.analyses.questions.measured import assert_answered, measured


def test_the_tiny_preset_is_answered_and_drawn() -> None:
    """Table and figure are whole."""
    assert_answered(law)


def test_the_law_holds_for_noise_and_a_wrong_prediction_is_seen() -> None:
    """The law explains noise of either spectrum; predictions of another channel do not."""
    frame = measured(law)
    table = law.summary(frame)
    noise = table[(table["images"] != law.PHOTOGRAPHS) & (table["transform"] == "all")]
    assert (noise["r_squared"] > 0.99).all()
    # at the stem's own stride the law without sampling fails
    assert (noise.loc[noise["stride"] == 2, "unsampled"] < 0.9).all()
    keys = ["images", "stride", "image", "kind", "transform", "parameter"]
    wrong = frame.assign(predicted=frame.groupby(keys, sort=False)["predicted"].shift(1))
    wrong = wrong.assign(predicted=wrong["predicted"].fillna(0.0))
    assert (law.summary(wrong)["r_squared"] < 0.8).all()


def test_the_points_are_those_of_all_images_at_once() -> None:
    """Summed errors over summed energies are what measuring the images together gives."""
    config = law.PRESETS["tiny"]
    images = [spectral.noise(law.SIDE, law.CUT, seed) for seed in range(config.images)]
    together = spectral.measured_residuals(
        images,
        law.stem_kernels(),
        [law.plane_maps.rotation(90)],
        negatives=True,
        radius=law.RADIUS,
        step=law.STEP,
    )
    points = law.points(measured(law))
    points = points[(points["images"] == law.NOISE) & (points["parameter"] == 90)]
    points = points[points["stride"] == 1]
    for row, kind in enumerate(law.KINDS):
        found = points[points["kind"] == kind].sort_values("channel")
        np.testing.assert_allclose(found["measured"], together[row, 0], rtol=1e-4)


def test_shaped_noise_has_the_spectrum_that_it_is_given() -> None:
    """The mean power of many draws is proportional to the spectrum."""
    side = 32
    power = spectral.noise_power(spectral.frequency_grid(side), 0.3)
    draws = [np.abs(np.fft.fft2(spectral.shaped_noise(power, seed))) ** 2 for seed in range(400)]
    found = np.mean(draws, axis=0).ravel()
    kept = power > 0
    ratio = found[kept] / found.sum() / (power[kept] / power.sum())
    assert abs(ratio.mean() - 1) < 0.02
    assert ratio.std() < 0.12
    assert found[~kept].max() < 1e-12 * found.max()
