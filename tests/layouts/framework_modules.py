"""Small models that bear the names of the originals; only names, shapes and nesting matter."""

import itertools
import warnings

import torch
from torch import nn

from nemd_toolkit.encoders.resnet import ResNet, ResNetShape

FEATURES = 64  # of the ResNet below


def resnet(seed, *, stem="imagenet", head="none", dim=5, prefix="", block="basic"):
    """torchvision's ResNet(BasicBlock, [1, 1, 1, 1]), eight channels wide."""
    torch.manual_seed(seed)
    shape = ResNetShape(block=block, blocks=(1, 1, 1, 1), width=8, stem=stem, head=head, dim=dim)
    return under(ResNet(shape).state_dict(), prefix)


def vit(seed, *, dim=24, patch=16, side=224, depth=2, classes=0, extra=(), scale=False):
    """facebookresearch/dino vision_transformer.py VisionTransformer, timm's, and DINOv2's."""
    torch.manual_seed(seed)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.LayerNorm(dim)
            self.attn = nn.Module()
            self.attn.qkv, self.attn.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
            if scale:
                self.ls1, self.ls2 = nn.Module(), nn.Module()
                for layer in (self.ls1, self.ls2):
                    layer.gamma = nn.Parameter(torch.rand(dim))
            self.norm2 = nn.LayerNorm(dim)
            self.mlp = nn.Module()
            self.mlp.fc1, self.mlp.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    model = nn.Module()
    model.cls_token = nn.Parameter(torch.rand(1, 1, dim))
    model.pos_embed = nn.Parameter(torch.rand(1, (side // patch) ** 2 + 1, dim))
    for name, shape in extra:
        setattr(model, name, nn.Parameter(torch.rand(*shape)))
    model.patch_embed = nn.Module()
    model.patch_embed.proj = nn.Conv2d(3, dim, patch, patch)
    model.blocks = nn.ModuleList([Block() for _ in range(depth)])
    model.norm = nn.LayerNorm(dim)
    if classes:
        model.head = nn.Linear(dim, classes)
    return model.state_dict()


def dino_head(seed, inputs, *, body="mlp", batchnorm=False, prototypes=20):
    """DINOHead of facebookresearch/dino, dinov2, solo-learn, lightly: weight-normed last layer."""
    torch.manual_seed(seed)
    norm = [nn.BatchNorm1d(32)] if batchnorm else []
    head = nn.Module()
    layers = nn.Sequential(
        nn.Linear(inputs, 32), *norm, nn.GELU(),
        nn.Linear(32, 32), *norm, nn.GELU(),
        nn.Linear(32, 16),
    )  # fmt: skip
    setattr(head, body, layers)
    head.last_layer = weight_normed(16, prototypes)
    return head


def weight_normed(inputs, outputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises parametrizations
        layer = nn.utils.weight_norm(nn.Linear(inputs, outputs, bias=False))
    layer.weight_g.data = torch.rand(outputs, 1) + 0.5
    return layer


def effective(layer):
    """Weight that torch itself makes of g and v."""
    layer(torch.zeros(1, layer.in_features))
    return layer.weight.detach()


def mlp(seed, *sizes, batchnorm=True):
    """Linear, BatchNorm, ReLU, …, Linear."""
    torch.manual_seed(seed)
    layers = []
    for first, second in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(first, second), *([nn.BatchNorm1d(second)] if batchnorm else [])]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:])).state_dict()


def linear(seed, inputs, outputs, *, bias=True):
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs, bias=bias).state_dict()


def under(state, prefix):
    return {f"{prefix}{key}": value for key, value in state.items()}


def joined(**parts):
    """One state dict of parts named by keyword; __ is a dot."""
    found = {}
    for name, state in parts.items():
        found |= under(state, f"{name.replace('__', '.')}.")
    return found


def lightning(state, **extra):
    """What a Trainer of Lightning saves around a state dict."""
    return {
        "epoch": 3,
        "global_step": 40,
        "pytorch-lightning_version": "2.1.2",
        "state_dict": state,
        "loops": {},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.ones(2)}}}],
        "lr_schedulers": [],
        **extra,
    }
