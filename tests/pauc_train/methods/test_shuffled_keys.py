"""Keys that are shuffled among processes: each has batch statistics of images that it drew."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from nemd_toolkit.formulas import info_nce
from pauc_train.method import Batch, total
from pauc_train.momentum import follow
from pauc_train.networks import prepared, shared
from tests.pauc_train.methods.small import batch_of, started

SMALL = {"embedding_dim": 8, "queue_size": 40}
HALVES = (slice(0, 8), slice(8, 16))


def fresh(batch_norm):
    return started("mocov2", **SMALL, batch_norm=batch_norm)


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    whole = batch_of(8, 8)
    batch = Batch(
        views=tuple(view[HALVES[rank]] for view in whole.views),
        indices=whole.indices[HALVES[rank]],
        epoch=0,
        progress=0.0,
    )
    found = {}
    for batch_norm in ("shuffled", "synchronised"):
        training = fresh(batch_norm)
        training = prepared(training, training.config, torch.device("cpu"))
        network = shared(training, training.config)
        for step in range(2):  # the second begins with the first process's buffers
            loss = total(network(batch, torch.Generator().manual_seed(2 + step)))
        found[batch_norm] = (loss.detach(), training.queue.clone())
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    processes.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def in_one_process():
    """Do by hand what two processes do in two steps; the weights stay as they are."""
    training = fresh("shuffled")
    first, second = batch_of(8, 8).views
    for step in range(2):
        order = torch.randperm(16, generator=torch.Generator().manual_seed(2 + step))
        query = torch.cat([training.query(first[half]) for half in HALVES])
        follow(training.encoder_k, training.encoder_q, training.config.key_momentum)
        key = torch.empty_like(query)
        for half in HALVES:
            key[order[half]] = training.key(second[order[half]])
        loss = info_nce(query, key, training.negatives(), temperature=training.config.temperature)
        training.enqueue(key)
    return loss.detach(), training.queue


def test_each_process_encodes_the_keys_of_a_random_half(found):
    loss, queue = in_one_process()
    for own in found:
        torch.testing.assert_close(own["shuffled"][0], loss)
        torch.testing.assert_close(own["shuffled"][1], queue)


def test_keys_are_others_with_the_statistics_of_the_whole_batch(found):
    for own in found:
        difference = own["shuffled"][1] - own["synchronised"][1]
        assert float(difference.abs().max()) > 0.01
