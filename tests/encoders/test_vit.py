"""DINO's and DINOv2's positions on another grid, MoCo v3's stem of convolutions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.encoders import backbone_from_state_dict, vit_from_state_dict
from nemd_toolkit.encoders.positions import placed
from nemd_toolkit.errors import InputError
from tests.encoders.test_peers import assert_same, images, random_weights
from tests.layouts.framework_modules import under, vit

SIDE, DIM = 5, 6


def cubic(t):
    """Keys's kernel with a = -0.75, as torch has it without antialiasing."""
    t, a = abs(t), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def shifted(length, side):
    """Weights (length, side) of DINO's way: the scale is that of a grid of length + 0.1."""
    found = np.zeros((length, side))
    for i in range(length):
        centre = (i + 0.5) * side / (length + 0.1) - 0.5
        first = int(np.floor(centre))
        for j in range(first - 1, first + 3):
            found[i, min(max(j, 0), side - 1)] += cubic(centre - j)
    return found


def table(tokens, seed=0):
    return torch.randn(1, tokens + SIDE**2, DIM, generator=torch.Generator().manual_seed(seed))


def square(own, tokens):
    return own[0, tokens:].reshape(SIDE, SIDE, DIM).double().numpy()


@pytest.mark.parametrize("grid", [(7, 7), (5, 8), (3, 9), (2, 2)])
class TestGrids:
    def test_dino_scales_by_a_grid_that_is_a_little_too_large(self, grid):
        own = table(1)
        rows, columns = (shifted(length, SIDE) for length in grid)
        expected = np.einsum("hr,wc,rcd->hwd", rows, columns, square(own, 1))
        first, found = placed(own, grid, tokens=1, registers=0, way="dino")
        assert torch.equal(first, own[:, :1])
        assert np.abs(found[0].numpy() - expected.reshape(-1, DIM)).max() < 1e-5
        plain = placed(own, grid, tokens=1, registers=0, way="transformers")[1]
        assert (found - plain).abs().max() > 1e-2

    def test_dinov2_with_registers_smooths(self, grid):
        own = table(1)
        maps = own[0, 1:].T.reshape(1, DIM, SIDE, SIDE)
        smooth = F.interpolate(maps, size=grid, mode="bicubic", antialias=True)
        _, found = placed(own, grid, tokens=5, registers=4, way="dino")
        torch.testing.assert_close(found[0], smooth.reshape(DIM, -1).T, rtol=0, atol=1e-6)
        assert (found - placed(own, grid, tokens=1, registers=0, way="dino")[1]).abs().max() > 1e-2


def test_a_table_of_no_square_is_refused():
    for rows, tokens in ((1, 1), (24, 1), (3, 0)):
        with pytest.raises(InputError, match=f"a square grid, got {rows}"):
            placed(torch.ones(1, rows, 2), (2, 2), tokens=tokens, registers=0, way="timm")


_BRANCH = under(vit(0), "backbone.") | {"head.mlp.0.weight": torch.ones(1, 24)}
DINO = under(_BRANCH, "teacher.") | under(_BRANCH, "student.")


@pytest.mark.parametrize(
    ("state", "layout", "way"),
    [
        (DINO, "dino", "dino"),
        ({k.replace("head", "dino_head"): v for k, v in DINO.items()}, "dinov2", "dino"),
        (vit(0, extra=(("mask_token", (1, 24)),), scale=True), "dinov2/hub", "dino"),
        (vit(0), "vit", "timm"),
    ],
)
def test_layouts_tell_whose_way_positions_go(tmp_path, state, layout, way):
    torch.save(state, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    assert (found.layout, found.branch().positions) == (layout, way)
    rows = [
        backbone_from_state_dict(found.branch().backbone, 3, name).double().features(images(64))
        for name in (found.branch().positions, "dino", "timm")
    ]
    assert torch.equal(rows[0], rows[1 if way == "dino" else 2])
    assert not torch.allclose(rows[1], rows[2], atol=1e-3)


class Stem(nn.Module):
    """ConvStem of facebookresearch/moco-v3 vits.py."""

    def __init__(self, width):
        super().__init__()
        layers, inputs = [], 3
        for outputs in (width // 8, width // 4, width // 2, width):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)]
            layers.append(nn.ReLU())
            inputs = outputs
        self.proj = nn.Sequential(*layers, nn.Conv2d(width, width, 1))

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


def conv_vit(peers, seed=0):
    """vit_conv_small, two blocks deep: timm's ViT with the stem, positions fixed."""
    model = peers.timm.create_model(
        "vit_small_patch16_224", num_classes=0, img_size=64, depth=2, num_heads=12
    )
    model.patch_embed = Stem(384)
    random_weights(model, seed)
    model.pos_embed.data[:, 0] = 0
    return model


def test_moco_v3_with_a_stem_of_convolutions(peers, tmp_path):
    nets = [conv_vit(peers, seed) for seed in range(2)]
    head = nn.Sequential(nn.Linear(384, 16, bias=False), nn.BatchNorm1d(16, affine=False))
    state = under(nets[0].state_dict(), "module.base_encoder.")
    state |= under(nets[1].state_dict(), "module.momentum_encoder.")
    for name in ("base", "momentum"):
        state |= under(head.state_dict(), f"module.{name}_encoder.head.")
    state |= under(head.state_dict(), "module.predictor.")
    torch.save({"epoch": 300, "arch": "vit_conv_small", "state_dict": state}, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    assert found.layout == "moco-v3"
    for net, branch in zip(nets, ("base", "momentum"), strict=True):
        ours = backbone_from_state_dict(found.branch(branch).backbone)
        assert (ours.heads, ours.patch, ours.channels) == (12, 16, 3)
        with torch.inference_mode():
            assert_same(ours.double().features(images(64)), net.double()(images(64)))


def test_a_stem_alone_is_a_vit(peers, tmp_path):
    torch.save(conv_vit(peers).state_dict(), tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth").layout == "vit"


def test_stems_of_other_layers_are_refused(peers):
    state = conv_vit(peers).state_dict()
    with pytest.raises(InputError, match=r"square patches .*, got layers numbered \[0, 1, 3"):
        vit_from_state_dict({k: v for k, v in state.items() if "proj.4." not in k})
    state["patch_embed.proj.4.running_mean"] = torch.ones(3)
    with pytest.raises(InputError, match="fit together"):
        vit_from_state_dict(state)
