"""The methods, one record each: what it moves, on which network, and what the theory says of it.

The theory: what moves the input by the right pose gives what the network sees upright, whatever the
network (P2). What moves maps does so only where the channels do not know the motion: of shifts by
whole strides (P1), of cells that see one pixel (P6), of filters or orbits that are symmetric (P7,
P12); in a network over C4 at quarter turns if the channels are rolled as well (P8). Mixing channels
by a matrix helps where they change places, and not in general.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from torch import Tensor, nn

from analyses.related import acting, by_itself, by_pose
from analyses.related.acting import Acting, Pose, trunk
from analyses.related.by_pose import Region
from analyses.related.learning import SCALED, SHIFTED, TURNED, UPRIGHT, Built, Recipe, Variant
from invariance_probe.controls import C4, OrbitPool


class Moves(StrEnum):
    """What a method moves, from what cannot help to what can."""

    NOTHING = "nothing"
    TAPS = "filter taps"
    MAP = "a map"
    CHANNELS = "a map and its channels"
    COPIES = "copies of the input"
    INPUT = "the input"


class Motions(StrEnum):
    """Motions that the theory does not tell apart."""

    QUARTERS = "quarter turns"
    BETWEEN = "turns by 30 and 60 degrees"
    SCALINGS = "scalings"
    SHIFTS = "shifts by a stride"

    @property
    def poses(self) -> tuple[Pose, ...]:
        """What is measured."""
        return tuple(Pose(motion=motion, numbers=each) for motion, each in _POSES[self])


def _both(motion: str, *sizes: float) -> tuple[tuple[str, tuple[float, ...]], ...]:
    return tuple((motion, (sign * size,)) for size in sizes for sign in (1, -1))


_POSES: dict[Motions, tuple[tuple[str, tuple[float, ...]], ...]] = {
    Motions.QUARTERS: _both(TURNED, 90.0),
    Motions.BETWEEN: _both(TURNED, 30.0, 60.0),
    Motions.SCALINGS: _both(SCALED, 0.5),
    Motions.SHIFTS: ((SHIFTED, (4.0, 0.0)), (SHIFTED, (-4.0, 4.0))),
}
PARTS = tuple(
    Pose(motion=SHIFTED, numbers=numbers)
    for numbers in ((0.0, 1.0), (1.0, 3.0), (2.0, 0.0), (3.0, 2.0))
)
"""Shifts by every part of a cell of four pixels, as often along x as along y."""
FITTED_TURNS = (-75.0, -45.0, -15.0, 15.0, 45.0, 75.0)
"""Turns that a generator is fitted at, none of them among those of the score."""
TURNS = (Motions.QUARTERS, Motions.BETWEEN)
_SCORED = tuple(pose.numbers[0] for kind in TURNS for pose in kind.poses)

View = Callable[[Acting, Tensor], Acting]
"""From a trained network and digits to fit to, to the method on it."""


def _itself(network: Acting, _: Tensor) -> Acting:
    return network


def _on_region(kind: Callable[[Region], Acting]) -> View:
    return lambda network, _: kind(_region_of(network))


def _fitted(
    fit: Callable[[Region, Tensor, Sequence[float]], Acting],
    degrees: Sequence[float],
    network: Acting,
    digits: Tensor,
) -> Acting:
    return fit(_region_of(network), digits, degrees)


def _region_of(network: Acting) -> Region:
    assert isinstance(network, Region)
    return network


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method.

    Attributes:
        name: As in the table.
        source: Where it is from; empty for controls.
        moves: What it moves.
        recipe: Name of its network.
        motions: Under which it is measured.
        aligned: Under which of these it aligns according to the theory, if the pose is right.
        given: Whether the pose is given to it. If not it acts by itself; with the true pose it is
            measured beside that.
        view: The method on its network.
    """

    name: str
    source: str
    moves: Moves
    recipe: str
    motions: tuple[Motions, ...] = TURNS
    aligned: tuple[Motions, ...] = ()
    given: bool = False
    view: View = _itself


def _region(layer: acting.Layer, width: float) -> Region:
    return Region(trunk(layer, width))


def _pooled_region(width: float) -> Region:
    return Region(nn.Sequential(trunk(acting.over_c4, width), OrbitPool(C4)))


def _on_plain(kind: Callable[[nn.Sequential], Acting], width: float) -> Acting:
    return kind(trunk(acting.plain, width))


RECIPES: dict[str, Recipe] = {
    each.name: each
    for each in (
        *(Variant(name=name, motion=TURNED, variant=name) for name in ("c0", "c1", "sl1", "c0x4s")),
        Built(name="plain", motion=UPRIGHT, build=partial(_region, acting.plain)),
        Built(name="plain, turned", motion=TURNED, build=partial(_region, acting.plain)),
        Built(name="pointwise", motion=UPRIGHT, build=partial(_region, acting.pointwise)),
        Built(name="over C4", motion=UPRIGHT, build=partial(_region, acting.over_c4)),
        Built(
            name="over C4, pooled",
            motion=UPRIGHT,
            build=_pooled_region,
        ),
        Built(name="deformable", motion=TURNED, build=partial(_region, acting.deformable)),
        *(
            Built(
                name=name,
                motion=motion,
                build=partial(_on_plain, kind),
            )
            for name, motion, kind in (
                ("polar", TURNED, by_itself.Polar),
                ("canonical", TURNED, by_itself.Continuous),
                ("canonical, C4", TURNED, by_itself.Discrete),
                ("pooled", TURNED, by_itself.Pooled),
                ("latent, input", SCALED, partial(by_itself.Latent, first=0)),
                ("latent, map", SCALED, partial(by_itself.Latent, first=2)),
            )
        ),
    )
}
_ALL = tuple(Motions)
_LYING = (*TURNS, Motions.SHIFTS)
"""What a vehicle does to the ground."""
_QUARTERS, _SCALED = (Motions.QUARTERS,), (Motions.SCALINGS,)
_ROI = "He et al. 2017; Ding et al. 2019"
_CANONICAL = "Kaba et al. 2023; Mondal et al. 2023"
_PAPERS = "Finnveden et al. 2020"

METHODS: tuple[Method, ...] = (
    Method(
        name="plain CNN",
        source="",
        moves=Moves.NOTHING,
        recipe="plain",
        motions=_ALL,
        aligned=(Motions.SHIFTS,),
    ),
    Method(
        name="plain CNN, learnt from turned digits",
        source="",
        moves=Moves.NOTHING,
        recipe="plain, turned",
    ),
    Method(
        name="deformable convolution",
        source="Dai et al. 2017",
        moves=Moves.TAPS,
        recipe="deformable",
    ),
    Method(
        name="rotated RoIAlign, plain CNN",
        source=_ROI,
        moves=Moves.MAP,
        recipe="plain",
        motions=_ALL,
        aligned=(Motions.SHIFTS,),
        given=True,
    ),
    Method(
        name="rotated RoIAlign, C4 network",
        source=_ROI,
        moves=Moves.MAP,
        recipe="over C4",
        given=True,
    ),
    Method(
        name="rotated RoIAlign, pooled C4 network",
        source=f"{_ROI}; Cohen and Welling 2016",
        moves=Moves.MAP,
        recipe="over C4, pooled",
        aligned=_QUARTERS,
        given=True,
    ),
    Method(
        name="rotated RoIAlign, 1 x 1 filters",
        source="",
        moves=Moves.MAP,
        recipe="pointwise",
        motions=_ALL,
        # of turns by 30 degrees up to the corners of its pooling windows; scaled windows see other
        # content (P11)
        aligned=_LYING,
        given=True,
    ),
    Method(
        name="bird's-eye warp behind the encoder",
        source="Li et al. 2022 (BEVFormer)",
        moves=Moves.MAP,
        recipe="plain",
        motions=_LYING,
        aligned=(Motions.SHIFTS,),
        given=True,
        view=_on_region(by_pose.EgoAtMap),
    ),
    *(
        Method(
            name=f"map of layer {layer}, plain CNN",
            source=_PAPERS,
            moves=Moves.MAP,
            recipe="plain",
            given=True,
            view=_on_region(partial(by_pose.AtLayer, layer=layer)),
        )
        for layer in (1, 3)
    ),
    Method(name="C1", source=_PAPERS, moves=Moves.MAP, recipe="c1"),
    Method(
        name="latent canonicalizer of a map",
        source="Rahman et al. 2025",
        moves=Moves.MAP,
        recipe="latent, map",
        motions=_SCALED,
    ),
    Method(
        name="RiRoIAlign, C4 network",
        source="Han et al. 2021 (ReDet)",
        moves=Moves.CHANNELS,
        recipe="over C4",
        aligned=_QUARTERS,
        given=True,
        view=_on_region(by_pose.Rolled),
    ),
    Method(
        name="steerer, plain CNN",
        source="Bökman et al. 2024",
        moves=Moves.CHANNELS,
        recipe="plain",
        given=True,
        view=partial(_fitted, by_pose.one_generator, FITTED_TURNS),
    ),
    Method(
        name="steerer, C4 network",
        source="Bökman et al. 2024",
        moves=Moves.CHANNELS,
        recipe="over C4",
        given=True,
        view=partial(_fitted, by_pose.one_generator, FITTED_TURNS),
    ),
    Method(
        name="a matrix each turn, plain CNN",
        source="Lenc and Vedaldi 2015",
        moves=Moves.CHANNELS,
        recipe="plain",
        given=True,
        view=partial(_fitted, by_pose.matrix_each, _SCORED),
    ),
    Method(
        name="a matrix each turn, C4 network",
        source="Lenc and Vedaldi 2015",
        moves=Moves.CHANNELS,
        recipe="over C4",
        aligned=_QUARTERS,
        given=True,
        view=partial(_fitted, by_pose.matrix_each, _SCORED),
    ),
    Method(
        name="TI-pooling over quarter turns",
        source="Laptev et al. 2016",
        moves=Moves.COPIES,
        recipe="pooled",
        aligned=_QUARTERS,
    ),
    Method(
        name="rotated RoIAlign of the image",
        source="",
        moves=Moves.INPUT,
        recipe="plain",
        motions=_ALL,
        aligned=_ALL,
        given=True,
        view=_on_region(by_pose.RegionAtInput),
    ),
    Method(
        name="bird's-eye warp before the encoder",
        source="Li et al. 2022 (BEVFormer)",
        moves=Moves.INPUT,
        recipe="plain",
        motions=_LYING,
        aligned=_LYING,
        given=True,
        view=_on_region(by_pose.EgoAtInput),
    ),
    *(
        Method(name=name, source=source, moves=Moves.INPUT, recipe=recipe, aligned=aligned)
        for name, source, recipe, aligned in (
            ("polar transformer", "Esteves et al. 2018", "polar", TURNS),
            ("canonicalizer, quarter turns", _CANONICAL, "canonical, C4", _QUARTERS),
            ("canonicalizer, any angle", _CANONICAL, "canonical", TURNS),
            ("C0", _PAPERS, "c0", TURNS),
            ("SL1", _PAPERS, "sl1", TURNS),
            ("inverse compositional, 4 steps", "Lin and Lucey 2017", "c0x4s", TURNS),
        )
    ),
    Method(
        name="latent canonicalizer of the image",
        source="Rahman et al. 2025",
        moves=Moves.INPUT,
        recipe="latent, input",
        motions=_SCALED,
        aligned=_SCALED,
    ),
)
"""In the order of the figure."""
