"""Optimisers and the schedule of the learning rate."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from pauc_train.config import Config
from pauc_train.method import Rate, Training

__all__ = ["Lars", "learning_rate", "make_optimizer", "set_learning_rate"]


class Lars(torch.optim.SGD):
    """SGD whose rate is scaled for each matrix by ‖w‖/‖g + λw‖ (You et al. 2017, as in BYOL).

    Vectors (biases, norms) are neither scaled nor decayed, as in SimCLR, BYOL and Barlow Twins.
    """

    coefficient = 0.001  # SimCLR, BYOL, Barlow Twins: eta

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Scale each gradient, decay included, then take SGD's step with momentum."""
        for group in self.param_groups:
            decay = group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None or weight.ndim < 2:
                    continue
                gradient = weight.grad.add_(weight, alpha=decay)
                size, slope = weight.norm(), gradient.norm()
                ratio = self.coefficient * size / slope
                weight.grad.mul_(torch.where((size > 0) & (slope > 0), ratio, 1.0))
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            group["weight_decay"] = 0.0  # it is in the gradients
        super().step(closure)
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = decay


def make_optimizer(training: Training, config: Config) -> torch.optim.Optimizer:
    """Make the configured optimiser over the parameters that have gradients.

    One group for each of the method's `rates` that has parameters, one for the rest.
    """
    plain = Rate(prefix="")
    found: dict[Rate, list[nn.Parameter]] = {}
    for name, parameter in training.named_parameters():
        if parameter.requires_grad:
            rate = next((r for r in training.rates if name.startswith(r.prefix)), plain)
            found.setdefault(rate, []).append(parameter)
    groups = [
        {
            "params": parameters,
            "scale": rate.scale,
            "constant": rate.constant,
            "maximize": rate.scale < 0,
            "weight_decay": config.weight_decay if rate.decay is None else rate.decay,
        }
        for rate, parameters in found.items()
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    kind = Lars if config.optimizer == "lars" else torch.optim.SGD
    return kind(groups, lr=config.learning_rate, momentum=config.sgd_momentum)


def learning_rate(config: Config, passed: int | float) -> float:
    """Rate after `passed` epochs, a number that need not be whole.

    cosine: lr · ½(1 + cos(π·passed/epochs)); cosine-by-epoch: the same for the epochs begun before;
    step: a tenth after each milestone (a part of all epochs), by epoch. During the first
    `rate_warmup_epochs` it rises linearly from 0, and a cosine spans the rest (Goyal et al. 2017).
    """
    warmup = config.rate_warmup_epochs
    if passed < warmup:
        return config.learning_rate * passed / warmup
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "step":
        drops = sum(int(passed) >= m * config.epochs for m in config.milestones)
        return float(config.learning_rate * 0.1**drops)
    at = float(int(passed)) if config.schedule == "cosine-by-epoch" else passed
    part = max(0.0, at - warmup) / max(config.epochs - warmup, 1e-9)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * part))


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: Config, passed: int | float
) -> float:
    """Set every group's rate for this moment, and return the unscaled one."""
    rate = learning_rate(config, passed)
    groups: Iterable[dict[str, object]] = optimizer.param_groups
    for group in groups:
        scale = group["scale"]
        assert isinstance(scale, float)
        group["lr"] = abs(scale) * (config.learning_rate if group["constant"] else rate)
    return rate
