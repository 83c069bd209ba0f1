"""InfoMin: both terms in loops, against one queue and the same keys; what a step moves."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from pauc_train.jigsaw import patches
from pauc_train.method import total
from tests.pauc_train.methods.small import batch_of, started

CHOSEN = {
    "embedding_dim": 8, "queue_size": 20, "grid": 2, "temperature": 0.5, "jigsaw_weight": 0.3,
    "key_momentum": 0.9,
}  # fmt: skip


def slow_info_nce(queries, keys, queue):
    losses = []
    for query, key in zip(queries, keys, strict=True):
        own = math.exp(float(query @ key) / 0.5)
        others = sum(math.exp(float(query @ other) / 0.5) for other in queue.T)
        losses.append(-math.log(own / (own + others)))
    return sum(losses) / len(losses)


def test_images_and_puzzles_look_for_the_same_keys_in_the_same_queue():
    training = started("infomin", **CHOSEN)
    before = copy.deepcopy(training)
    batch = batch_of(8, 8, 8)
    terms = training(batch, torch.Generator())
    with torch.no_grad():
        image = F.normalize(before.head_q(before.encoder_q(batch.views[0])), dim=1)
        parts = before.encoder_q(patches(batch.views[2], 2))
        puzzle = F.normalize(before.head_jig(parts), dim=1)
        for slow, fast in ((before.encoder_k, before.encoder_q), (before.head_k, before.head_q)):
            for own, other in zip(slow.parameters(), fast.parameters(), strict=True):
                own.copy_(0.9 * own + 0.1 * other)
        key = F.normalize(before.head_k(before.encoder_k(batch.views[1])), dim=1)
    for name, queries, weight in (("image", image, 0.7), ("jigsaw", puzzle, 0.3)):
        expected = slow_info_nce(queries, key, before.queue)
        assert terms[name].value.item() == pytest.approx(expected, rel=1e-4)
        assert terms[name].weight == pytest.approx(weight)
    torch.testing.assert_close(training.queue[:, :16], key.T)
    assert torch.equal(training.queue[:, 16:], before.queue[:, 16:])


def test_gradients_reach_both_heads_of_the_query_encoder_and_no_key():
    training = started("infomin", **CHOSEN)
    total(training(batch_of(8, 8, 8), torch.Generator())).backward()
    for name, parameter in training.named_parameters():
        if name.split(".")[0] in ("encoder_k", "head_k"):
            assert parameter.grad is None
        else:
            assert float(parameter.grad.abs().max()) > 0, name
