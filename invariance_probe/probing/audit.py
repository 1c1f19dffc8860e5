"""Audit a network's own warps: what it moves, how much of a transform that undoes, what it leaves.

The network is run once for each image as it is and once under each transform, and each operation
that moves values in space is met (`network.watch`). An operation that reads through pull-backs
moves the content by M(x) for an image x and by M(Tx) for the transformed one. What it returns shows
the content of x where M(x) puts it; to show that of Tx in the same place, M(Tx) T = M(x) must hold.
So U = M(Tx)^-1 M(x) is the motion that is undone: the identity if both are moved alike, T if all of
the transform is undone. The pose of U over that of T is the *slope*, as of a spatial transformer's
predicted against applied poses.
"""

import base64
import html
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe import files
from invariance_probe.errors import InvalidInputError, UnmeasuredLayerWarning
from invariance_probe.machine import memory_kept
from invariance_probe.network import features
from invariance_probe.network.features import Layer
from invariance_probe.network.operations import ActsOn, Kind
from invariance_probe.network.staging import Staged
from invariance_probe.plane import motions
from invariance_probe.plane.transforms import (
    Rotation,
    Scaling,
    Shear,
    Transform,
    Translation,
)
from invariance_probe.probing import setup
from invariance_probe.probing.looking import Looking, Met
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import Inputs
from invariance_probe.probing.probe import probe
from invariance_probe.progress import Progress
from invariance_probe.results.methods import DEFAULT_METHODS, Method
from invariance_probe.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # slow to import

COLUMNS = (
    *("operation", "module", "acts_on", "stride", "transform", "parameter", "slope", "spread"),
    *("left", "left_low", "left_high", "left_best", "left_input", "floor", "images", "number"),
    "outcome",
)
FRAME, GRIDS = "frame.csv", "grids"
MEASURED = "measured"
"""The outcome where nothing is missing."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a network moves, and what that is good for.

    Attributes:
        name: Of the model.
        images: How many were seen.
        table: See `frame`.
        notes: Modules in which something was out of sight, and what.
        staged: The network in which the operations are layers: what operation ``number`` reads is
            ``reads.NUMBER``, what it returns ``returns.NUMBER``, for `probe` and `recover`. What
            its own warp costs the network's answer is ``identity`` at ``returns.NUMBER``.
        views: One image as it is and under some transforms, values in [0, 1], with their titles.
        grids: Where each operation reads in these views.

    Example:
        >>> import torch, invariance_probe as ip
        >>> localizer = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten())
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 2, 5), ip.SpatialTransformer(localizer, 18)
        ... )
        >>> images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> audit = ip.audit(model, images, transforms=ip.Rotation(90))
        >>> print(audit)
        Audit of Sequential, 3 images: 1 operation that moves values.
        grid_sample in '1' moves a map (stride 1). Of a rotation it undoes 0 % (slope 0.00, ...
        >>> cost = ip.recover(
        ...     audit.staged, images, layers="returns.0", transforms=ip.Rotation(90),
        ...     methods=["identity", "input"],  # its own warp, and a perfect warp of the image
        ... ).summary()
        >>> apart = cost.query("metric == 'output_rel_l2'").set_index("method")["mean"]
        >>> (apart < 0.5).to_dict()
        {'identity': False, 'input': True}
    """

    name: str
    images: int
    table: pd.DataFrame
    notes: Mapping[str, str]
    staged: Staged
    views: Mapping[str, Float[np.ndarray, "_ _ _"]]
    grids: Sequence[Sequence[Float[np.ndarray, "_ _ _ 2"] | None]]

    def frame(self) -> pd.DataFrame:
        """List the operations, under each transform.

        Returns:
            A row for each operation and transform, none for a network that moves nothing:
            ``operation``; the innermost ``module`` that it happens in; ``acts_on``,
            ``input`` or ``map``; ``stride`` of what it reads, in pixels; ``transform``
            and ``parameter``; ``slope``, how much of the transform it undoes, mean over
            images: 0 nothing, 1 all; ``spread``, standard deviation over images of
            undone less applied pose, in degrees, octaves (scaling), cells of what it
            reads (translation) or shear. Then fractions of variance unexplained:
            ``left`` by its own warp, in what it returns, with an interval ``left_low``
            to ``left_high``; ``left_best`` by the best affine warp of what it reads;
            ``left_input``, where it stands, by a perfect transformer of the input;
            ``floor`` of a perfect layer where it reads. Where both maps are read
            between cells both are blurred, and ``left`` may be below the floor.
            ``images`` counts those seen, ``number`` is that of the layers in `staged`;
            ``outcome`` is ``measured``, or says what is not and why.

        Example:
            >>> audit.frame()[["operation", "module", "acts_on", "slope"]].values.tolist()
            [['grid_sample', '1', 'map', 0.0]]
        """
        return self.table.copy()

    def plot(self) -> "Figure":
        """Draw where each operation reads, over an image as it is and under some transforms.

        Returns:
            A row an operation; a grid, or of several boxes the outlines. The dot marks what comes
            out at the upper left.

        Example:
            >>> type(audit.plot()).__name__
            'Figure'
        """
        from invariance_probe.results import grids  # slow to import

        names = self.table.drop_duplicates("number")
        titles = [f"{row.operation}\n{row.module}" for row in names.itertuples()]
        rows = [
            grids.Readings(title=title, positions=each)
            for title, each in zip(titles, self.grids, strict=True)
        ]
        return grids.plot(rows, list(self.views.values()), list(self.views))

    def sentences(self) -> list[str]:
        """Say of each operation what it does.

        Returns:
            A sentence or two for each, then what was out of sight.

        Example:
            >>> len(audit.sentences())
            1
        """
        said = [_sentence(rows) for _, rows in self.table.groupby("number")]
        return said + [
            f"Out of sight: {module or '(model)'!r} {what}, which may move values as well."
            for module, what in self.notes.items()
        ]

    def save(self, out: str | Path) -> None:
        """Write the table as ``frame.csv`` and the grids as ``grids.png`` and ``grids.svg``.

        Args:
            out: A folder that is new or empty.

        Raises:
            InvalidInputError: If it holds anything, or cannot be written to.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     audit.save(folder)
        """  # noqa: DOC502  (raised by what is called)
        path = files.check_out(out)
        assert path is not None
        with files.new_folder(path) as folder:
            self.table.to_csv(folder / FRAME, index=False, float_format="%.6g")
            if len(self.table):
                from invariance_probe.results.style import save  # slow to import

                save(self.plot(), folder / GRIDS)

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self.sentences()])

    def __repr__(self) -> str:
        return str(self)

    def _headline(self) -> str:
        count = self.table["number"].nunique()
        many = "no operation that moves" if not count else f"{count} operation"
        many += "" if not count else " that moves" if count == 1 else "s that move"
        images = f"{self.images} image{'s' if self.images != 1 else ''}"
        return f"Audit of {self.name}, {images}: {many} values."

    def _repr_html_(self) -> str:
        """What a notebook shows: sentences, table, grids."""
        said = "".join(f"<p>{html.escape(line)}</p>" for line in str(self).splitlines())
        if self.table.empty:
            return said
        stream = io.BytesIO()
        self.plot().savefig(stream, format="png", dpi=60, bbox_inches="tight")
        data = base64.b64encode(stream.getvalue()).decode("ascii")
        table: str = self.table.to_html(index=False, max_rows=40, border=0, float_format="%.3f")
        return f'{said}{table}<img alt="sampling grids" src="data:image/png;base64,{data}">'


@memory_kept()
def audit(
    model: nn.Module,
    images: object,
    *,
    transforms: Transform | Sequence[Transform],
    options: ProbeOptions | None = None,
    progress: bool = False,
    name: str | None = None,
    **changes: Any,
) -> Audit:
    """Find what a network moves in space, and measure what that undoes of transforms and leaves.

    Found are `grid_sample`, `interpolate` where its size differs from image to image or transform
    to transform, and torchvision's `roi_align` and its like and `deform_conv2d`, wherever in the
    network they happen, also in scripted modules; `network.watch` says what cannot be seen.

    Each image passes once as it is and once under each transform, alone, as what is moved may
    depend on it; where operations return boxes, once more under each transform, warped back. Two
    probes follow: of what operations read (methods ``affine`` and ``floor``) and of what they
    return (``identity`` and ``input``). Of a convolution that reads tap by tap, what its module
    returns is compared, and the mean of its taps is its warp: taps that turn about their mean leave
    slope 0. Boxes are compared in the order in which they come.

    Args:
        model: Any module; it is left as it was found.
        images: In any form, as of `probe`.
        transforms: What is done to the input, one or several.
        options: How to measure, as of `probe`; the methods are the audit's own.
        progress: Whether to show progress on stderr.
        name: What to call the model; its class by default.
        **changes: Options by name, such as ``crop=64``; before `options`.

    Returns:
        A row for each operation and transform, sampling grids and sentences.

    Raises:
        InvalidInputError: If anything given cannot be used.

    Example:
        >>> import torch, invariance_probe as ip
        >>> images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> print(ip.audit(torch.nn.Conv2d(1, 2, 5), images, transforms=ip.Rotation(90)))
        Audit of Conv2d, 3 images: no operation that moves values.
    """
    options = (options or ProbeOptions()).replace(**changes)
    if options.methods != DEFAULT_METHODS:
        raise InvalidInputError(
            f"methods={options.methods}: an audit has its own; leave them out, and probe the "
            "layers of audit.staged for others"
        )
    transforms = setup.motions(transforms)
    source = setup.opened(model, images, options)
    plain = options.replace(methods=[Method.IDENTITY])
    with setup.computing(model, plain) as own, Progress(progress, doing="looking") as bar:
        inputs = Inputs(source, transforms, options)
        found = Looking(own, inputs)
        bar.start(len(source))
        for number in range(len(source)):
            found.look(number)
            bar.advance(1)
        met = found.moving()
        if met and not found.batches():
            options = options.replace(batch_size=1)
    staged = Staged(model, [each.operation for each in met])
    rows, grids = [], []
    if met:
        left = _Left(staged, met, source, inputs, options, progress)
        for number, each in enumerate(met):
            grids.append(left.pixels(number, each, len(found.pictures)))
            rows += [
                _row(each, number, transforms, place, len(source), left)
                for place in range(len(transforms))
            ]
    return Audit(
        name=type(model).__name__ if name is None else name,
        images=len(source),
        table=pd.DataFrame(rows, columns=list(COLUMNS)),
        notes=found.notes,
        staged=staged,
        views=found.pictures,
        grids=grids,
    )


class _Left:
    """What operations leave, from two probes of the layers of a staged network.

    Attributes:
        size: Height and width of what the network sees.
    """

    def __init__(
        self,
        staged: Staged,
        met: Sequence[Met],
        source: object,
        inputs: Inputs,
        options: ProbeOptions,
        progress: bool,
    ) -> None:
        self.size = inputs.size
        with setup.computing(staged, options.replace(methods=[Method.IDENTITY])) as own:
            image = inputs.inputs([0])[0]
            with features.forwarding(image):
                listed = features.find_layers(own, image)
        self._layers = {(each.module, each.call): each for each in listed if not each.path}
        self._values: dict[tuple[str, int, Method], tuple[float, float, float]] = {}
        numbered = list(enumerate(met))
        for layers, methods in (
            ([self.reads(n) for n, each in numbered if each.steady], (Method.AFFINE, Method.FLOOR)),
            (
                [self.returns(n, each) for n, each in numbered if each.steady and not each.boxes],
                (Method.IDENTITY, Method.INPUT),
            ),
        ):
            names = dict.fromkeys(one.name for one in layers if one is not None and one.spatial)
            if not names:
                continue
            with warnings.catch_warnings():
                # the outcome says it of each row
                warnings.simplefilter("ignore", UnmeasuredLayerWarning)
                result = probe(
                    staged,
                    source,
                    layers=list(names),
                    transforms=inputs.moves,
                    options=options.replace(methods=methods, shown=0),
                    progress=progress,
                )
            rows = result.summary(["layer", "transform", "parameter", "method", "metric"])
            for row in rows[rows["metric"] == "fvu"].to_dict("records"):
                key = row["layer"], row["transform_number"], Method(row["method"])
                self._values[key] = row["mean"], row["low"], row["high"]

    def reads(self, number: int) -> Layer | None:
        """The layer that an operation reads."""
        return self._layers.get((f"reads.{number}", 1))

    def returns(self, number: int, met: Met) -> Layer | None:
        """The layer that it returns, or its module, where that puts its readings together."""
        inside = f"network.{met.operation.module}".removesuffix(".")
        own = (f"returns.{number}", 1) if met.own else (inside, met.operation.call)
        return self._layers.get(own)

    def value(self, layer: Layer | None, move: int, method: Method) -> tuple[float, float, float]:
        """Mean over images and interval; NaN where there is none."""
        none = math.nan, math.nan, math.nan
        return none if layer is None else self._values.get((layer.name, move, method), none)

    def stride(self, number: int, met: Met) -> tuple[float, float]:
        """Distance of rows and columns of what an operation reads, in pixels."""
        layer = self.reads(number)
        if layer is not None and layer.spatial:
            return layer.stride_y, layer.stride_x
        height, width = met.read_size[min(met.read_size)]
        return self.size[0] / height, self.size[1] / width

    def pixels(
        self, number: int, met: Met, views: int
    ) -> list[Float[np.ndarray, "_ _ _ 2"] | None]:
        """Where an operation reads, in index coordinates of the image, by view."""
        layer, strides = self.reads(number), self.stride(number, met)[::-1]
        offsets = [(stride - 1) / 2 for stride in strides]
        if layer is not None and layer.spatial:
            offsets = [layer.offset_x, layer.offset_y]
        drawn: list[Float[np.ndarray, "_ _ _ 2"] | None] = []
        for view in range(views):
            if view not in met.drawn:
                drawn.append(None)
                continue
            cells = np.array(met.read_size[0, view][::-1])
            index = (met.drawn[view].numpy() + 1) * cells / 2 - 0.5
            drawn.append(index * strides + offsets)
        return drawn


class _Pose(NamedTuple):
    """What one number says of a transform.

    Attributes:
        names: The poses it is read from, see `motions.poses_of`.
        applied: Their values; what is undone is projected on them.
    """

    names: tuple[str, ...]
    applied: tuple[float, ...]


def _pose(move: Transform, stride_y: float, stride_x: float) -> _Pose | None:
    """What a transform is measured by, in cells of a map; None where one number is not enough."""
    match move:
        case Rotation():
            turned = math.remainder(move.degrees, 360)
            return _Pose(("degrees",), (turned,))
        case Scaling():
            return _Pose(("log2_factor",), (math.log2(move.factor),))
        case Shear(y=0):
            return _Pose(("shear",), (move.x,))
        case Translation():
            return _Pose(("x", "y"), (move.dx / stride_x, move.dy / stride_y))
    return None


def _undone(pose: _Pose, undone: Float[Tensor, "part 3 3"]) -> float:
    """The part of a transform that is undone, in units of its pose, mean over parts."""
    applied = torch.tensor(pose.applied, dtype=torch.float64)
    values = motions.poses_of(undone, pose.names)
    if pose.names == ("degrees",):
        # of angles a full turn apart the one that is nearest to between nothing and all of it
        middle = applied / 2
        values = middle + torch.remainder(values - middle + 180, 360) - 180
    return float((values @ (applied / applied.norm())).mean())


def _row(
    met: Met, number: int, transforms: Sequence[Transform], place: int, images: int, left: _Left
) -> dict[str, Any]:
    """One row of the frame."""
    move, view = transforms[place], place + 1
    stride = left.stride(number, met)
    slope, spread, reasons = _slope(met, move, view, _pose(move, *stride), images)
    reads, returns = left.reads(number), None if met.boxes else left.returns(number, met)
    if met.boxes:
        ends = mean_interval(met.left_in_boxes(view, False)[None])
        own = tuple(float(end[0]) for end in ends)
        by_input = float(mean_interval(met.left_in_boxes(view, True)[None])[0][0])
    else:
        own = left.value(returns, place, Method.IDENTITY)
        by_input = left.value(returns, place, Method.INPUT)[0]
    reasons += _missing(met, reads, returns)
    return {
        "operation": met.title,
        "module": met.module,
        "acts_on": str(met.acts_on),
        "stride": sum(stride) / 2,
        "transform": move.kind,
        "parameter": move.parameter,
        "slope": slope,
        "spread": spread,
        "left": own[0],
        "left_low": own[1],
        "left_high": own[2],
        "left_best": left.value(reads, place, Method.AFFINE)[0],
        "left_input": by_input,
        "floor": left.value(reads, place, Method.FLOOR)[0],
        "images": images,
        "number": number,
        "outcome": "; ".join(reasons) or MEASURED,
    }


def _slope(
    met: Met, move: Transform, view: int, pose: _Pose | None, images: int
) -> tuple[float, float, list[str]]:
    """Slope and spread over images, and why there are none."""
    if met.operation.kind is Kind.VOLUME:
        return math.nan, math.nan, ["slope: positions in a volume are not read"]
    if pose is None:
        return math.nan, math.nan, [f"slope: no one number says how far a {move.kind} goes"]
    applied = math.hypot(*pose.applied)
    if applied == 0:
        return math.nan, math.nan, ["slope: nothing is applied"]
    undone, unlike = [], 0
    for number in range(images):
        if (number, 0) in met.fits and (number, view) in met.fits:
            upright, moved = met.motions(number, 0), met.motions(number, view)
            same = met.read_size[number, 0] == met.read_size[number, view]
            if len(upright) != len(moved) or not same:
                unlike += 1
            elif not len(upright):
                continue
            else:
                undone.append(_undone(pose, torch.linalg.inv_ex(moved).inverse @ upright))
    known = np.array(undone)[np.isfinite(undone)]
    reasons = []
    if unlike:
        reasons.append(f"slope: boxes or sizes do not match in {unlike} of {images} images")
    if len(known) < len(undone):
        gone = len(undone) - len(known)
        reasons.append(f"slope: {gone} of {images} images are not read by an affine map")
    slope = float(known.mean()) / applied if len(known) else math.nan
    spread = float((known - applied).std(ddof=1)) if len(known) > 1 else math.nan
    return slope, spread, reasons


def _missing(met: Met, reads: Layer | None, returns: Layer | None) -> list[str]:
    """Why what is left was not measured, or rests on an assumption."""
    if met.absent:
        return [f"absent from {met.absent} of {met.passes} passes"]
    if not met.steady:
        return ["left: the sizes of what it returns differ"]
    reasons = []
    for what, layer in (("left_best", reads), ("left", returns)):
        if layer is None:
            if not (what == "left" and met.boxes):
                reasons.append(f"{what}: not met in the layers of the network")
        elif not layer.spatial:
            reasons.append(f"{what}: {layer.reason}")
        elif not layer.measured:
            reasons.append(f"{what}: its map is taken to cover the image evenly")
    return reasons


_UNITS = {"rotation": " degrees", "scaling": " octaves", "translation": " cells", "shear": ""}


def _sentence(rows: pd.DataFrame) -> str:
    """Say what an operation does."""
    first = rows.iloc[0]
    what = "the input" if first["acts_on"] == ActsOn.INPUT else "a map"
    said = f"{first['operation']} in {first['module']!r} moves {what} (stride {first['stride']:g})."
    moved = rows[rows["slope"].notna() | rows["left"].notna() | rows["left_best"].notna()]
    for family, each in moved.groupby("transform", sort=False):
        mean = each[["slope", "spread", "left", "left_best", "left_input", "floor"]].mean()
        words = []
        if not math.isnan(mean["slope"]):
            spread = f", spread {mean['spread']:.2g}{_UNITS[str(family)]}"
            spread = "" if math.isnan(mean["spread"]) else spread
            slope = round(mean["slope"], 2) + 0.0  # and no -0.00
            words.append(f"undoes {100 * slope:.0f} % (slope {slope:.2f}{spread})")
        if not math.isnan(mean["left"]):
            words.append(f"leaves {mean['left']:.2f} of the variance")
        beside = [
            f"{other} {mean[column]:.2f}"
            for column, other in _BESIDE.items()
            if not math.isnan(mean[column])
        ]
        said += f" Of a {family} it {' and '.join(words)}" if words else f" After a {family}"
        said += f"; left by {', by '.join(beside)}." if beside else "."
    reasons = dict.fromkeys(why for each in rows["outcome"] for why in each.split("; "))
    told = [why for why in reasons if why != MEASURED]
    return said + (f" Not all was measured: {'; '.join(told)}." if told else "")


_BESIDE = {
    "left_best": "the best affine warp of what it reads",
    "left_input": "a perfect warp of the input",
    "floor": "a perfect layer",
}
