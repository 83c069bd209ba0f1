"""Key encoder and queue."""

import torch
import torch.nn.functional as F

from pauc_train.momentum import MomentumContrast, follow


def make(encoder, size=7):
    return MomentumContrast(encoder, queue_size=size, generator=torch.Generator().manual_seed(0))


def keys(first, count):
    """Unit keys that can be told apart: one angle each."""
    angle = torch.arange(first, first + count) * 0.1
    return F.pad(torch.stack([angle.cos(), angle.sin()], dim=1), (0, 3))


def test_names_are_pcls(encoder):
    state = make(encoder).state_dict()
    assert {key.split(".")[0] for key in state} == {"encoder_q", "encoder_k", "queue", "queue_ptr"}
    assert state["queue"].shape == (5, 7)
    torch.testing.assert_close(state["queue"].norm(dim=0), torch.ones(7))


def test_encoders_start_equal_and_the_key_encoder_has_no_gradient(encoder):
    model = make(encoder)
    pairs = zip(model.encoder_q.parameters(), model.encoder_k.parameters(), strict=True)
    assert all(torch.equal(q, k) and q.requires_grad and not k.requires_grad for q, k in pairs)


def test_keys_follow_by_the_exact_moving_average(encoder):
    model = make(encoder)
    with torch.no_grad():
        for q in model.encoder_q.parameters():
            q.add_(torch.rand(q.shape))
    before = [k.clone() for k in model.encoder_k.parameters()]
    follow(model.encoder_k, model.encoder_q, 0.9)
    triples = zip(before, model.encoder_q.parameters(), model.encoder_k.parameters(), strict=True)
    for old, q, k in triples:
        torch.testing.assert_close(k, 0.9 * old + 0.1 * q.detach(), rtol=1e-6, atol=1e-7)


def test_queue_replaces_the_oldest_and_wraps_around(encoder):
    model = make(encoder)
    model.enqueue(keys(0, 4))
    model.enqueue(keys(4, 5))  # places 4, 5, 6, 0, 1
    assert int(model.queue_ptr) == 2
    order = [7, 8, 2, 3, 4, 5, 6]
    assert torch.equal(model.queue.T, torch.cat([keys(i, 1) for i in order]))


def test_queue_filled_to_the_brim_starts_again(encoder):
    model = make(encoder)
    model.enqueue(keys(0, 7))
    assert int(model.queue_ptr) == 0
    assert torch.equal(model.queue.T, keys(0, 7))


def test_more_keys_than_places_leaves_the_newest(encoder):
    model = make(encoder)
    model.enqueue(keys(0, 10))
    assert sorted(model.queue[0].tolist()) == sorted(keys(3, 7)[:, 0].tolist())


def test_negatives_do_not_change_when_the_queue_moves_on(encoder):
    model = make(encoder)
    negatives = model.negatives()
    before = negatives.clone()
    model.enqueue(keys(0, 3))
    assert torch.equal(negatives, before)
