"""SimCLR and its second version: NT-Xent, where gradients go, and the projectors."""

import copy
import math

import pytest
import torch

from pauc_train.methods.simclr import nt_xent
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "temperature": 0.3}


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))


def slow_loss(first, second, temperature):
    """Eq. 1 as it stands: a sum over k ≠ i of all views, for views 2k−1 and 2k of an image."""
    views = [row for pair in zip(first.tolist(), second.tolist(), strict=True) for row in pair]
    losses = []
    for i, view in enumerate(views):
        other = i + 1 if i % 2 == 0 else i - 1
        parts = {
            k: math.exp(cosine(view, views[k]) / temperature) for k in range(len(views)) if k != i
        }
        losses.append(-math.log(parts[other] / sum(parts.values())))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_is_equation_1(temperature):
    first, second = wave(12, 6, 0.0), wave(12, 6, 0.4)
    value = nt_xent(first, second, temperature=temperature)
    assert value.item() == pytest.approx(slow_loss(first, second, temperature), rel=1e-5)


@pytest.mark.parametrize(("temperature", "theirs"), [(0.1, 2.627387), (0.5, 3.5712411)])
def test_loss_is_half_that_of_the_authors(temperature, theirs):
    """Numbers: add_contrastive_loss of google-research/simclr (383d414), on the same input."""
    value = nt_xent(wave(12, 6, 0.0), wave(12, 6, 0.4), temperature=temperature)
    assert value.item() == pytest.approx(theirs / 2, rel=1e-5)


def test_loss_by_hand():
    """Two images on the plane's axes: an other view at cosine 1, two at 0, one of them twice."""
    plane = torch.eye(2)
    assert nt_xent(plane, 3 * plane, temperature=0.5).item() == pytest.approx(
        math.log(1 + 2 * math.exp(-2))
    )
    assert nt_xent(plane, plane.flip(0), temperature=0.5).item() == pytest.approx(
        math.log(math.exp(2) + 2)
    )


@pytest.mark.parametrize("name", ["simclr", "simclrv2"])
def test_loss_of_a_batch_is_of_both_views_in_one_pass(name):
    training = started(name, **SMALL)
    fixed = copy.deepcopy(training)
    batch = batch_of(8, 8)
    value = training(batch, torch.Generator())["nt_xent"].value
    first, second = fixed.projector(fixed.encoder(torch.cat(batch.views))).chunk(2)
    assert value.item() == pytest.approx(slow_loss(first, second, 0.3), rel=1e-4)
    assert int(training.encoder.bn1.num_batches_tracked) == 1


@pytest.mark.parametrize("name", ["simclr", "simclrv2"])
def test_a_step_moves_encoder_and_projector(name):
    training = started(name, **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    assert moved(before, training) == {"encoder", "projector"}


@pytest.mark.parametrize(
    ("name", "widths"), [("simclr", [64, 64, 8]), ("simclrv2", [64, 64, 64, 8])]
)
def test_projectors_have_the_papers_layers(name, widths):
    """Layers without bias; norms between them scale and shift, the last one scales only."""
    training = started(name, **SMALL)
    layers = [m for m in training.projector if isinstance(m, torch.nn.Linear)]
    assert [layers[0].in_features, *(layer.out_features for layer in layers)] == widths
    assert all(layer.bias is None for layer in layers)
    norms = [m for m in training.projector if isinstance(m, torch.nn.BatchNorm1d)]
    assert [norm.bias.requires_grad for norm in norms] == [True] * (len(widths) - 2) + [False]
    assert all(norm.weight.requires_grad for norm in norms)
    output = training.projector(torch.randn(50, 64, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(output.mean(0), torch.zeros(8), atol=1e-5, rtol=0)


def test_features_are_from_before_the_projector():
    training = started("simclr", **SMALL).eval()
    images = batch_of(8).views[0]
    assert torch.equal(training.features(images), training.encoder.features(images))
