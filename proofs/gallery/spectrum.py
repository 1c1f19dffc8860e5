"""The picture of the spectral law."""

import numpy as np
from matplotlib.figure import Figure

from proofs.claims import p13_spectral_law as p13
from proofs.gallery.panels import Panel, show
from proofs.worlds import plane_maps, spectral
from proofs.worlds.packaged import stem_kernels

FILTERS = 3
"""How many of the most and of the least affected filters are drawn."""

ANGLES = np.arange(0, 181, 5)
SCALES = np.linspace(0.75, 1.5, 31)
MEASURED_ANGLES = (15, 30, 45, 60, 90, 120, 150, 180)
MEASURED_SCALES = (0.8, 0.9, 1.1, 1.2, 1.3, 1.4)


def predicted_and_measured() -> Figure:
    """P13: curves from weights and spectrum, points from forward passes.

    Returns:
        The picture.
    """
    bank = stem_kernels()
    bank = bank[(bank**2).sum(axis=(1, 2)) > 1]  # the others are switched off
    power = spectral.noise_power(spectral.frequency_grid(p13.SIDE), 0.35)
    images = [spectral.noise(p13.SIDE, 0.35, seed) for seed in range(4)]
    turns, scalings = plane_maps.rotation, plane_maps.scaling
    order = np.argsort(p13.curves(bank, power, (turns(90),))[0, 0])
    chosen = bank[[*order[-FILTERS:][::-1], *order[:FILTERS]]]
    columns = (
        ("rotation, degrees", turns, ANGLES, MEASURED_ANGLES),
        ("scaling", scalings, SCALES, MEASURED_SCALES),
    )
    drawn = Figure(figsize=(11, 7.2), layout="constrained")
    drawn.suptitle(
        "P13. Curves: predicted from the stem's weights and the spectrum of 1/f noise, no forward "
        "pass.\nPoints: measured. Above the linear layer, below after ReLU (P13b). The filters "
        "most and least affected by a quarter turn.",
        fontsize=11,
        x=0.01,
        ha="left",
    )
    left, right = drawn.subfigures(1, 2, squeeze=False, width_ratios=[1, 6])[0]
    colours = [f"C{k}" for k in range(2 * FILTERS)]
    for k, (axis, kernel) in enumerate(zip(left.subplots(2 * FILTERS, 1), chosen, strict=True)):
        title = "most" if k < FILTERS else "least"
        show(Panel(values=kernel, title=f"{title} affected", extent=None), axis)
        for spine in axis.spines.values():
            spine.set(color=colours[k], linewidth=3)
    axes = right.subplots(2, 2, sharex="col")
    for column, (name, build, values, measured_at) in enumerate(columns):
        curve = p13.curves(chosen, power, tuple(build(float(v)) for v in values))
        transforms = [build(float(v)) for v in measured_at]
        points = spectral.measured_residuals(images, chosen, transforms, negatives=True)
        for row, kind in enumerate(("linear", "after ReLU")):
            axis = axes[row, column]
            for k, colour in enumerate(colours):
                axis.plot(values, curve[row, :, k], color=colour)
                axis.plot(measured_at, points[row, :, k], "o", color=colour, ms=4)
            axis.set_ylabel(f"relative residual, {kind}" if column == 0 else "")
            axis.set_xlabel(name if row == 1 else "")
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    return drawn
