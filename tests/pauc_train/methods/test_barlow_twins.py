"""Barlow Twins: its loss, and rates of their own for vectors."""

import copy

import numpy as np
import pytest
import torch

from pauc_train.method import total
from pauc_train.methods.barlow_twins import BarlowTwinsConfig, barlow_twins_terms
from pauc_train.optim import make_optimizer, set_learning_rate
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "projector_widths": (12, 12)}


def test_terms_are_those_of_the_correlation_matrix():
    first, second = wave(12, 6, 0.0), wave(12, 6, 1.9)
    both = np.corrcoef(first.double().numpy().T, second.double().numpy().T)[:6, 6:]
    invariance = sum((1 - both[i, i]) ** 2 for i in range(6))
    redundancy = sum(both[i, j] ** 2 for i in range(6) for j in range(6) if i != j)
    found = [term.item() for term in barlow_twins_terms(first, second)]
    assert found == pytest.approx([invariance, redundancy], rel=1e-4)


def test_terms_are_the_authors():
    # facebookresearch/barlowtwins main.py BarlowTwins.forward, on the same numbers
    found = [term.item() for term in barlow_twins_terms(wave(12, 6, 0.0), wave(12, 6, 0.4))]
    assert found == pytest.approx([0.04055167, 4.0621276], rel=1e-4)


def test_loss_of_a_batch_weighs_both_terms():
    training = started("barlow-twins", redundancy_weight=0.3, **SMALL)
    batch = batch_of(8, 8)
    fixed = copy.deepcopy(training)
    value = total(training(batch, torch.Generator()))
    outputs = [fixed.projector(fixed.backbone(view)) for view in batch.views]
    invariance, redundancy = barlow_twins_terms(*outputs)
    assert value.item() == pytest.approx((invariance + 0.3 * redundancy).item(), rel=1e-5)


def test_a_step_moves_backbone_and_projector():
    training = started("barlow-twins", **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    assert moved(before, training) == {"backbone", "projector"}


def test_vectors_have_their_own_rate():
    config = BarlowTwinsConfig(learning_rate=2.0, vector_rate=0.05, schedule="constant",
                               rate_warmup_epochs=0.0, **SMALL)  # fmt: skip
    training = started("barlow-twins", vector_rate=0.05, **SMALL)
    optimizer = make_optimizer(training, config)
    set_learning_rate(optimizer, config, 0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for parameter in training.parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 if parameter.ndim == 1 else 2.0)
    paper = BarlowTwinsConfig()
    assert paper.vector_rate == pytest.approx(0.0048 / 0.2)
