"""SGD with momentum and a cosine schedule, as PCL with --cos."""

import math

import torch
from torch import nn

from pauc_train.config import Config

__all__ = ["make_optimizer", "set_learning_rate"]


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.SGD:
    """SGD over the parameters that have gradients."""
    return torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.learning_rate,
        momentum=config.sgd_momentum,
        weight_decay=config.weight_decay,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, epoch: int, config: Config) -> float:
    """Set and return the rate of an epoch: lr · ½(1 + cos(π · epoch / epochs))."""
    rate = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * epoch / config.epochs))
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
