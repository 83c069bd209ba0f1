"""Heads as the methods' own code builds them give the same rows from their state dicts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nemd_toolkit.encoders import head_from_state_dict
from nemd_toolkit.errors import InputError

L, B, R, G = nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.GELU
HEADS = {
    "MoCo v1": (L(8, 4),),
    "MoCo v2, PCL v2": (L(8, 8), R(), L(8, 4)),
    "SimCLR": (L(8, 8, bias=False), B(8), R(), L(8, 4, bias=False), B(4)),
    "SimSiam projector": (
        L(8, 8, bias=False), B(8), R(), L(8, 8, bias=False), B(8), R(), L(8, 4), B(4, affine=False),
    ),
    "SimSiam predictor": (L(8, 4, bias=False), B(4), R(), L(4, 8)),
    "MoCo v3": (L(8, 8, bias=False), B(8), R(), L(8, 4, bias=False), B(4, affine=False)),
    "Barlow Twins": (L(8, 8, bias=False), B(8), R(), L(8, 8, bias=False), B(8), R(),
                     L(8, 8, bias=False)),
    "VICReg": (L(8, 8), B(8), R(), L(8, 8), B(8), R(), L(8, 8, bias=False)),
    "SwAV": (L(8, 8), B(8), R(), L(8, 4)),
    "BYOL": (L(8, 8), B(8), R(), L(8, 4)),
    "DINO": (L(8, 8), G(), L(8, 8), G(), L(8, 4)),
    "with a layer norm": (L(8, 8), nn.LayerNorm(8), R(), L(8, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_published_methods(name):
    torch.manual_seed(0)
    head = nn.Sequential(*HEADS[name]).eval()
    for value in head.buffers():
        if value.ndim:
            value.uniform_(0.5, 1.5)
    x = torch.randn(5, 8)
    ours = head_from_state_dict(head.state_dict(), "gelu" if name == "DINO" else "relu")
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), head(x), rtol=1e-6, atol=1e-6)


def test_one_linear_layer_and_missing_counts():
    linear = L(8, 4)
    x = torch.randn(5, 8)
    torch.testing.assert_close(head_from_state_dict(linear.state_dict())(x), linear(x))
    state = nn.Sequential(L(8, 4), B(4)).state_dict()
    del state["1.num_batches_tracked"]
    assert head_from_state_dict(state)(x).shape == (5, 4)
    assert not torch.equal(F.relu(linear(x)), linear(x))  # an activation would have shown


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"layers.0.weight": torch.ones(2, 2)},
        {"9999.weight": torch.ones(2, 2)},
        {"0.weight": torch.ones(2, 2, 1, 1)},
        {"0.bias": torch.ones(2)},
        {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(3)},
        {"0.weight": torch.ones(2, 2), "0.scale": torch.ones(2)},
    ],
)
def test_what_is_no_head_is_refused_in_a_sentence(state):
    with pytest.raises(InputError, match="head: expected .* got"):
        head_from_state_dict(state)
