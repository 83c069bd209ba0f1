"""SwAV: codes, swapped prediction, prototypes, crops of two sizes, and the queue."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pauc_train.methods.swav import METHOD, SwavConfig, codes, swapped_prediction
from pauc_train.views import Draws
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "projector_widths": (12,), "prototype_count": 5}


def slow_codes(scores, epsilon, steps):
    """Alternate scaling of exp(scores / ε), as Cuturi (2013) writes it: prototypes, then images."""
    kernel = np.exp(scores.double().numpy() / epsilon)
    n, k = kernel.shape
    images, prototypes = np.ones(n), np.ones(k)
    for _ in range(steps):
        prototypes = (1 / k) / (kernel.T @ images)
        images = (1 / n) / (kernel @ prototypes)
    return torch.from_numpy(n * images[:, None] * kernel * prototypes)


def slow_loss(scores, targets, temperature):
    losses = []
    for number, target in enumerate(targets):
        for view, score in enumerate(scores):
            if view == number:
                continue
            for q, row in zip(target.tolist(), score.tolist(), strict=True):
                parts = [math.exp(x / temperature) for x in row]
                losses.append(
                    -sum(a * math.log(b / sum(parts)) for a, b in zip(q, parts, strict=True))
                )
    return sum(losses) / len(losses)


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_codes_are_sinkhorns(steps):
    scores = wave(12, 5, 0.3)
    expected = slow_codes(scores, 0.25, steps).float()
    torch.testing.assert_close(
        codes(scores, epsilon=0.25, steps=steps), expected, rtol=1e-4, atol=0
    )


def test_codes_are_the_authors():
    # facebookresearch/swav main_swav.py distributed_sinkhorn in one process, the same numbers
    found = codes(0.5 * wave(12, 5, 0.0), epsilon=0.05, steps=3)
    expected = [2.9e-05, 0.039637, 0.580023, 0.376363, 0.003948]
    assert found[0].tolist() == pytest.approx(expected, abs=2e-6)


def test_codes_balance_prototypes_and_do_not_overflow():
    scores = 0.1 * wave(40, 5, 0.0)
    scores[:, 2] += 100.0  # one prototype is nearest for all
    found = codes(scores, epsilon=0.05, steps=100)
    torch.testing.assert_close(found.sum(1), torch.ones(40))
    torch.testing.assert_close(found.sum(0), torch.full((5,), 8.0), rtol=1e-3, atol=0)


def test_loss_is_swapped_prediction_over_all_views():
    scores = [0.5 * wave(12, 5, phase) for phase in (0.0, 0.4, 0.9, 1.7)]
    targets = [codes(score, epsilon=0.05, steps=3) for score in scores[:2]]
    found = swapped_prediction(scores, targets, 0.1).item()
    assert found == pytest.approx(slow_loss(scores, targets, 0.1), rel=1e-5)
    # main_swav.py train, from "swav loss" on, the same numbers
    assert found == pytest.approx(2.79497933, rel=1e-5)


def test_loss_of_a_batch_with_crops_of_two_sizes():
    training = started("swav", small_crops=2, **SMALL)
    batch = batch_of(8, 8, 4, 4)
    fixed = copy.deepcopy(training)
    terms = training(batch, torch.Generator())
    scores = []
    for pair in (batch.views[:2], batch.views[2:]):  # batch statistics are those of a size's views
        projected = fixed.projection_head(fixed.encoder(torch.cat(pair)))
        scores += (F.normalize(projected, dim=1) @ fixed.prototypes.weight.T).detach().chunk(2)
    targets = [slow_codes(score, 0.05, 3) for score in scores[:2]]
    expected = slow_loss(scores, targets, 0.1)
    assert terms["swapped_prediction"].value.item() == pytest.approx(expected, rel=1e-4)
    usage = targets[0].mean(0)
    entropy = -(usage * usage.log()).sum().item()
    assert terms["code_usage_entropy"].value.item() == pytest.approx(entropy, rel=1e-4)
    assert terms["code_usage_entropy"].weight == 0


def test_codes_pass_no_gradient():
    scores = (0.5 * wave(12, 5, 0.0)).requires_grad_()
    assert not codes(scores, epsilon=0.05, steps=3).requires_grad


@pytest.mark.parametrize(("epoch", "free"), [(0, False), (1, False), (2, True)])
def test_prototypes_are_frozen_in_the_first_epochs(epoch, free):
    training = started("swav", freeze_epochs=2, small_crops=0, **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8, epoch=epoch))
    assert moved(before, training) - {"prototypes"} == {"encoder", "projection_head"}
    difference = before["prototypes.weight"] - training.state_dict()["prototypes.weight"]
    assert (float(difference.abs().max()) > 1e-5) == free  # normalising again may round


def test_prototypes_stay_on_the_sphere():
    training = started("swav", freeze_epochs=0, small_crops=0, **SMALL)
    for rate in (0.0, 5.0):
        stepped(training, batch_of(8, 8), rate=rate)
        torch.testing.assert_close(training.prototypes.weight.norm(dim=1), torch.ones(5))


def test_the_queue_fills_newest_first_and_counts_once_full():
    training = started("swav", queue_size=40, queue_epoch=1, small_crops=0, **SMALL)
    loss = lambda epoch: training(batch_of(8, 8, epoch=epoch), torch.Generator())  # noqa: E731
    loss(0)
    assert int(training.queue_filled) == 0
    embeddings = F.normalize(
        training.projection_head(training.encoder(torch.cat(batch_of(8, 8).views))), dim=1
    )
    plain = [loss(1)["swapped_prediction"].value.item() for _ in range(3)]
    torch.testing.assert_close(training.queue[:, :16], embeddings.detach().view(2, 16, 8))
    torch.testing.assert_close(training.queue[:, 16:32], training.queue[:, :16])
    assert int(training.queue_filled) == 40
    assert plain[0] == pytest.approx(plain[2], rel=1e-5)  # not used until full
    scores = (embeddings @ training.prototypes.weight.T).detach()
    beside = training.queue @ training.prototypes.weight.detach().T
    pairs = zip(beside, scores.chunk(2), strict=True)
    targets = [slow_codes(torch.cat(pair), 0.05, 3)[-16:] for pair in pairs]
    expected = slow_loss(scores.chunk(2), targets, 0.1)
    assert loss(1)["swapped_prediction"].value.item() == pytest.approx(expected, rel=1e-4)


def test_views_are_two_large_and_the_small_ones():
    views = METHOD.views(SwavConfig(small_crops=3))
    images = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    draws = Draws(torch.Generator().manual_seed(0), 2)
    assert [view(images, draws).shape[-1] for view in views] == [56, 56, 24, 24, 24]
