"""What every measurement begins with: something to measure, a model in place, what is noted."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

import invariance_probe as ip
from invariance_probe.data.pictures import TensorImages
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import ForwardPasses
from invariance_probe.probing.setup import computing, identity, motions, named, opened, seen

MOVES = [ip.Rotation(30)]


def test_there_has_to_be_something_to_measure() -> None:
    """No images or no transforms are refused; one transform alone is a list of one."""
    model, options = nn.Conv2d(3, 2, 3), ProbeOptions(device="cpu")
    images = torch.rand(2, 3, 9, 9)
    assert len(opened(model, images, options)) == 2
    assert motions(MOVES[0]) == MOVES == motions(MOVES)
    with pytest.raises(ip.InvalidInputError, match="there are no images; give at least one"):
        opened(model, images[:0], options)
    with pytest.raises(ip.InvalidInputError, match="there are no transforms; give at least one"):
        motions([])


def test_layers_are_named_by_the_modules_themselves() -> None:
    """A module of the model, compiled or not, stands for its name; one of another is refused."""
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Sequential(nn.ReLU()))
    assert named(model, [model[1][0], "0"]) == ["1.0", "0"]
    assert named(model, model) == ["(model)"]
    assert named(torch.compile(model), model[0]) == ["0"]  # type: ignore[arg-type]  (torch's)
    with pytest.raises(ip.InvalidInputError, match="a ReLU is no part of the Sequential"):
        named(model, nn.ReLU())
    with pytest.raises(ip.InvalidInputError, match="at least one name, pattern or module"):
        named(model, [])


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_become_what_the_model_sees(channels: int) -> None:
    """A picture in colour is read grey by a model whose first convolution takes one channel."""
    picture = Image.new("RGB", (9, 9), (255, 0, 0))
    source = opened(nn.Conv2d(channels, 2, 3), [picture], ProbeOptions(device="cpu"))
    assert source[0].shape == (channels, 9, 9)


def test_a_model_is_left_as_it_was_found() -> None:
    """Type, mode and gradients are those of the measurement inside, and the old ones after."""
    model = nn.Conv2d(3, 2, 3).train()
    with computing(model, ProbeOptions(dtype="float64", device="cpu")) as own:
        assert {each.dtype for each in own.parameters()} == {torch.float64}
        assert not own.training
        assert not torch.is_grad_enabled()
    assert model.weight.dtype == torch.float32
    assert model.training
    assert torch.is_grad_enabled()


def test_the_configuration_tells_the_run() -> None:
    """Model, layers, images, transforms and options, in a form that JSON holds."""
    model, options = nn.Conv2d(3, 2, 3), ProbeOptions(device="cpu", seed=5)
    source = TensorImages(torch.rand(2, 3, 9, 9))
    with computing(model, options) as own:
        passes = ForwardPasses(own, source, ["(model)"], MOVES, options, keep=False)
        told = identity(passes, MOVES, options, "mine") | seen(passes)
    said = json.loads(json.dumps(told))
    assert said["model"] == "mine"
    assert said["layers"] == ["(model)"]
    assert said["images"] == list(source.names)
    assert said["transforms"] == [repr(MOVES[0])]
    assert "labels" not in said
    assert said["partners"] == [1, 0]
    assert said["near_duplicates"] == []
    assert said["seed"] == 5
    assert said["device"] == "cpu"
    assert said["moves"][0]["parameter"] == 30
    with computing(nn.Conv2d(3, 2, 3), options) as other:
        passes = ForwardPasses(other, source, ["(model)"], MOVES, options, keep=False)
        assert identity(passes, MOVES, options, "mine")["weights"] != said["weights"]
