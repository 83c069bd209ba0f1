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
