"""Files of the poster's methods: names, shapes and nesting of their own code, small widths.

Shapes come from `framework_modules.resnet`: torchvision's ResNet, eight channels wide. Where a
repository's network differs from that, its names are made from those, as its code makes them.
"""

import argparse
import itertools

import torch
from torch import nn

from tests.layouts.framework_modules import FEATURES, joined, linear, mlp, resnet, under

OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.03}]}
DIM = 16


def moco(head, *, prefix="module.encoder_", queue=8, **extra):
    """facebookresearch/moco moco/builder.py, which PCL, AdCo, CLD and others build on."""
    state = {}
    for seed, name in enumerate("qk"):
        state |= under(joined_at_top(resnet(seed), head(seed)), f"{prefix}{name}.")
    if queue:
        state |= {"module.queue": torch.ones(DIM, queue)}
        state |= {"module.queue_ptr": torch.zeros(1).long()}
    return state | under(extra, "module.")


def joined_at_top(body, parts):
    """A network's own names, and parts below theirs."""
    return body | joined(**parts)


def fc(seed):
    return {"fc": linear(10 + seed, FEATURES, DIM)}


def fc_mlp(seed):
    """nn.Sequential(Linear, ReLU, Linear)."""
    return {"fc": mlp(10 + seed, FEATURES, FEATURES, DIM, batchnorm=False)}


def normed(seed, inputs=FEATURES, outputs=DIM):
    """NormedLinear of CLD models/ResNet.py: weight is inputs x outputs, no bias."""
    torch.manual_seed(seed)
    return {"weight": torch.randn(inputs, outputs)}


def batchnormed(seed, *sizes, bias=False, affine_last=None, last_bias=False):
    """Linear, BatchNorm, ReLU, …, Linear; at the end a BatchNorm without weights if asked for."""
    torch.manual_seed(seed)
    layers = []
    for number, (first, second) in enumerate(itertools.pairwise(sizes)):
        last = number == len(sizes) - 2
        layers.append(nn.Linear(first, second, bias=last_bias if last else bias))
        if not last:
            layers += [nn.BatchNorm1d(second), nn.ReLU()]
    if affine_last is not None:
        layers.append(nn.BatchNorm1d(sizes[-1], affine=affine_last))
    return nn.Sequential(*layers).state_dict()


def small_resnet(seed, projection="linear", last=None):
    """kuangliu's ResNet in lemniscate.pytorch models/resnet_cifar.py: 3x3 stem, shortcut, linear.

    Gives the file's names, and the same tensors by torchvision's.
    """
    body = resnet(seed, stem="small")
    last = linear(10 + seed, FEATURES, DIM) if last is None else last
    named = {key.replace(".downsample.", ".shortcut."): value for key, value in body.items()}
    return named | under(last, f"{projection}."), body, last


def sequential(body, children):
    """nn.Sequential(*children) of a ResNet: numbers for names, as list(net.children()) has them."""
    return {
        ".".join([str(children.index(word)), *rest]): value
        for key, value in body.items()
        for word, *rest in [key.split(".")]
    }


class LinearAverage(nn.Module):
    """As zhirongw/lemniscate.pytorch lib/LinearAverage.py: saved whole, as a pickled module."""

    def __init__(self, images=12):
        super().__init__()
        self.nLem = images
        self.register_buffer("params", torch.tensor([0.07, 0.5]))
        self.register_buffer("memory", torch.rand(images, DIM))


class AliasMethod:
    """As lib/alias_multinomial.py: a plain object that holds tensors."""

    def __init__(self, images):
        self.prob, self.alias = torch.zeros(images), torch.zeros(images).long()


class NCEAverage(LinearAverage):
    """As lib/NCEAverage.py."""

    def __init__(self, images=12):
        super().__init__(images)
        self.unigrams = torch.ones(images)
        self.multinomial = AliasMethod(images)
        self.K = 4


def options(**values):
    """argparse.Namespace, as parser.parse_args() gives it."""
    return argparse.Namespace(epochs=200, lr=0.03, **values)


def half_resnet(seed, channels):
    """HobbitLong/CMC models/resnet.py ResNet(in_channel=…, width=0.5).

    The stem keeps its width while the stages are halved, so the first block has a shortcut.
    """
    torch.manual_seed(seed)
    body = resnet(seed)
    body["conv1.weight"] = torch.randn(16, channels, 7, 7)
    body |= under(nn.BatchNorm2d(16).state_dict(), "bn1.")
    body["layer1.0.conv1.weight"] = torch.randn(8, 16, 3, 3)
    body["layer1.0.downsample.0.weight"] = torch.randn(8, 16, 1, 1)
    body |= under(nn.BatchNorm2d(8).state_dict(), "layer1.0.downsample.1.")
    return joined_at_top(body, fc(seed))


def half_alexnet(seed, channels, width=4):
    """HobbitLong/CMC models/alexnet.py alexnet_half, narrower."""
    torch.manual_seed(seed)
    parts = {}
    for block, (inputs, kernel) in enumerate([(channels, 11), (width, 5), *[(width, 3)] * 3]):
        layers = nn.Conv2d(inputs, width, kernel, bias=False), nn.BatchNorm2d(width)
        parts[f"conv_block_{block + 1}"] = nn.Sequential(*layers).state_dict()
    for name, inputs in (("fc6", 36 * width), ("fc7", 8)):
        parts[name] = nn.Sequential(nn.Linear(inputs, 8), nn.BatchNorm1d(8)).state_dict()
    return joined(**parts, fc8=nn.Sequential(nn.Linear(8, DIM)).state_dict())


def amdim_encoder(side, width=8, rkhs=64):
    """Philip-Bachman/amdim-public model.py Encoder with n_depth=1, use_bn=0."""

    def conv(inputs, outputs, kernel, *, bias=False):
        return nn.Conv2d(inputs, outputs, kernel, bias=bias).state_dict()

    def norm(channels):
        return under(nn.BatchNorm2d(channels).state_dict(), "bn.")

    def residual(inputs, outputs, kernel):  # ConvResNxN: bn1 is there, used or not
        parts = {"conv1": conv(inputs, outputs, kernel), "conv2": conv(outputs, outputs, 1)}
        return joined(**parts, bn1=norm(outputs))

    def block(inputs, outputs, kernel):  # ConvResBlock
        return under(residual(inputs, outputs, kernel), "layer_list.0.")

    def stem(inputs, kernel):
        return under(conv(inputs, width, kernel, bias=True), "conv.")

    def fake(inputs):  # FakeRKHSConvNet
        parts = {"conv1": conv(inputs, rkhs, 1), "conv2": conv(rkhs, rkhs, 1)}
        parts |= {name: norm(rkhs) for name in ("bn_hid", "bn_out")}
        return joined(**parts, shortcut=conv(inputs, rkhs, 1, bias=True))

    torch.manual_seed(side)
    wide = width * (4 if side == 32 else 8)
    second, third = block(width, 2 * width, 4), block(2 * width, 4 * width, 4)
    first = {
        32: [stem(3, 3), residual(width, width, 1), second],
        64: [stem(3, 3), second, third],
        128: [stem(3, 5), stem(width, 3), second, third],
    }[side]
    layers = [*first, block(wide // 2, wide, 2), norm(wide), block(wide, wide, 3)]
    layers += [block(wide, wide, 3), residual(wide, rkhs, 3), norm(rkhs)]
    parts = {f"layer_list.{number}": layer for number, layer in enumerate(layers)}
    return joined(**parts, rkhs_block_5=fake(wide), rkhs_block_7=fake(wide))


def amdim_evaluator(rkhs=64, classes=5):
    """Evaluator: an MLP and a linear classifier behind Flatten and Dropout."""
    torch.manual_seed(7)
    hidden = nn.Sequential(
        nn.Flatten(), nn.Dropout(), nn.Linear(rkhs, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(),
        nn.Dropout(), nn.Linear(6, classes),
    )  # fmt: skip
    plain = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(rkhs, classes))
    return joined(
        block_glb_mlp__block_forward=hidden.state_dict(),
        block_glb_lin__block_forward=plain.state_dict(),
    )
