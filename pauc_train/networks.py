"""A method's networks on their device: precision, memory format, and shared among processes."""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from pauc_train import ranks
from pauc_train.config import Config
from pauc_train.contrast import ContrastConfig
from pauc_train.method import Terms, Training

__all__ = ["SynchronisedNorm", "prepared", "shared"]


def prepared(training: Training, config: Config, device: torch.device) -> Training:
    """Put a method's networks on the device, as the configuration says, ready to train."""
    if ranks.count() > 1 and not _shuffled(config):
        _synchronise(training, device)
    training.to(device)
    if config.channels_last:
        training.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for network in training.children():
        if config.compile:
            network.compile()
        if config.precision == "bfloat16":
            network.forward = _in_bfloat16(network.forward, device)
    return training.train()


def shared(training: Training, config: Config) -> Callable[..., Terms]:
    """Share gradients among processes, which have equal weights from the start."""
    if ranks.count() == 1:
        return training
    # buffers stay equal by themselves: all that fills them was gathered, or is synchronised; batch
    # statistics that are not are those of the first process, as in MoCo
    with warnings.catch_warnings():  # torch 2.13 has another name for it, 2.6 has not
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(training, broadcast_buffers=_shuffled(config))


def _shuffled(config: Config) -> bool:
    return isinstance(config, ContrastConfig) and config.shuffles_keys


def _in_bfloat16(forward: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    def run(*inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return forward(*inputs).float()

    return run


def _synchronise(module: nn.Module, device: torch.device) -> None:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            if device.type == "cuda":
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
            else:
                setattr(module, name, SynchronisedNorm(child))
        else:
            _synchronise(child, device)


class SynchronisedNorm(_BatchNorm):
    """Batch norm over the batch of all processes, also on CPUs, where torch has none."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        for name, value in (*norm.named_parameters(), *norm.named_buffers()):
            setattr(self, name, value)

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel, in training by all processes' mean and variance."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = x.numel() // x.shape[1] * ranks.count()
        mean = ranks.add(x.sum(axes)) / count
        centred = x - mean.view(shape)
        variance = ranks.add(centred.square().sum(axes)) / count
        self._follow(mean, variance, count)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        y = centred * scale.view(shape)
        return y + self.bias.view(shape) if self.affine else y

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.momentum is not None
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
