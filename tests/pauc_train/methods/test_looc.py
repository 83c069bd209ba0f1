"""LooC: its loss in every space, keys that share a draw, and the queue of all spaces."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from pauc_train.method import Batch, total
from pauc_train.methods.looc import joint_views, leave_one_out
from pauc_train.momentum import follow
from pauc_train.views import Draws
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 4, "queue_size": 20, "key_momentum": 0.9}


def unit(*shape, phase):
    return F.normalize(wave(math.prod(shape[:-1]), shape[-1], phase).view(shape), dim=-1)


def slow_loss(query, keys, queue, temperature):
    """Eq. 1, written out: E⁺ of keys, E⁻ of the queue, one image and one space after another."""
    dot = lambda a, b: math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / temperature)  # noqa: E731
    losses = []
    for space in range(query.shape[1]):
        rows = []
        for q, k in zip(query[:, space].tolist(), keys[:, space].tolist(), strict=True):
            own = dot(q, k[space])
            others = 0.0 if space == 0 else sum(dot(q, k[j]) for j in range(len(k)) if j != space)
            rest = sum(dot(q, negative) for negative in queue[:, space].tolist())
            rows.append(-math.log(own / (own + others + rest)))
        losses.append(sum(rows) / len(rows))
    return losses


def test_loss_is_equation_1():
    query, keys = unit(6, 3, 4, phase=0.0), unit(6, 3, 3, 4, phase=0.4)
    queue = unit(9, 3, 4, phase=0.9)
    expected = slow_loss(query, keys, queue, 0.2)
    assert leave_one_out(query, keys, queue, 0.2).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_general_space_does_not_push_other_keys_away():
    query, queue = unit(6, 3, 4, phase=0.0), unit(9, 3, 4, phase=0.9)
    keys = unit(6, 3, 3, 4, phase=0.4).requires_grad_()
    losses = leave_one_out(query, keys, queue, 0.2)
    (gradient,) = torch.autograd.grad(losses[0], keys, retain_graph=True)
    assert float(gradient[:, 0, 1:].abs().max()) == 0
    (gradient,) = torch.autograd.grad(losses[2], keys)
    pull = (gradient[:, 2] * query[:, 2, None]).sum(-1)  # (6, 3); descent goes against it
    assert bool((pull[:, 2] < 0).all())
    assert bool((pull[:, :2] > 0).all())


def drawn(factors, channels=1):
    images = torch.rand(4, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    draws = Draws(torch.Generator().manual_seed(1), 4)
    return images, joint_views(images, draws, "none", factors).chunk(4, dim=2)


def test_each_factors_key_shares_its_draw_with_the_query():
    """Of the first factor alone, and then of the second alone."""
    images, (query, general, first, second) = drawn(("turns", "none"))
    assert torch.equal(first, query)
    assert not torch.equal(second, query)
    assert not torch.equal(general, query)
    assert not torch.equal(general, second)
    assert not torch.equal(query, images)
    _, (query, general, first, second) = drawn(("none", "light"))
    assert torch.equal(second, query)
    assert not torch.equal(first, query)
    assert not torch.equal(general, query)


def test_factors_are_drawn_apart_from_each_other():
    _, (query, _, first, second) = drawn(("light", "light"))
    assert not torch.equal(first, query)
    assert not torch.equal(second, query)


def test_a_process_sees_its_share_of_the_views():
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    factors = ("quarter-turns", "colour")
    whole = joint_views(images, Draws(torch.Generator().manual_seed(1), 6), "crop", factors)
    for share in (slice(0, 3), slice(3, 6)):
        draws = Draws(torch.Generator().manual_seed(1), 6, share)
        part = joint_views(images[share], draws, "crop", factors)
        torch.testing.assert_close(part, whole[share], rtol=0, atol=1e-5)


def stacked(count):
    views = batch_of(8, 8, 8, 8, count=count)
    return Batch(
        views=(torch.cat(views.views, dim=2),), indices=views.indices, epoch=0, progress=0.0
    )


def test_loss_of_a_batch_and_the_queue():
    training = started("looc", **SMALL)
    stepped(training, stacked(16))  # the key encoder lags behind now
    batch = stacked(12)
    fixed = copy.deepcopy(training)
    terms = training(batch, torch.Generator())
    query_view, *key_views = batch.views[0].chunk(4, dim=2)
    spaces = lambda net, x: F.normalize(net(x).detach().view(12, 3, 4), dim=2)  # noqa: E731
    query = spaces(fixed.encoder_q, query_view)
    follow(fixed.encoder_k, fixed.encoder_q, 0.9)
    keys = torch.stack([spaces(fixed.encoder_k, view) for view in key_views], dim=2)
    queue = fixed.queue.T.reshape(20, 3, 4)
    torch.testing.assert_close(queue.norm(dim=2), torch.ones(20, 3))
    expected = slow_loss(query, keys, queue, 0.2)
    found = [term.value.item() for term in terms.values()]
    assert found == pytest.approx(expected, rel=1e-4)
    assert total(terms).item() == pytest.approx(sum(expected) / 3, rel=1e-4)
    newest = training.queue.T.reshape(20, 3, 4)[[16, 17, 18, 19, *range(8)]]
    own = torch.stack([keys[:, space, space] for space in range(3)], dim=1)
    torch.testing.assert_close(newest, own)


def test_a_step_moves_the_query_encoder_with_all_heads():
    training = started("looc", **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, stacked(16))
    assert moved(before, training) == {"encoder_q"}
    for name in ("conv1", "fc.2", "heads.0.2", "heads.1.2"):
        key = f"encoder_q.{name}.weight"
        assert not torch.equal(before[key], training.state_dict()[key])
    assert all(p.grad is None for p in training.encoder_k.parameters())
    heads = [before[f"encoder_q.{name}.2.weight"] for name in ("fc", "heads.0", "heads.1")]
    assert not torch.equal(heads[0], heads[1])  # each starts from weights of its own
    assert not torch.equal(heads[1], heads[2])
