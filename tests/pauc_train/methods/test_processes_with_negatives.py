"""Two processes with half a batch each: loss, gradients and buffers of one with the whole batch."""

from dataclasses import fields

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from pauc_train.method import Batch, total
from pauc_train.methods import METHODS
from pauc_train.networks import prepared
from tests.pauc_train.methods.small import batch_of, started

NAMES = [
    "simclr", "simclrv2", "swd", "mocov3", "moco-align-uniform", "adco", "mochi", "npid", "pirl",
    "cmc", "debiased-cmc", "pic", "infomin",
]  # fmt: skip
SMALL = {
    "embedding_dim": 8, "queue_size": 40, "projector_widths": (12,), "predictor_width": 10,
    "adversaries": 30, "hardest": 10, "mixed_pairs": 6, "mixed_queries": 4,
    "mixing_warmup_epochs": 0, "bank_negatives": 10, "grid": 2, "recent_classes": 20,
}  # fmt: skip


def outcome(name, rank=0, count=1):
    """Loss, gradients as the optimiser sees them, and buffers, after a rank's share of a batch."""
    known = {declared.name for declared in fields(METHODS[name].config)}
    training = started(name, **{key: value for key, value in SMALL.items() if key in known})
    training = prepared(training, training.config, torch.device("cpu"))
    whole = batch_of(*[8] * (3 if name == "infomin" else 2))
    share = slice(16 * rank // count, 16 * (rank + 1) // count)
    batch = Batch(
        views=tuple(view[share] for view in whole.views),
        indices=whole.indices[share],
        epoch=0,
        progress=0.0,
    )
    loss = total(training(batch, torch.Generator().manual_seed(2)))
    loss.backward()
    gradients = {n: p.grad for n, p in training.named_parameters() if p.grad is not None}
    for gradient in gradients.values():
        if count > 1:
            dist.all_reduce(gradient)
    return loss.detach(), gradients, dict(training.named_buffers())


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {name: outcome(name, rank, 2) for name in NAMES}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    processes.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_do_what_one_does(name, halves):
    loss, gradients, buffers = outcome(name)
    for half in halves:
        torch.testing.assert_close(half[name][0], loss)
        assert half[name][1].keys() == gradients.keys()
        for key, gradient in gradients.items():
            bound = 1e-4 * float(gradient.abs().max()) + 1e-9
            torch.testing.assert_close(half[name][1][key], gradient, rtol=0, atol=bound)
        for key, buffer in buffers.items():
            torch.testing.assert_close(half[name][2][key], buffer, rtol=1e-4, atol=1e-5)
