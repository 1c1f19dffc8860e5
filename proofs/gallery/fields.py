"""Pictures of images and feature maps on the plane."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from proofs.claims import p03_covariance_pins_the_warp as p03
from proofs.claims import p11_depth_does_not_help as p11
from proofs.claims import p15_deep_features_may_steer as p15
from proofs.gallery.panels import figure, grid, of_plane
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Layer, Network, image_moved
from proofs.worlds.gaussians import GaussianSum, gaussian
from proofs.worlds.stencils import Bump, Scene, Stencil, StencilNetwork, felt


def letter() -> GaussianSum:
    """An image without any symmetry: two strokes, like an L.

    Returns:
        The image.
    """
    upright = gaussian(1.0, (-0.6, 0.0), np.diag([0.08, 1.0]))
    foot = gaussian(1.0, (0.3, 1.4), np.diag([0.5, 0.06]))
    return upright + foot


def edge_filter() -> GaussianSum:
    """A filter that answers to upright strokes.

    Returns:
        The filter.
    """
    return gaussian(1.0, (-0.3, 0), np.diag([0.1, 0.4])) - gaussian(
        1.0, (0.3, 0), np.diag([0.1, 0.4])
    )


def one_layer(filter_: GaussianSum) -> Network:
    """A linear layer of one channel.

    Args:
        filter_: l.

    Returns:
        f -> f * l.
    """
    return Network((Layer(((filter_,),)),))


def input_moved_back() -> Figure:
    """P2: the features return if the input does.

    Returns:
        The picture.
    """
    f, h, network = letter(), plane_maps.shear(0.75), one_layer(edge_filter())
    moved = f.moved(h)
    restored = moved.moved(plane_maps.inverse(h))
    before, after, again = (network.maps((g,))[0] for g in (f, moved, restored))
    limit = float(np.abs(before(plane_maps.move(h, before.means))).max()) * 2
    return figure(
        "P2. Whatever a shear does to the features (below), moving the input back restores them.",
        [
            [
                of_plane(f, "image f"),
                of_plane(moved, "sheared, T_h f"),
                of_plane(restored, "sheared back"),
            ],
            [
                of_plane(before, "features of f", limit),
                of_plane(after, "features of T_h f", limit),
                of_plane(again, "features of the restored image", limit),
            ],
        ],
    )[0]


def warp_found() -> Figure:
    """P3: the warp solved for from features, beside the warp that theory leaves.

    Returns:
        The picture.
    """
    image = tuple(gaussian(1.0, m, 1.0) for m in ((0.0, -1.0), (1.0, 0.6), (-1.0, 0.5)))
    h, centre = plane_maps.rotation(60), np.array([0.8, 0.3])
    case = p03.Case(image, h, 0.5, centre)
    found = p03.found_warp(case)
    x = p03.POSITIONS
    total = image[0] + image[1] + image[2]
    drawn, axes = figure(
        "P3. Arrows go from each position to the one in the turned image's maps whose features "
        "match: exactly the rotation by 60 degrees (rings), up to one shift.",
        [
            [
                of_plane(total, "image: one blob in each of three channels"),
                of_plane(total.moved(h), "turned; ring: h x + b, cross: found"),
            ]
        ],
    )
    expected = plane_maps.move(h, x) + centre - h @ centre
    axes[0][0].plot(*x.T, "k+", ms=10, mew=2)
    for start, end in zip(x, found, strict=True):
        axes[0][1].annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 1.2})
    axes[0][1].plot(*expected.T, "o", ms=13, mfc="none", mec="k")
    axes[0][1].plot(*found.T, "kx", ms=7, mew=1.5)
    return drawn


def isotropic_and_oriented() -> Figure:
    """P4: a channel that commutes with the rotation, and one that does not.

    Returns:
        The picture.
    """
    f, h = letter(), plane_maps.rotation(60)
    rows = []
    for name, filter_ in (
        ("isotropic", gaussian(1.0, (0, 0), 0.1) - gaussian(0.25, (0, 0), 0.4)),
        ("oriented", edge_filter()),
    ):
        network = one_layer(filter_)
        moved_map = network.maps((f,))[0].moved(h)
        map_of_moved = network.maps((f.moved(h),))[0]
        limit = float(np.abs(map_of_moved(grid())).max())
        rows.append([
            of_plane(filter_, f"{name} filter"),
            of_plane(map_of_moved, "G T_h f: turn, then filter", limit),
            of_plane(moved_map, "T_h G f: filter, then turn", limit),
            of_plane(map_of_moved - moved_map, "difference", limit),
        ])
    return figure(
        "P4. A warp aligns exactly the channels that commute with the rotation: an isotropic "
        "filter leaves no difference; an oriented one leaves one that no turning undoes.",
        rows,
    )[0]


def window_shrinks() -> Figure:
    """P10: two images that differ, and look the same to the unit once they are magnified.

    Returns:
        The picture.
    """
    s, radius = 2.0, 1.2
    angles = np.radians(np.arange(0, 360, 60))
    ring = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    network = StencilNetwork((Stencil(ring, np.full((1, 1, 6), 1 / 6)),))
    ground = gaussian(0.8, (-0.2, 0.1), 0.15)
    x = np.zeros(2)
    first = Scene(ground)
    second = Scene(ground, Bump(-ring[0], radius - radius / s))
    titles = ("f_1", "f_2", "f_1 magnified by 2", "f_2 magnified by 2")
    scenes = (first, second, first.scaled(s), second.scaled(s))
    drawn, axes = figure(
        "P10. The unit reads the image at the dots. On f_1 and f_2 it differs; magnified, the bump "
        "has left its receptive field (dashed), and no map of the channels can bring it back.",
        [
            [
                of_plane(scene, f"{title}: feature {network(scene, x[None])[0, 0]:.3f}", 1.0)
                for scene, title in zip(scenes, titles, strict=True)
            ]
        ],
    )
    for axis in axes[0]:
        axis.add_patch(Circle((0, 0), radius, fill=False, ls="--"))
        axis.plot(*-ring.T, "k.", ms=5)
    for axis in axes[0][:2]:
        axis.add_patch(Circle((0, 0), radius / s, fill=False, ls=":", ec="tab:green", lw=1.5))
    return drawn


def innermost_tap() -> Figure:
    """P11: windows that shrink to below the innermost tap.

    Returns:
        The picture.

    Raises:
        AssertionError: the network drawn here has no witness, though it filters space.
    """
    s = 2.0
    taps = np.array([[0.0, 0.0], [0.9, 0.4], [-1.2, 0.8]])
    deep = np.array([[0.0, 0.0], [0.3, -1.0]])
    network = StencilNetwork((
        Stencil(taps, np.ones((1, 1, 3)) / 3),
        Stencil(deep, np.ones((1, 1, 2)) / 2),
    ))
    case = p11.Case(network, gaussian(0.8, (1.5, 1.5), 0.3), s, np.zeros(2), np.zeros(2))
    found = p11.witness(case)
    if found is None:
        raise AssertionError("no witness for the network drawn here")
    first, second, n = found
    radius = float(np.linalg.norm(network.taps()[-1]))
    panels = []
    for k in range(n + 1):
        a, b = first.scaled(s**k), second.scaled(s**k)
        seen = felt(network, a, b, case.x)
        name = "f_2" if k == 0 else f"f_2 magnified {k} x by 2"
        panels.append(of_plane(b, f"{name}: differs from f_1's feature by {seen:.3f}", 1.0))
    drawn, axes = figure(
        "P11. A two-layer network reads at the dots, within R (dashed). Aligned under scaling, it "
        "could depend only on the dotted windows, R / 2^n: the innermost tap contradicts that.",
        [panels],
    )
    for axis in axes[0]:
        axis.add_patch(Circle((0, 0), radius, fill=False, ls="--"))
        axis.plot(*-network.taps().T, "k.", ms=5)
    for k in range(1, n + 1):
        axes[0][0].add_patch(
            Circle((0, 0), radius / s**k, fill=False, ls=":", ec="tab:green", lw=1.5)
        )
    return drawn


def steered_not_moved() -> Figure:
    """P15: the same prediction, applied to the input and to the features.

    Returns:
        The picture.
    """
    first = gaussian(1.0, (0.9, 0.2), np.diag([0.1, 0.5]))
    second = gaussian(-1.0, (-0.4, 1.0), np.diag([0.6, 0.08]))
    image = (first, second)
    bank = (
        (gaussian(1.0, (0.3, 0), 0.4), gaussian(-0.3, (0, 0.2), 0.3)),
        (gaussian(0.4, (0, -0.3), 0.3), gaussian(1.0, (0.1, 0.2), 0.5)),
    )
    shared, network = Network((Layer(bank),)), Network((Layer(((edge_filter(), edge_filter()),)),))
    h = plane_maps.shear(0.8) @ plane_maps.rotation(30)
    moved = image_moved(image, h)
    predicted = p15.predicted_pose(shared.maps(moved), shared) @ plane_maps.inverse(
        p15.predicted_pose(shared.maps(image), shared)
    )
    restored = image_moved(moved, plane_maps.inverse(predicted))
    reference = network.maps(image)[0]
    limit = float(np.abs(reference(reference.means)).max()) * 1.1
    error = np.abs(predicted - h).max()
    return figure(
        f"P15. The localizer reads h off shared features, right to {error:.0e}. Moving the input "
        "by it restores the classifier's features; moving the features by it does not.",
        [
            [
                of_plane(lambda p: first(p) + second(p), "image f"),
                of_plane(lambda p: moved[0](p) + moved[1](p), "transformed, T_h f"),
                of_plane(reference, "classifier's features of f", limit),
                of_plane(network.maps(restored)[0], "input moved back", limit),
                of_plane(
                    network.maps(moved)[0].moved(plane_maps.inverse(predicted)),
                    "features moved back",
                    limit,
                ),
            ]
        ],
    )[0]
