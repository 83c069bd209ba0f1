"""MoCHi: which keys are mixed and how, the loss with them, and when mixing starts."""

import copy
import math
from itertools import combinations_with_replacement

import pytest
import torch
import torch.nn.functional as F

from pauc_train.methods.mochi import hard_info_nce, mixtures
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {
    "embedding_dim": 8, "queue_size": 40, "hardest": 10, "mixed_pairs": 6, "mixed_queries": 4,
    "mixing_warmup_epochs": 2,
}  # fmt: skip


def unit(x):
    return F.normalize(x, dim=-1)


def points():
    return (unit(wave(n, 6, p)) for n, p in ((12, 0.0), (12, 0.4), (24, 2.2)))


def mixed(query, queue, seed=0, **counts):
    return mixtures(query, queue, generator=torch.Generator().manual_seed(seed), **counts)


def parts(mixture, one, other):
    """Weights (w, v) ≥ 0 with w·one + v·other along the mixture, if there are such."""
    plane = torch.stack([one, other], dim=1).double()
    found = torch.linalg.lstsq(plane, mixture.double()[:, None])
    weights = found.solution[:, 0]
    gap = (plane @ weights - mixture).norm()
    return weights.tolist() if gap < 1e-5 and weights.min() > -1e-6 else None


def test_pairs_mix_two_of_the_hardest_keys():
    query, _, queue = points()
    found = mixed(query, queue, hardest=4, pairs=30, queries=0)
    assert found.shape == (12, 30, 6)
    torch.testing.assert_close(found.norm(dim=2), torch.ones(12, 30))
    for q, own in zip(query, found, strict=True):
        hardest = sorted(range(24), key=lambda i: -float(q @ queue[i]))[:4]
        for mixture in own:
            pairs = combinations_with_replacement(hardest, 2)
            assert any(parts(mixture, queue[i], queue[j]) for i, j in pairs)
    assert len({tuple(mixture) for mixture in found[0].tolist()}) > 20


def test_mixtures_with_the_query_keep_the_greater_part_of_a_key():
    query, _, queue = points()
    found = mixed(query, queue, hardest=3, pairs=0, queries=40)
    shares = []
    for q, own in zip(query, found, strict=True):
        hardest = sorted(range(24), key=lambda i: -float(q @ queue[i]))[:3]
        for mixture in own:
            weights = [w for i in hardest if (w := parts(mixture, q, queue[i]))]
            assert weights
            shares.append(min(w[0] / sum(w) for w in weights))
    assert 0 <= min(shares) < 0.05
    assert 0.45 < max(shares) < 0.5
    assert sum(shares) / len(shares) == pytest.approx(0.25, abs=0.03)


def test_mixing_weights_of_pairs_are_uniform():
    """One hardest key is at right angles to the other, so that the mixture's angle tells α."""
    query, queue = unit(torch.tensor([[1.0, 1.0, 0.0]])), torch.eye(3)
    found = mixed(query, queue, hardest=2, pairs=20_000, queries=0)[0]
    proper = found[(found[:, :2] > 1e-6).all(1)]
    assert len(proper) == pytest.approx(10_000, abs=400)  # half of the draws take one key twice
    alpha = proper[:, 0] / proper[:, :2].sum(1)
    edges = torch.histc(alpha, 10, 0, 1) / len(alpha)
    torch.testing.assert_close(edges, torch.full((10,), 0.1), atol=0.015, rtol=0)


def test_loss_is_the_softmax_over_key_queue_and_mixtures():
    query, key, queue = points()
    own = mixed(query, queue, hardest=5, pairs=7, queries=3)
    losses = []
    for q, k, extra in zip(query, key, own, strict=True):
        logits = [float(q @ other) / 0.3 for other in (k, *queue, *extra)]
        losses.append(-math.log(math.exp(logits[0]) / sum(map(math.exp, logits))))
    value = hard_info_nce(query, key, queue, own, temperature=0.3)
    assert value.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_mixtures_are_constants():
    query, key, queue = points()
    query.requires_grad_(True)
    own = mixed(query, queue, hardest=5, pairs=2, queries=2)
    assert not own.requires_grad
    hard_info_nce(query, key, queue, own).backward()
    gradient = query.grad.clone()
    columns = torch.cat([key[:, None], queue.expand(12, -1, -1), own], dim=1)
    shares = (torch.einsum("bd,bnd->bn", query.detach(), columns) / 0.2).softmax(1)
    expected = (torch.einsum("bn,bnd->bd", shares, columns) - key) / 0.2 / 12
    torch.testing.assert_close(gradient, expected)


def test_fewer_keys_than_the_hardest_are_all_mixed():
    query, _, queue = points()
    assert mixed(query, queue[:3], hardest=100, pairs=5, queries=0).shape == (12, 5, 6)


@pytest.mark.parametrize(("epoch", "extra"), [(1, 0), (2, 10)])
def test_mixing_starts_after_the_warm_up(epoch, extra):
    training = started("mochi", **SMALL)
    batch = batch_of(8, 8, epoch=epoch)
    fixed = copy.deepcopy(training)
    value = training(batch, torch.Generator().manual_seed(2))["info_nce"].value
    query, key = fixed.query(batch.views[0]), fixed.key(batch.views[1])
    queue = fixed.negatives()
    own = query.new_zeros(16, 0, 8)
    if extra:
        own = mixed(query, queue, seed=2, hardest=10, pairs=6, queries=4)
    expected = hard_info_nce(query, key, queue, own, temperature=0.2)
    assert own.shape[1] == extra
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_step_moves_the_query_encoder_and_the_queue():
    training = started("mochi", **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8, epoch=3))
    assert moved(before, training) - {"encoder_k"} == {"encoder_q"}  # a copy of equals may round
    changed = (before["queue"] != training.queue).any(0)
    assert changed.tolist() == [True] * 16 + [False] * 24
