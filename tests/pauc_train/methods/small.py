"""A method on a small net, images, and numbers by a formula that other programs can repeat."""

import torch

from pauc_train.method import Batch, Setup
from pauc_train.methods import METHODS


def wave(rows, columns, phase):
    """sin(1.3 i + 0.7 j (i + 1) + phase), in single precision."""
    i = torch.arange(rows, dtype=torch.float64)[:, None]
    j = torch.arange(columns, dtype=torch.float64)[None]
    return torch.sin(1.3 * i + 0.7 * j * (i + 1) + phase).float()


def started(name, **settings):
    """The method's training with random weights, always the same."""
    config = METHODS[name].config(arch="resnet8-tiny", **settings)
    generator = torch.Generator().manual_seed(0)
    setup = Setup(config=config, count=40, channels=1, size=(8, 8), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS[name].start(setup).train()


def batch_of(*sides, count=16, epoch=0, progress=0.0):
    """Random views of these sides."""
    generator = torch.Generator().manual_seed(1)
    views = tuple(torch.randn(count, 1, side, side, generator=generator) for side in sides)
    return Batch(views=views, indices=torch.arange(count), epoch=epoch, progress=progress)


def stepped(training, batch, rate=0.1):
    """Take one step of plain gradient descent as the loop does; the terms of the loss."""
    from pauc_train.method import total

    terms = training(batch, torch.Generator().manual_seed(2))
    total(terms).backward()
    training.before_step(batch.epoch)
    with torch.no_grad():
        for parameter in training.parameters():
            if parameter.grad is not None:
                parameter.sub_(rate * parameter.grad)
    training.after_step(batch.progress)
    return terms


def moved(before, training):
    """Top names of the parameters that differ from a copy of the state, by more than rounding."""
    pairs = {name: (before[name], value) for name, value in training.named_parameters()}
    found = {name for name, (a, b) in pairs.items() if not torch.allclose(a, b, rtol=1e-6)}
    return {name.split(".")[0] for name in found}
