"""MoCo v3: its loss, where gradients go, and how the slow copy follows."""

import copy
import math

import pytest
import torch

from pauc_train.methods.mocov3 import contrastive
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "projector_widths": (12,), "predictor_width": 10}


def slow_loss(query, key, temperature):
    """Algorithm 1's ctr, one query after another."""
    unit = [[[x / math.hypot(*row) for x in row] for row in m.tolist()] for m in (query, key)]
    losses = []
    for place, q in enumerate(unit[0]):
        parts = [
            math.exp(sum(a * b for a, b in zip(q, k, strict=True)) / temperature) for k in unit[1]
        ]
        losses.append(-math.log(parts[place] / sum(parts)))
    return 2 * temperature * sum(losses) / len(losses)


@pytest.mark.parametrize(("temperature", "theirs"), [(0.2, 2.0141594), (1.0, 8.6368685)])
def test_loss_is_that_of_the_authors(temperature, theirs):
    """Numbers: contrastive_loss of facebookresearch/moco-v3 (c349e6e), run on the same input."""
    q1, q2, k1, k2 = (wave(12, 6, phase) for phase in (0.0, 0.4, 0.9, 1.7))
    found = [contrastive(q, k, temperature=temperature) for q, k in ((q1, k2), (q2, k1))]
    expected = [slow_loss(q, k, temperature) for q, k in ((q1, k2), (q2, k1))]
    assert [x.item() for x in found] == pytest.approx(expected, rel=1e-5)
    assert sum(found).item() == pytest.approx(theirs, rel=1e-5)


def test_loss_of_a_batch_pairs_each_view_with_the_others_key_after_following():
    training = started("mocov3", temperature=0.5, target_momentum=0.5, **SMALL)
    with torch.no_grad():
        for parameter in training.base_encoder.parameters():
            parameter.mul_(1.3)
    batch = batch_of(8, 8, progress=0.5)
    fixed = copy.deepcopy(training)
    value = training(batch, torch.Generator())["contrastive"].value
    queries = [fixed.predictor(fixed.base_encoder(view)) for view in batch.views]
    with torch.no_grad():
        slow, fast = fixed.momentum_encoder.parameters(), fixed.base_encoder.parameters()
        for k, q in zip(slow, fast, strict=True):
            k.copy_(0.75 * k + 0.25 * q)  # halfway between 0.5 and 1
    keys = [fixed.momentum_encoder(view) for view in batch.views]
    expected = slow_loss(queries[0], keys[1], 0.5) + slow_loss(queries[1], keys[0], 0.5)
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_gradients_reach_the_base_side_only():
    training = started("mocov3", **SMALL)
    training(batch_of(8, 8), torch.Generator())["contrastive"].value.backward()
    reached = {n.split(".")[0] for n, p in training.named_parameters() if p.grad is not None}
    assert reached == {"base_encoder", "predictor"}
    assert float(training.base_encoder.conv1.weight.grad.abs().max()) > 1e-7


def test_a_step_moves_encoder_and_predictor_and_the_copy_in_the_next():
    training = started("mocov3", target_momentum=0.9, **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    weight = training.momentum_encoder.conv1.weight
    torch.testing.assert_close(weight, before["momentum_encoder.conv1.weight"])
    stepped(training, batch_of(8, 8))
    assert moved(before, training) == {"base_encoder", "predictor", "momentum_encoder"}


def test_names_are_those_of_the_authors_checkpoints():
    names = set(started("mocov3", **SMALL).state_dict())
    for layer in ("0.weight", "1.weight", "1.bias", "3.weight", "4.running_mean"):
        assert {f"{side}.fc.{layer}" for side in ("base_encoder", "momentum_encoder")} <= names
        assert f"predictor.{layer}" in names
    assert "predictor.4.weight" not in names  # the last norm has no weights
