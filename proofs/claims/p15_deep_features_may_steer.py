"""P15. Deep features may say how to move the image, as long as the image is what moves.

Statement. Let a localizer predict a linear map from deep, shared features of the image it is given,
whatever these features are. If what it predicts for T_h f is h times what it predicts for f, then
for this image and this map transforming the *input* by the inverse of the prediction aligns
exactly: the classifier's features of the two aligned images are equal.

Proof. Write q(f) for the prediction and a(f) = T_(q(f)^-1) f for the aligned image. If
q(T_h f) = h q(f), then a(T_h f) = T_(q(f)^-1 h^-1) T_h f = T_(q(f)^-1) f = a(f), since
T_k T_h = T_(k h) (P2). The same input gives the same features: G a(T_h f) = G a(f), whatever G is.
The features from which q was computed need not be invariant, and need not be aligned by any warp:
they were read, and nobody moved them. QED

To be right is a condition on the pair (f, h), and no localizer meets it for all. Where T_h f = f, a
disc under a rotation, q(T_h f) = q(f), and this is h q(f) for an invertible q(f) only if h = I.

That right predictions can come from features that no warp aligns is shown by construction. A
linear layer sends the moments of the image to moments of the maps: the integral of f * l is the
product of the integrals, its first moment is (integral of l)(moment of f) + (moment of l)(integral
of f). Knowing the weights, a localizer can solve the maps' moments for the centroids of the
image's two channels; the matrix with these two centroids as columns is multiplied by h when the
image is moved by h, for every linear h, also a shear, under which no filter is alignable (P6).
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from proofs.claim import ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import gaussian_sums, images, linear_maps, networks
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Image, Layer, Network, feature_gap, image_moved, probes
from proofs.worlds.gaussians import GaussianSum
from proofs.worlds.plane_maps import Matrix, Vector


@dataclass(frozen=True)
class Case:
    """Shared layers, a classifier on top of the input, an image and a linear map.

    Args:
        shared: linear layers from two channels to two, read by the localizer.
        classifier: any network.
        image: two channels.
        h: linear map.
    """

    shared: Network
    classifier: Network
    image: Image
    h: Matrix


@st.composite
def cases(draw: DrawFn) -> Case:
    """Networks and images with a pose that can be told."""
    bank = tuple(
        tuple(draw(gaussian_sums(), f"filter {c}, {k}") for k in range(2)) for c in range(2)
    )
    assume(abs(np.linalg.det(integrals(bank))) > 1)
    image = draw(images(2, 1), "image")
    assume(abs(np.linalg.det(np.column_stack([f.means[0] for f in image]))) >= 0.25)
    classifier = draw(networks(2), "classifier")
    return Case(Network((Layer(bank),)), classifier, image, draw(linear_maps(), "h"))


def integrals(bank: tuple[tuple[GaussianSum, ...], ...]) -> Matrix:
    """The integrals of the filters of a 2 x 2 bank."""
    return np.array([[f.integral() for f in row] for row in bank])


def first_moment(f: GaussianSum) -> Vector:
    """The integral of x f(x), 0 for the zero function."""
    masses = f.amplitudes * 2 * np.pi * np.sqrt(np.linalg.det(f.covariances))
    moment: Vector = masses @ f.means
    return moment


def predicted_pose(features: Image, shared: Network) -> Matrix:
    """The localizer: it sees the shared features and their weights, never the image.

    Args:
        features: maps of the shared layer.
        shared: the layer.

    Returns:
        q, whose columns are the centroids of the image's two channels.
    """
    bank = shared.layers[0].filters
    weights = integrals(bank)
    moments = np.array([[first_moment(f) for f in row] for row in bank])
    masses = np.linalg.solve(weights, np.array([m.integral() for m in features]))
    raw = np.array([first_moment(m) for m in features])
    own = np.linalg.solve(weights, raw - np.einsum("ckd,k->cd", moments, masses))
    pose: Matrix = (own / masses[:, None]).T
    return pose


def aligned_input(image: Image, shared: Network) -> Image:
    """T_(q^-1) f, q what the localizer predicts for the image."""
    return image_moved(image, plane_maps.inverse(predicted_pose(shared.maps(image), shared)))


def residual(case: Case) -> float:
    """The classifier's features of the two aligned inputs."""
    first = aligned_input(case.image, case.shared)
    second = aligned_input(image_moved(case.image, case.h), case.shared)
    return feature_gap(case.classifier, first, probes(), second, probes())


def moved_features_residual(case: Case) -> float:
    """The same with the right parameters applied to the features instead of the input.

    Returns:
        Relative gap between G T_h f, warped by the predicted h, and G f.
    """
    moved = image_moved(case.image, case.h)
    here = predicted_pose(case.shared.maps(moved), case.shared)
    there = predicted_pose(case.shared.maps(case.image), case.shared)
    predicted = here @ plane_maps.inverse(there)
    x = probes()
    return feature_gap(case.classifier, moved, plane_maps.move(predicted, x), case.image, x)


CLAIM = Claim(
    id="P15",
    title="deep features may steer, but not be moved",
    statement="Transforming the input with parameters predicted from deep, shared features aligns "
    "exactly wherever the prediction is right for image and map, whatever the features are.",
    formula="q(T_h f) = h q(f)  =>  G T_(q(T_h f)^-1) T_h f = G T_(q(f)^-1) f",
    assumptions=(
        "the prediction is right for this image and map: q(T_h f) = h q(f)",
        "q(f) invertible",
    ),
    sources=(Source(ICPR, "STN architectures, shared localization"),),
    proof=__doc__,
    formal=Formal(theorem="p15_deep_features_may_steer.P15_deep_features_may_steer"),
    settings=(
        Setting(
            name="continuum",
            cases=cases(),
            residual=residual,
            tolerance=1e-9,
            why="two linear systems are solved; their condition numbers may reach 1e4",
            control=Control(
                statement="the right parameters align the feature maps as well",
                residual=moved_features_residual,
            ),
        ),
    ),
)
