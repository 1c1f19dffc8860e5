"""Which image is shown, and what is kept of it."""

import torch
from torch import Tensor, nn

import invariance_probe as ip


def _images() -> Tensor:
    return torch.rand(5, 3, 9, 9, generator=torch.Generator().manual_seed(2))


def _recovered(head: list[nn.Module], batch_size: int = 16) -> tuple[ip.ProbeResult, nn.Module]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), *head)
    moves = [ip.Rotation(30), ip.Rotation(60), ip.Rotation(90), ip.Scaling(0.9)]
    result = ip.recover(
        network,
        _images(),
        layers=["0", "1"],
        transforms=moves,
        methods=["identity", "input", "oracle"],
        batch_size=batch_size,
    )
    return result, network


HEAD = [nn.Flatten(), nn.Linear(196, 4)]


def test_the_image_shown_is_the_surest_of_the_first_ones() -> None:
    """The network is surest of it among all images that are read together first."""
    result, network = _recovered(HEAD)
    with torch.no_grad():
        sure = network(_images()).softmax(1).amax(1)
    (image,) = set(result.predictions["image"])
    assert int(image) == int(sure.argmax())
    alone, _ = _recovered(HEAD, batch_size=1)
    assert alone.predictions["image"].nunique() == 1


def test_pictures_are_those_that_the_network_saw() -> None:
    """Upright, moved and moved back, for one transform of each family and every layer."""
    result, network = _recovered(HEAD)
    assert {(s.layer, s.transform) for s in result.strips} == {
        (layer, number) for layer in "01" for number in (1, 3)
    }
    image = _images()[[int(result.predictions["image"].iloc[0])]]
    for strip in result.strips:
        upright, moved, _ = torch.tensor(strip.images)
        assert torch.equal(upright, image[0])
        move = (ip.Rotation(60), ip.Scaling(0.9))[strip.transform == 3]
        torch.testing.assert_close(moved, move(image)[0], rtol=0, atol=1e-6)
        with torch.no_grad():
            said = network(torch.tensor(strip.images)).softmax(1)
        kept = result.predictions
        kept = kept[(kept["transform_number"] == strip.transform) & (kept["layer"] == "")]
        kept = kept[kept["rank"] == 1].set_index("method")["probability"]
        for row, method in zip(said, ("", "identity", "input"), strict=True):
            assert abs(float(row.max()) - kept[method]) < 1e-5


def test_of_a_network_without_classes_nothing_is_shown() -> None:
    """Dense outputs have no likeliest class."""
    result, _ = _recovered([])
    assert result.predictions.empty
    assert result.strips == []


def test_answers_of_the_image_are_those_of_the_table() -> None:
    """Its likeliest class with a map put back is the upright one just where the table says so."""
    result, _ = _recovered(HEAD)
    said = result.predictions
    best = said[said["rank"] == 1].set_index(["transform_number", "layer", "method"])["class"]
    table = result.frame()
    table = table[(table["image"] == said["image"].iloc[0]) & (table["metric"] == "agreement")]
    checked = 0
    for row in table.itertuples():
        key = (row.transform_number, row.layer, row.method)
        if key in best.index:
            assert (best[key] == best[row.transform_number, "", ""]) == bool(row.value)
            checked += 1
    assert checked == 2 * 2 * 3  # one transform of each family, two layers, three methods
