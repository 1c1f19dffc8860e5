"""P3. Translation covariance leaves only the inverse of the input's own transformation.

Statement. Let the class of images contain every shift of its own images, and what h and h^-1 make
of them. Let G be translation covariant and let its outputs separate points: for any two positions p
and q there is an image whose features differ between them. If one warp phi, the same for all
images, aligns G under h, (G T_h f)(phi(x)) = (G f)(x), then phi(x) = h x + b.

Proof. First, T_h D_d = D_(h d) T_h, since both turn f into f(h^-1 x - d). Apply the alignment to
the shifted image D_d f:

    (G T_h D_d f)(phi(x)) = (G D_d f)(x).

On the left, G T_h D_d f = G D_(h d) T_h f = D_(h d) G T_h f, so it is (G T_h f)(phi(x) - h d). On
the right there is (G f)(x - d), which by the alignment at x - d equals (G T_h f)(phi(x - d)).
Hence G T_h f takes the same values at phi(x) - h d and at phi(x - d), for every f. As f runs
through all images so does T_h f, and outputs separate points, so the two positions are one:
phi(x - d) = phi(x) - h d. With d = x this reads phi(x) = h x + phi(0). QED

The class must be closed. G f(x) = x - (centroid of f) is covariant and separates points. Of images
with centroid 0, a class without shifts, phi(x) = x aligns it under every h; shifted images tell.

Separating points costs nothing, if images can be glued: two of them, in windows that are apart, are
one image of the class. Suppose that a semi-local, translation covariant G does not
separate p and q = p + v. By covariance (G f)(x) = (G f)(x + v) for all f and x, hence
(G f)(0) = (G f)(n v) for every n. For n |v| > 2 R the two windows are disjoint, and an image can
equal f_1 in one and f_2, shifted by n v, in the other: (G f_1)(0) = (G f_2)(0) for all f_1, f_2.
Such a G is constant. Every other semi-local G separates points.

Check. Alignable extractors are drawn: isotropic filters about a common centre c (for rotations and
reflections), or channels that do not filter space (for any h). The warp is then solved for from
feature values alone, without using h. The image has three channels, one blob of the same shape in
each, their centres not on a line: the logarithms of the ratios of two features are then affine
functions of the position, two of them fix it, and the position in G T_h f whose features match
those of G f at x solves two linear equations. What is found must differ between two positions by
h times their difference, and all features must agree there.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from proofs.claim import COMPANION, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import (
    covariances,
    linear_maps,
    nonzero_quarters,
    reflections,
    rotations,
    vectors,
)
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Image, image_moved
from proofs.worlds.gaussians import gaussian
from proofs.worlds.plane_maps import Matrix, Points, Vector

POSITIONS = np.array([[0.0, 0.0], [1.5, -0.75], [-1.0, 1.5]])
CORNER = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


@dataclass(frozen=True)
class Case:
    """An image, a linear map, and an extractor that it aligns.

    Args:
        image: K channels, so that the features are K numbers at every point.
        h: linear map.
        spread: variance of the isotropic filter of every channel; 0 means no filter.
        centre: centre of the filters.
    """

    image: Image
    h: Matrix
    spread: float
    centre: Vector


@st.composite
def alignable_cases(draw: DrawFn) -> Case:
    """Extractors that some warp aligns."""
    means = [draw(vectors(), f"centre of blob {k}") for k in range(3)]
    assume(abs(np.linalg.det(np.array([means[1] - means[0], means[2] - means[0]]))) > 0.5)
    shape = draw(covariances(), "shape of the blobs")
    image = tuple(gaussian(draw(nonzero_quarters()), m.tolist(), shape) for m in means)
    if draw(st.booleans(), "filters space"):
        h = draw(rotations() | reflections(), "h")
        spread = draw(st.sampled_from([1.0, 0.5, 0.25]), "spread")
        return Case(image, h, spread, draw(vectors(1), "centre"))
    return Case(image, draw(linear_maps(), "h"), 0.0, np.zeros(2))


def predicted_displacement(h: Matrix, step: Points) -> Points:
    """How far the warp's target moves when its argument moves: by h times as far."""
    return plane_maps.move(h, step)


def features(image: Image, case: Case) -> Image:
    """The feature maps that the extractor of a case makes of an image."""
    if case.spread == 0:
        return image
    return tuple(f.convolved(gaussian(1.0, case.centre.tolist(), case.spread)) for f in image)


def log_ratios(maps: Image, points: Points) -> Points:
    """Logarithms of the ratios of the second and third feature to the first.

    Args:
        maps: three feature maps.
        points: positions, n x 2.

    Returns:
        n x 2.
    """
    values = np.abs(np.column_stack([m(points) for m in maps]))
    ratios: Points = np.log(values[:, 1:] / values[:, :1])
    return ratios


def found_warp(case: Case) -> Points:
    """The warp, solved for from feature values: where the moved image's features match.

    Returns:
        phi at `POSITIONS`, n x 2; infinite if the features do not all agree there.
    """
    reference = features(case.image, case)
    moved = features(image_moved(case.image, case.h), case)
    origin, right, down = log_ratios(moved, CORNER)
    slopes = np.column_stack([right - origin, down - origin])
    phi: Points = np.linalg.solve(slopes, (log_ratios(reference, POSITIONS) - origin).T).T
    wanted = np.column_stack([m(POSITIONS) for m in reference])
    offered = np.column_stack([m(phi) for m in moved])
    agree = np.abs(offered - wanted).max() < 1e-9 * np.abs(wanted).max()
    return phi if agree else np.full_like(phi, np.inf)


def residual(case: Case) -> float:
    """The warp that was found against phi(x) - phi(0) = h x.

    Returns:
        Largest deviation in units of the image plane; infinite if no warp was found.
    """
    phi = found_warp(case)
    return float(np.abs(phi - phi[0] - predicted_displacement(case.h, POSITIONS)).max())


def pulled_residual(case: Case) -> float:
    """The same for the inverse of h in place of h."""
    phi = found_warp(case)
    return float(
        np.abs(phi - phi[0] - plane_maps.move(plane_maps.inverse(case.h), POSITIONS)).max()
    )


CLAIM = Claim(
    id="P3",
    title="covariance pins the warp",
    statement="If one warp, the same for all images, aligns a translation covariant extractor that "
    "separates points, it is h itself up to a shift.",
    formula="(G T_h f)(phi(x)) = (G f)(x) for all f  =>  phi(x) = h x + b",
    assumptions=(
        "G D_d = D_d G",
        "G separates points; automatic for a semi-local G that is not constant, if images can be "
        "glued",
        "phi does not depend on the image",
        "the images are closed under shifts and h",
    ),
    sources=(Source(COMPANION),),
    proof=__doc__,
    formal=Formal(theorem="p03_covariance_pins_the_warp.P3_covariance_pins_the_warp"),
    settings=(
        Setting(
            name="continuum",
            cases=alignable_cases(),
            residual=residual,
            tolerance=1e-9,
            why="logarithms of features near 1e-10 of the blobs' peak, divided by the slopes",
            control=Control(
                statement="the warp is the inverse of h up to a shift",
                residual=pulled_residual,
            ),
        ),
    ),
)
