"""A file as its original code saves it, with the modules that its weights came from.

Backbones are states under torchvision's, timm's or transformers' names, whose own code runs them
(`tests/layouts/test_every_layout.py`); heads are modules that run as the originals do.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from nemd_toolkit.encoders.resnet import ResNet, ResNetShape
from tests.layouts.framework_modules import vit as vit_state
from tests.layouts.framework_modules import weight_normed

DIM = 16  # of projections
K = 20  # prototypes
FEATURES = 64  # of `resnet`
Kind = Literal["resnet", "small", "vit", "transformers"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """From images to a layer, by the original's own modules."""

    body: dict[str, torch.Tensor] = field(default_factory=dict)
    network: nn.Module | None = None  # the authors' own, where no library has it
    side: int = 64  # of images that it takes
    head: nn.Module = field(default_factory=nn.Identity)
    layer: str = "projector"  # that the head gives; the backbone without one
    kind: Kind = "resnet"
    heads: int | None = None  # of attention


@dataclass(frozen=True, kw_only=True)
class Original:
    """What is saved, and what has to come back."""

    data: Any
    ways: dict[str, Way]  # by branch
    prototypes: dict[str, list[torch.Tensor]] = field(default_factory=dict)  # by branch
    files: dict[str, Any] | None = None  # JSON beside model.safetensors: a folder

    def save(self, folder: Path, *, zipped: bool = True) -> Path:
        """Write it as torch does, or as a folder."""
        if self.files is None:
            path = folder / "checkpoint.pth"
            torch.save(self.data, path, _use_new_zipfile_serialization=zipped)
            return path
        safetensors.torch.save_file(self.data, folder / "model.safetensors")
        for name, content in self.files.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        return folder


def filled(module, seed):
    """Fill parameters and statistics, so that no layer is an identity and no output a constant."""
    generator = torch.Generator().manual_seed(seed)

    def normal(value):
        return torch.randn(value.shape, generator=generator)

    for value in module.parameters():
        fan_in = value[0].numel() if value.ndim > 1 else 0
        value.data = normal(value) * (2 / fan_in) ** 0.5 if fan_in else 0.2 * normal(value)
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm1d | nn.BatchNorm2d):
            inner.running_mean.copy_(0.1 * normal(inner.running_mean))
            inner.running_var.copy_(0.5 + normal(inner.running_var).square())
            if inner.affine:
                inner.weight.data += 1
    return module.eval()


def resnet(seed, *, stem="imagenet", block="basic", channels=3):
    """torchvision's ResNet with a block in each stage, eight channels wide; statistics and all."""
    shape = ResNetShape(
        block=block, blocks=(1, 1, 1, 1), width=8, stem=stem, head="none", channels=channels
    )
    return filled(ResNet(shape), seed).state_dict()


def vit(seed, *, width=192, extra=(), scale=False, patch=16):
    """timm's ViT of one block for images of 64 pixels (56 with patches of 14)."""
    side = 64 // patch * patch
    state = vit_state(seed, dim=width, patch=patch, side=side, depth=1, extra=extra, scale=scale)
    generator = torch.Generator().manual_seed(seed)
    for value in state.values():
        if value.ndim == 1:  # norms, biases and scales that are no identity
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return state


def mlp(seed, *sizes, norm=True, bias=True, last_bias=True, last_norm=False):
    """Linear, BatchNorm, ReLU, …, Linear, and a BatchNorm without weights at the end if asked."""
    layers: list[nn.Module] = []
    for number in range(1, len(sizes)):
        last = number == len(sizes) - 1
        layers.append(nn.Linear(*sizes[number - 1 : number + 1], bias=last_bias if last else bias))
        if not last:
            layers += [*([nn.BatchNorm1d(sizes[number])] if norm else []), nn.ReLU()]
    if last_norm:
        layers.append(nn.BatchNorm1d(sizes[-1], affine=False))
    return filled(nn.Sequential(*layers), seed)


def linear(seed, inputs=FEATURES, outputs=DIM, *, bias=True):
    return filled(nn.Linear(inputs, outputs, bias=bias), seed)


def gelu_mlp(seed, inputs, *, batchnorm=False):
    """The first part of DINOHead: what is behind it is normalised and compared."""
    norm = [nn.BatchNorm1d(32)] if batchnorm else []
    return filled(
        nn.Sequential(nn.Linear(inputs, 32), *norm, nn.GELU(), nn.Linear(32, 32), *norm, nn.GELU(),
                      nn.Linear(32, DIM)), seed)  # fmt: skip


def last_layer(seed):
    """Weight-normed prototypes."""
    torch.manual_seed(seed)
    return weight_normed(DIM, K)


class NormedLinear(nn.Module):
    """CLD models/ResNet.py NormedLinear: directions of its input and of its columns."""

    def __init__(self, inputs=FEATURES, outputs=DIM):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))

    def forward(self, x):
        return F.normalize(x, dim=1).mm(F.normalize(self.weight, dim=0))


def transformers_resnet(body):
    """Names that huggingface/transformers modeling_resnet.py gives to torchvision's tensors."""
    kinds = {"conv": "convolution", "bn": "normalization"}
    found = {}
    for name, value in body.items():
        words = name.split(".")
        if words[0][:5] != "layer":
            found[f"embedder.embedder.{kinds[words[0][:-1]]}.{words[1]}"] = value
            continue
        start = f"encoder.stages.{int(words[0][5:]) - 1}.layers.{words[1]}"
        if words[2] == "downsample":
            part = f"shortcut.{('convolution', 'normalization')[int(words[3])]}"
        else:
            part = f"layer.{int(words[2][-1]) - 1}.{kinds[words[2][:-1]]}"
        found[f"{start}.{part}.{words[-1]}"] = value
    return found
