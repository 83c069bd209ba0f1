"""VICReg: its three terms and their weights."""

import copy
import math

import numpy as np
import pytest
import torch

from pauc_train.method import total
from pauc_train.methods.vicreg import covariance_term, variance_term
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "projector_widths": (12, 12)}


def slow_variance(z):
    deviations = [math.sqrt(np.var(column, ddof=1) + 1e-4) for column in z.double().numpy().T]
    return sum(max(0.0, 1 - deviation) for deviation in deviations) / len(deviations)


def slow_covariance(z):
    covariance = np.cov(z.double().numpy().T)
    d = len(covariance)
    return sum(covariance[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d


def test_terms_are_those_of_the_paper():
    z = 2 * wave(12, 6, 0.3) * torch.linspace(0.1, 1, 6)  # some deviations above 1
    assert variance_term(z).item() == pytest.approx(slow_variance(z), rel=1e-5)
    assert covariance_term(z).item() == pytest.approx(slow_covariance(z), rel=1e-5)


def test_terms_are_the_authors():
    # facebookresearch/vicreg main_vicreg.py VICReg.forward, on the same numbers
    first, second = wave(12, 6, 0.0), wave(12, 6, 0.4)
    variance = (variance_term(first) + variance_term(second)) / 2
    assert variance.item() == pytest.approx(0.27134052, rel=1e-5)
    covariance = covariance_term(first) + covariance_term(second)
    assert covariance.item() == pytest.approx(0.32791013, rel=1e-5)


def test_loss_of_a_batch_is_the_authors_sum():
    training = started("vicreg", **SMALL)
    batch = batch_of(8, 8)
    fixed = copy.deepcopy(training)
    value = total(training(batch, torch.Generator())).item()
    first, second = (fixed.projector(fixed.backbone(view)).detach() for view in batch.views)
    invariance = ((first - second) ** 2).mean().item()
    variance = (slow_variance(first) + slow_variance(second)) / 2
    covariance = slow_covariance(first) + slow_covariance(second)
    assert value == pytest.approx(25 * invariance + 25 * variance + covariance, rel=1e-4)


def test_weights_scale_their_terms():
    weights = {"invariance_weight": 2.0, "variance_weight": 3.0, "covariance_weight": 5.0}
    terms = started("vicreg", **weights, **SMALL)(batch_of(8, 8), torch.Generator())
    assert {f"{name}_weight": term.weight for name, term in terms.items()} == weights


def test_a_step_moves_backbone_and_projector():
    training = started("vicreg", **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    assert moved(before, training) == {"backbone", "projector"}
