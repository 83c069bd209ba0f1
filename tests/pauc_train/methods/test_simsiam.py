"""SimSiam: its loss, the stopped gradient, and the predictor's constant rate."""

import copy
import math

import pytest
import torch

from pauc_train.methods.simsiam import SimsiamConfig, negative_cosine
from pauc_train.optim import make_optimizer, set_learning_rate
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "predictor_width": 4}


def slow_loss(predicted, target):
    cosines = [
        sum(x * y for x, y in zip(p, t, strict=True)) / (math.hypot(*p) * math.hypot(*t))
        for p, t in zip(predicted.tolist(), target.tolist(), strict=True)
    ]
    return -sum(cosines) / len(cosines)


def test_loss_is_the_authors():
    p1, p2, z1, z2 = (wave(12, 6, phase) for phase in (0.0, 0.4, 0.9, 1.7))
    assert negative_cosine(p1, z2).item() == pytest.approx(slow_loss(p1, z2), rel=1e-5)
    # facebookresearch/simsiam main_simsiam.py, line "loss = …", on the same numbers
    value = negative_cosine(p1, z2) / 2 + negative_cosine(p2, z1) / 2
    assert value.item() == pytest.approx(-0.41181058, rel=1e-5)


def test_loss_of_a_batch_pairs_each_view_with_the_other():
    training = started("simsiam", **SMALL)
    batch = batch_of(8, 8)
    fixed = copy.deepcopy(training)
    terms = training(batch, torch.Generator())
    z1, z2 = (fixed.encoder(view) for view in batch.views)
    expected = slow_loss(fixed.predictor(z1), z2) / 2 + slow_loss(fixed.predictor(z2), z1) / 2
    assert terms["negative_cosine"].value.item() == pytest.approx(expected, rel=1e-4)
    deviation = torch.nn.functional.normalize(z1, dim=1).std(0).mean()
    assert terms["output_std"].value.item() == pytest.approx(deviation.item(), rel=1e-5)
    assert terms["output_std"].weight == 0


def test_no_gradient_passes_through_the_target():
    p, z = wave(12, 6, 0.0).requires_grad_(), wave(12, 6, 0.4).requires_grad_()
    negative_cosine(p, z).backward()
    assert z.grad is None
    assert float(p.grad.abs().max()) > 1e-3


def test_a_step_moves_encoder_and_predictor():
    training = started("simsiam", **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    assert moved(before, training) == {"encoder", "predictor"}


def test_names_are_the_repositorys():
    names = set(started("simsiam", **SMALL).state_dict())
    expected = {"encoder.fc.0.weight", "encoder.fc.1.bias", "encoder.fc.3.weight",
                "encoder.fc.4.weight", "encoder.fc.6.weight", "encoder.fc.7.running_mean",
                "predictor.0.weight", "predictor.1.weight", "predictor.3.bias"}  # fmt: skip
    assert expected <= names
    assert not names & {"encoder.fc.0.bias", "encoder.fc.7.weight", "predictor.0.bias"}


def test_the_predictors_rate_stays_constant():
    training = started("simsiam", epochs=10, learning_rate=0.2, **SMALL)
    config = SimsiamConfig(epochs=10, learning_rate=0.2, **SMALL)
    optimizer = make_optimizer(training, config)
    set_learning_rate(optimizer, config, 5)
    rates = {group["constant"]: group["lr"] for group in optimizer.param_groups}
    assert rates[True] == pytest.approx(0.2)
    assert rates[False] == pytest.approx(0.1)
    constant = next(group for group in optimizer.param_groups if group["constant"])
    assert {id(p) for p in constant["params"]} == {id(p) for p in training.predictor.parameters()}
