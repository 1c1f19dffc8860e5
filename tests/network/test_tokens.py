"""Sequences of tokens as maps: which they are, where they lie, and how they are put back."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import invariance_probe as ip
from invariance_probe.network import features, hooks
from invariance_probe.network.replay import outputs, outputs_with
from invariance_probe.network.tokens import Grid, Grids, tokens_before


class Attention(nn.Module):
    """Attention of two heads, whose queries are seen as (batch, head, token, channel)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.q_norm, self.softmax = nn.LayerNorm(4), nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens."""
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        weights = self.softmax(self.q_norm(q) @ k.transpose(-2, -1))
        return (weights @ v).transpose(1, 2).flatten(2)


class Transformer(nn.Module):
    """A vision transformer with a class token and two registers, for images of 24 x 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
        self.register_tokens = nn.Parameter(torch.randn(1, 2, 8))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.randn(1, 51, 8))
        self.norm, self.attn, self.mlp = nn.LayerNorm(8), Attention(), nn.Linear(8, 8)
        self.body, self.head = nn.Identity(), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        others = torch.cat([self.cls_token, self.register_tokens], 1).expand(len(x), -1, -1)
        x = torch.cat([others, x], 1) + self.pos_embed
        x = x + self.attn(self.norm(x))
        x = self.body(x + F.gelu(self.mlp(x)))
        logits: Tensor = self.head(x[:, 0])
        return logits


class Merging(nn.Module):
    """Tokens without others before them, merged two by two as in a hierarchical transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.merge = nn.Conv2d(3, 4, 4, 4), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        """Merge."""
        x = self.patches(images)
        pairs = x.unfold(2, 2, 2).unfold(3, 2, 2)
        merged: Tensor = self.merge(pairs.permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2))
        return merged


IMAGES = torch.rand(2, 3, 24, 32)


def _layers(model: nn.Module) -> dict[str, features.Layer]:
    return {layer.name: layer for layer in features.find_layers(model, IMAGES)}


def test_tokens_are_maps_where_the_patches_lie() -> None:
    """Other tokens are split off, and places are measured; attention's own are no maps."""
    model = Transformer()
    layers = _layers(model)
    assert tokens_before(model) == 3
    for name in ("norm", "mlp", "body"):
        layer = layers[name]
        assert layer.tokens == Grid(3, 6, 8)
        assert (layer.channels, layer.height, layer.width) == (8, 6, 8)
        assert layer.measured
        assert (layer.stride_y, layer.stride_x, layer.offset_y, layer.offset_x) == (4, 4, 1.5, 1.5)
    assert layers["patches"].tokens is None
    for name in ("attn.q_norm", "attn.softmax"):
        assert "is (batch, head, token, ...) of attention" in layers[name].reason
    with pytest.raises(ip.InvalidInputError, match=r"'attn.q_norm' has no spatial map .*attention"):
        features.select_layers(list(layers.values()), ["attn.q_norm"])


def test_merged_tokens_follow_the_grid_that_was_halved() -> None:
    """Half the rows and columns of the patches that came before."""
    layer = _layers(Merging())["merge"]
    assert layer.tokens == Grid(0, 3, 4)
    assert (layer.stride_y, layer.offset_x, layer.measured) == (8, 3.5, True)


def test_a_map_of_tokens_is_what_the_patches_hold() -> None:
    """Cell (y, x) of the map is token 3 + 8 y + x."""
    model = Transformer()
    layer = _layers(model)["body"]
    with hooks.evaluating(model):
        tokens = hooks.record(model, IMAGES)[hooks.Key("body", 1, "")]
        maps = features.tap(model, IMAGES, [layer])["body"]
    assert maps.shape == (2, 8, 6, 8)
    assert torch.equal(maps[:, :, 4, 5], tokens[:, 3 + 8 * 4 + 5])


def test_a_map_is_put_back_beside_the_other_tokens() -> None:
    """With the map that was there nothing changes; with another one, what attention reads does."""
    model = Transformer()
    layer = _layers(model)["norm"]
    with hooks.evaluating(model):
        maps = features.tap(model, IMAGES, [layer])["norm"]
        said = outputs(model, IMAGES)[""]
        assert torch.equal(outputs_with(model, IMAGES, layer, maps)[""], said)
        assert not torch.allclose(outputs_with(model, IMAGES, layer, maps.flip(-1) * 3)[""], said)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((1, 48, 8), Grid(0, 6, 8)),
        ((1, 49, 8), Grid(1, 6, 8)),
        ((1, 51, 8), Grid(3, 6, 8)),
        ((1, 12, 8), Grid(0, 3, 4)),
        ((1, 52, 8), None),
        ((1, 47, 8), None),
        ((1, 8, 48), None),
        ((4, 48, 8), None),
        ((1, 48), None),
    ],
)
def test_only_as_many_tokens_as_a_grid_has_are_one(
    shape: tuple[int, ...], grid: Grid | None
) -> None:
    """Up to three more before them; not channels first, not windows."""
    grids = Grids(3, 24, 32)
    grids.see(torch.zeros(1, 5, 6, 8))
    grids.see(torch.zeros(1, 2, 7, 7))  # is not of the image's shape
    assert grids.see(torch.zeros(shape)) == grid
