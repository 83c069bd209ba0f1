"""PIC's loss in loops, which weights a crop moves, and which images count as seen recently."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from pauc_train.method import Batch, total
from pauc_train.methods.pic import Recency
from tests.pauc_train.methods.small import started


def batch_of(indices, *sides):
    generator = torch.Generator().manual_seed(1)
    views = tuple(torch.randn(len(indices), 1, side, side, generator=generator) for side in sides)
    return Batch(views=views, indices=torch.tensor(indices), epoch=0, progress=0.0)


def slow_loss(training, batch, classes):
    """Mean over crops and images of −log softmax of cosines, in loops."""
    weights = {c: F.normalize(training.sim_matrix[c], dim=0) for c in classes}
    losses = []
    with torch.no_grad():
        for view in batch.views:
            embeddings = F.normalize(training.encoder(view), dim=1)
            for row, own in zip(embeddings, batch.indices.tolist(), strict=True):
                powers = {c: math.exp(float(row @ w) / 0.5) for c, w in weights.items()}
                losses.append(-math.log(powers[own] / sum(powers.values())))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("recent", [0, 6])
def test_the_loss_is_equation_1_over_all_or_the_recent_images(recent):
    training = started("pic", embedding_dim=8, temperature=0.5, recent_classes=recent)
    before = copy.deepcopy(training)
    seen = [30, 4, 11, 38, 4, 12, 30, 4, 7, 20]  # by three batches, the last of them this one
    for part in (seen[:4], seen[4:7]):
        training(batch_of(part, 8), torch.Generator())
    training.load_state_dict({**before.state_dict(), **_order(training)})
    batch = batch_of(seen[7:], 8, 5)
    value = total(training(batch, torch.Generator())).item()
    latest = list(dict.fromkeys(reversed(seen)))[:6]  # 20, 7, 4, 30, 12, 38
    expected = slow_loss(before.train(), batch, latest if recent else range(40))
    assert value == pytest.approx(expected, rel=1e-4)


def _order(training):
    return {key: value for key, value in training.state_dict().items() if "recency" in key}


def test_fewer_recent_images_than_a_batch_has_are_as_many_as_it_has():
    training = started("pic", embedding_dim=8, temperature=0.5, recent_classes=1)
    batch = batch_of([3, 9, 27], 8)
    expected = slow_loss(copy.deepcopy(training), batch, (3, 9, 27))
    assert total(training(batch, torch.Generator())).item() == pytest.approx(expected, rel=1e-4)


def test_small_crops_leave_weights_alone_and_move_the_encoder():
    both = started("pic", embedding_dim=8)
    large = started("pic", embedding_dim=8)
    batch = batch_of([3, 9, 27], 8, 5)
    total(both(batch, torch.Generator())).backward()
    total(large(batch_of([3, 9, 27], 8), torch.Generator())).backward()
    # a mean of two losses, of which one moves the weights
    torch.testing.assert_close(both.sim_matrix.grad, large.sim_matrix.grad / 2)
    assert not torch.allclose(both.encoder.conv1.weight.grad, large.encoder.conv1.weight.grad / 2)


def test_only_recent_classes_are_moved():
    training = started("pic", embedding_dim=8, recent_classes=5)
    total(training(batch_of([3, 9, 27], 8), torch.Generator())).backward()
    moved = training.sim_matrix.grad.abs().sum(1) > 0
    assert moved.nonzero()[:, 0].tolist() == [0, 1, 3, 9, 27]


def test_images_are_recent_in_the_order_in_which_they_were_seen_last():
    recency, seen = Recency(50), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(9):
        part = torch.randperm(50, generator=generator)[:7]
        recency.see(part)
        seen += part.tolist()
        order = list(dict.fromkeys(reversed(seen)))
        assert recency.latest(len(order)).tolist() == order
    assert len(recency.latest(99)) == 50
