"""Where the plain statement of a claim needed a condition: each shown by an example."""

import numpy as np
import pytest
import torch

from proofs.claims import p05_linear_criterion as p05
from proofs.claims import p10_receptive_field as p10
from proofs.claims import p12_pooling_over_the_orbit as p12
from proofs.claims import p15_deep_features_may_steer as p15
from proofs.claims import p16_iterate_by_composing as p16
from proofs.worlds import defects, plane_maps
from proofs.worlds.gaussian_networks import Layer, Network, image_moved, probes
from proofs.worlds.gaussians import gaussian, warped_back
from proofs.worlds.lattice import QUARTER_TURNS, Conv, relative_gap
from proofs.worlds.lattice import shifted as rolled
from proofs.worlds.stencils import Bump, Scene, Stencil, StencilNetwork


def test_p5_needs_the_shift_in_the_continuum() -> None:
    """A filter isotropic about c != 0 is alignable, though l(h y) abs(det h) != l(y)."""
    c, h = np.array([1.0, 0.5]), plane_maps.rotation(30)
    l_ = gaussian(1.0, c.tolist(), 0.5)
    image = (gaussian(1.0, (0.3, 0.7), np.array([[1.0, 0.3], [0.3, 0.5]])),)
    gap, scale = p05.misalignment(l_, image, h, c - h @ c)
    assert gap <= 1e-14 * scale
    assert defects.pointwise_defect(l_, h) > 0.1


def test_p5_needs_the_shift_on_the_lattice() -> None:
    """The same for a kernel whose centre of symmetry is not the middle of its window."""
    kernel = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    kernel[..., 1:4, 2:5] = torch.tensor([[1.0, 2, 1], [2, 5, 2], [1, 2, 1]])
    image = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    image[..., 6, 7], image[..., 8, 6] = 1, -2
    conv, turn = Conv(kernel, padding=2), QUARTER_TURNS[1]
    moved, reference = turn.inverse()(conv(turn(image))), conv(image)
    assert relative_gap(moved, reference) > 0.1
    gaps = [
        relative_gap(rolled(moved, x, y), reference) for x in range(-2, 3) for y in range(-2, 3)
    ]
    assert min(gaps) == 0


def test_p5_and_p11_are_about_warps_that_do_not_see_the_image() -> None:
    """One Gaussian channel, magnified: a warp chosen for the image reaches every value."""
    l_, h = gaussian(1 / (2 * np.pi)), plane_maps.scaling(2)
    image = (gaussian(1.0, (0.5, 0), 0.3) + gaussian(-0.7, (-1, 0.4), 0.6),)
    layer = Network((Layer(((l_,),)),))
    side = np.linspace(-6, 6, 201)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    wanted = layer(image, grid)
    offered = layer(tuple(f.moved(h) for f in image), 2 * grid)
    assert np.abs(wanted - offered).max() > 0.05  # the fixed warp does not align
    assert offered.min() <= wanted.min()
    assert wanted.max() <= offered.max()
    assert defects.pointwise_defect(l_, h) > 0.1
    # the wide filter is the narrow one, blurred: the reason for the two inequalities
    rest = gaussian(1 / (2 * np.pi * 0.75), (0, 0), 0.75)
    again = warped_back(l_, h).convolved(rest)
    assert again(grid) == pytest.approx(l_(grid), abs=1e-14)


@pytest.mark.parametrize("offsets", [[(-0.75, 0.0), (0.75, 0.0)], [(0.5, 0.25), (0.25, 0.0)]])
def test_p11_needs_the_centre(offsets: list[tuple[float, float]]) -> None:
    """A network that only shifts, at any depth, is alignable under scaling by s x + (1 - s) c."""
    layers = tuple(Stencil(np.array([p]), np.ones((1, 1, 1))) for p in offsets)
    network, s, c = StencilNetwork(layers), 2.0, np.sum(offsets, axis=0)
    image, x = Scene(gaussian(1.0, (0.3, 0.1), 0.5)), probes(1.0)
    reference = network(image, x)
    assert network(image.scaled(s), s * x + (1 - s) * c) == pytest.approx(reference, abs=1e-14)
    without = network(image.scaled(s), s * x)
    assert (np.abs(without - reference).max() > 0.1) == bool(c.any())


def test_p12_collections_agree_but_maps_do_not() -> None:
    """Turning a part leaves the collection of pooled features, not the map pixel by pixel."""
    kernel = torch.tensor([[[[0.0, 0, 0], [0, -1, 1], [0, 0, 0]]]], dtype=torch.float64)
    part = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    part[..., 2, :] = 1
    case = p12.PartsCase(kernel, part, part, 1)
    first, second = (p12.pooled(p12.extractor(kernel)(image), 4) for image in p12.scenes(case))
    assert relative_gap(first, second) > 0.5
    assert p12.orientation_residual(case) == 0
    assert p12.unpooled_residual(case) > 0.5


def test_p3_and_p4_need_images_closed_under_shifts() -> None:
    """Positions relative to the image's centroid are aligned by no motion, if all are centred."""
    h, x = plane_maps.rotation(30), probes(1.0)
    centred = gaussian(1.0, (0, 0), np.array([[1.0, 0.3], [0.3, 0.5]]))

    def offsets(image):  # covariant, separates points
        return x - p15.first_moment(image) / image.integral()

    assert offsets(centred.moved(h)) == pytest.approx(offsets(centred), abs=1e-14)  # by phi(x) = x
    assert np.abs(plane_maps.move(h, x) - x).max() > 0.1  # which is not h x + b, for any b
    assert np.ptp(plane_maps.move(h, x) - x, axis=0).max() > 0.1
    shifted = centred.shifted(np.array([1.0, 0.5]))
    assert np.abs(offsets(shifted.moved(h)) - offsets(shifted)).max() > 0.1


def test_p10_needs_neither_the_least_radius_nor_covariance() -> None:
    """With R = 1.5 for an extractor of radius 1 that knows its place, s = 2 hides a difference."""
    x, e, s, radius = np.array([2.0, 0.0]), np.array([1.0, 0.0]), 2.0, 1.5
    window = p10.window_radius(radius, s)
    assert window < np.linalg.norm(e) < radius
    plain = Scene(gaussian(1.0, (0.3, 0.1), 0.5))
    bumped = Scene(plain.ground, Bump(x - e, 1 - window))

    def features(image, at):
        return at[0] * (image(at[None]) - image((at - e)[None]))[0]

    assert abs(features(plain, x) - features(bumped, x)) > 0.1
    assert features(plain.scaled(s), s * x) == features(bumped.scaled(s), s * x)


def test_p11_reaches_a_neighbourhood_and_not_always_the_point() -> None:
    """The limit from the right is aligned under scaling by 2, and reads more than f(x)."""

    def limit(image, x):
        (value,) = {image(x + 2.0**-n) for n in range(20, 45)}
        return value

    def step(y):
        return float(y > 0)

    for x in (-0.5, 0.0, 0.25):
        assert limit(lambda y: step(y / 2), 2 * x) == limit(step, x)
    assert step(0.0) == 0
    assert limit(step, 0.0) == 1  # and 0 for a dark image, which is the same at 0


def test_p15_no_prediction_is_right_for_every_image() -> None:
    """Of an image that a reflection keeps, the predicted pose is singular: no q = h q else."""
    h = np.diag([1.0, -1.0])
    image = (gaussian(1.0, (1, 0), 0.5), gaussian(-0.7, (-0.5, 0), 0.25))
    bank = ((gaussian(1.0), gaussian(0.5, (1, 1))), (gaussian(-0.5), gaussian(2.0, (0, 1))))
    shared = Network((Layer(bank),))
    x = probes()
    for f, moved in zip(image, image_moved(image, h), strict=True):
        assert moved(x) == pytest.approx(f(x), abs=1e-15)
    pose = p15.predicted_pose(shared.maps(image), shared)
    assert abs(np.linalg.det(pose)) < 1e-12
    assert np.abs(pose).max() > 0.5


def test_p16_a_few_steps_can_leave_more_than_one() -> None:
    """At w = pi four shifts by 1/8 leave (3/4)^4, one by 1/2 nothing; elsewhere steps lose."""
    case = p16.GridCase(waves=(p16.SIDE // 2, 0), eighths=(1, 0), n=4)
    assert p16.amplitudes(case) == pytest.approx((0.75**4, 0), abs=1e-14)
    assert (p16.gain_of_steps(case), p16.gain_of_composition(case)) == pytest.approx((0.75**4, 0))
    # once nothing is left, nothing more is lost: the gain is 0, and does not fall strictly
    gone = p16.GridCase(waves=(p16.SIDE // 2, 0), eighths=(4, 0), n=2)
    assert p16.amplitudes(gone)[0] == pytest.approx(0, abs=1e-14)
    for wave in range(1, p16.SIDE // 2):
        w = 2 * np.pi * wave / p16.SIDE
        enough = int(np.ceil(np.log(p16.gain(0.5, w)) / np.log(p16.gain(0.125, w)))) + 1
        assert p16.gain(0.125, w) ** enough < p16.gain(0.5, w)
