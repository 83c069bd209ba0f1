"""CLD: groups of a batch, the cross-level loss, three views, and two heads."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.formulas import info_nce
from pauc_train.methods.cld import cross_level, groups_of
from pauc_train.momentum import follow
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "queue_size": 40, "groups": 5, "key_momentum": 0.9}


def unit(*phases):
    """Two views that group differently."""
    first, second = (wave(24, 6, phase) for phase in phases)
    return F.normalize(first, dim=1), F.normalize(second + 0.5 * wave(24, 6, 0.3).flip(0), dim=1)


def slow_groups(points, k, steps):
    """Lloyd's k-means from the first k points, one point after another."""
    rows = points.tolist()
    means = rows[:k]
    for _ in range(steps):
        group = [min(range(k), key=lambda g: math.dist(row, means[g])) for row in rows]
        means = []
        for g in range(k):
            members = [row for row, own in zip(rows, group, strict=True) if own == g]
            sums = [sum(row[i] for row in members) for i in range(len(rows[0]))]
            means.append([value / max(1, len(members)) for value in sums])
    return group, means


def slow_loss(first, second, k, steps, temperature):
    losses = []
    for points, others in ((first, second), (second, first)):
        group, means = slow_groups(others, k, steps)
        for row, own in zip(points.tolist(), group, strict=True):
            parts = [
                math.exp(sum(x * y for x, y in zip(row, mean, strict=True)) / temperature)
                for mean in means
            ]
            losses.append(-math.log(parts[own] / sum(parts)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_groups_are_k_means_from_the_first_points(steps):
    points = unit(0.0, 1.7)[1]
    group, means = groups_of(points, 5, steps)
    expected, centres = slow_groups(points, 5, steps)
    assert group.tolist() == expected
    torch.testing.assert_close(means, torch.tensor(centres), rtol=0, atol=1e-6)


def test_a_group_that_lost_its_points_is_at_zero():
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    group, means = groups_of(points, 2, 2)
    assert group.tolist() == [0, 0, 0] or means[1].tolist() == [0.0, 0.0]
    same = torch.ones(4, 2)
    assert groups_of(same, 3, 2)[1].tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_loss_is_cross_entropy_with_the_other_views_groups():
    first, second = unit(0.0, 1.7)
    found = cross_level(first, second, k=5, steps=5, temperature=0.4).item()
    assert found == pytest.approx(slow_loss(first, second, 5, 5, 0.4), rel=1e-5)
    # frank-xwang/CLD-UnsupervisedLearning main_imagenet_moco_cld.py grouping with KMeans of
    # spectral_clustering.py, on the same numbers
    assert found == pytest.approx(1.97116852, rel=1e-5)


def test_gradients_reach_points_and_means():
    first, second = (x.requires_grad_() for x in unit(0.0, 1.7))
    F.cross_entropy(
        first.detach() @ groups_of(second, 5, 5)[1].T, torch.zeros(24).long()
    ).backward()
    assert float(second.grad.abs().max()) > 1e-4  # as in the authors' code
    assert first.grad is None


@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_loss_of_a_batch_is_two_queries_against_one_key_and_groups(head):
    training = started("cld", head=head, **SMALL)
    stepped(training, batch_of(8, 8, 8))  # the key encoder lags behind now
    batch = batch_of(8, 8, 8, count=12)
    fixed = copy.deepcopy(training)
    terms = training(batch, torch.Generator())
    halves = [fixed.encoder_q(batch.views[i]).detach().chunk(2, dim=1) for i in (0, 2)]
    follow(fixed.encoder_k, fixed.encoder_q, 0.9)
    key = F.normalize(fixed.encoder_k(batch.views[1]).chunk(2, dim=1)[0], dim=1).detach()
    losses = [
        info_nce(F.normalize(half[0], dim=1), key, fixed.queue.T, temperature=0.2)
        for half in halves
    ]
    assert terms["info_nce"].value.item() == pytest.approx(sum(losses).item() / 2, rel=1e-4)
    groups = [F.normalize(half[1], dim=1) for half in halves]
    assert terms["cross_level"].value.item() == pytest.approx(
        slow_loss(*groups, 5, 5, 0.4), rel=1e-3
    )
    assert terms["cross_level"].weight == 0.25
    assert int(training.queue_ptr) == 28
    torch.testing.assert_close(training.queue[:, 16:28].T, key)


def test_a_step_moves_both_encoders_and_both_heads():
    training = started("cld", **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8, 8))
    assert moved(before, training) == {"encoder_q"}
    for name in ("fc.0.weight", "fc.2.weight", "groupDis.weight", "conv1.weight"):
        assert not torch.equal(
            before[f"encoder_q.{name}"], training.state_dict()[f"encoder_q.{name}"]
        )
    training(batch_of(8, 8, 8), torch.Generator())
    assert moved(before, training) == {"encoder_q", "encoder_k"}
    assert all(p.grad is None for p in training.encoder_k.parameters())


def test_few_images_make_as_many_groups():
    training = started("cld", **SMALL | {"groups": 100})
    terms = training(batch_of(8, 8, 8, count=6), torch.Generator())
    assert bool(torch.isfinite(terms["cross_level"].value))
