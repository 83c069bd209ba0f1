"""Projectors and predictors: MLPs on top of a backbone, numbered as nn.Sequential does."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

__all__ = ["mlp"]


def mlp(
    widths: Sequence[int], *, norm: bool = True, last_norm: bool = False, bias: bool = True
) -> nn.Sequential:
    """Linear layers of these widths, with (batch norm and) ReLU between them.

    norm: batch norm before each ReLU, whose layers then have no bias. last_norm: batch norm
    without weights of its own after the last layer, which then has no bias. bias: of the last.

    >>> list(mlp([8, 16, 4]).state_dict())[:3], list(mlp([8, 4], last_norm=True).state_dict())[:2]
    (['0.weight', '1.weight', '1.bias'], ['0.weight', '1.running_mean'])
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers.append(nn.Linear(before, after, bias=not norm))
        layers += [nn.BatchNorm1d(after)] if norm else []
        layers.append(nn.ReLU())
    layers.append(nn.Linear(widths[-2], widths[-1], bias=bias and not last_norm))
    layers += [nn.BatchNorm1d(widths[-1], affine=False)] if last_norm else []
    return nn.Sequential(*layers)
