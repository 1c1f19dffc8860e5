"""What a reader may choose from is what the table holds."""

import base64
import io
import json

import numpy as np
from PIL import Image

from invariance_probe.plane.transforms import Affine, Rotation, Scaling
from invariance_probe.report import explorer
from invariance_probe.results.methods import Method
from tests.results.planted import LAYERS, planted, strip

LEFT = {Method.ORACLE: [0.6, 0.8, 0.7], Method.AFFINE: [0.28, 0.32, 0.3], Method.FLOOR: [0.1] * 3}
MOVES = [Rotation(30), Rotation(0), Rotation(-30), Scaling(2)]


def _pixels(source: str) -> np.ndarray:
    content = base64.b64decode(source.partition(",")[2])
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened.convert("L"))


def test_means_values_and_verdicts_are_those_of_the_table() -> None:
    """By layer and transform; members of a family from the least parameter to the largest."""
    strips = [strip(name, t) for name in LAYERS for t in (0, 2, 3)]
    tables = planted(LEFT, moves=MOVES, strips=strips)
    made = explorer.data(tables)
    json.dumps(made, allow_nan=False)
    assert [family["numbers"] for family in made["families"]] == [[2, 1, 0], [3]]
    assert made["families"][0]["values"] == [-30, 0, 30]
    affine = next(one for one in made["methods"] if one["name"] == "affine")
    assert affine["standing"] == "found"
    np.testing.assert_allclose([m[0] for m in affine["means"][1]], [0.15, 0, 0.15, 0.15])
    assert affine["single"][0][0] == [0.28]  # image 0 alone is shown
    assert made["images"] == ["image 0"]
    # three times what a perfect layer leaves
    assert made["verdicts"][0][0]["rule"] == "input"
    assert made["verdicts"][0][0]["times"][0] == 3


def test_a_floor_of_0_is_no_number_of_times() -> None:
    """Where a perfect layer leaves nothing, as at quarter turns, JSON holds no infinite ratio."""
    made = explorer.data(planted(LEFT | {Method.FLOOR: [0.0] * 3}, moves=[Rotation(90)]))
    assert json.loads(json.dumps(made, allow_nan=False))["verdicts"][0][0]["times"] == [None] * 3


def test_maps_come_back_from_their_picture() -> None:
    """Channel, transform and stage stand where the script looks for them, to half a shade."""
    one = strip("shallow", 0, seed=4)
    tables = planted(LEFT, layers=["shallow"], moves=[Rotation(30)], strips=[one])
    sheet = explorer.data(tables)["maps"][0][0]
    assert sheet["channels"] == one.channels
    pixels = _pixels(sheet["source"])
    low, step, _, _ = sheet["scales"][1]
    for stage in range(4):
        seen = low + step * pixels[8:16, 8 * stage : 8 * stage + 8]
        np.testing.assert_allclose(seen, one.maps[stage, 1], atol=0.51 * step)
    np.testing.assert_array_equal(pixels[8:16, 32:] == 255, one.region)


def test_maps_give_way_until_they_fit() -> None:
    """Channels go first; where even one does not fit there are no maps, and the rest stays."""
    strips = [strip("shallow", 0, seed=4)]
    tables = planted(LEFT, layers=["shallow"], moves=[Rotation(30)], strips=strips)
    size = len(explorer.data(tables)["maps"][0][0]["source"])
    assert len(explorer.data(tables, size - 1)["maps"][0][0]["channels"]) == 1
    assert explorer.data(tables, 10)["maps"] == []


def test_transforms_without_a_number_are_numbered() -> None:
    """Affine maps have no parameter: they stand in the order in which they were given."""
    moves = [Affine([[1, 0.1], [0, 1.1]]), Affine([[0.9, 0.1], [0.2, 1]])]
    (family,) = explorer.data(planted(LEFT, moves=moves))["families"]
    assert (family["numbers"], family["values"]) == ([0, 1], [0, 1])
