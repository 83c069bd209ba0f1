"""What MoCo, PCL and PAUC add up, against slow references, by hand, and where gradients go."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.errors import InputError
from nemd_toolkit.formulas import batch_prototypes, p_decorrelation, p_jensen_shannon, uniform
from pauc_train.contrast import ContrastTraining, Step
from pauc_train.expectation import Clustering
from pauc_train.method import Batch, total
from pauc_train.methods import METHODS, moco, pauc, pcl
from pauc_train.methods.pauc import PaucConfig
from pauc_train.momentum import follow


def make_step(config, clusterings, *, n=9):
    generator = torch.Generator().manual_seed(3)

    def rows(count):
        return F.normalize(torch.randn(count, 5, generator=generator), dim=1)

    return Step(
        query=rows(n),
        key=rows(n),
        queue=rows(12),
        indices=torch.arange(n) * 3,
        clusterings=clusterings,
        config=config,
        generator=torch.Generator().manual_seed(1),
    )


def batch_of(first, second):
    return Batch(views=(first, second), indices=torch.arange(len(first)), epoch=0, progress=0.0)


def slow_info_nce(step, temperature):
    losses = []
    for q, k in zip(step.query, step.key, strict=True):
        positive = math.exp(float(q @ k) / temperature)
        negatives = sum(math.exp(float(q @ other) / temperature) for other in step.queue)
        losses.append(-math.log(positive / (positive + negatives)))
    return sum(losses) / len(losses)


def slow_proto_nce(step, clustering):
    """All prototypes are columns: with few of them, all that are absent are drawn."""
    losses = []
    for q, index in zip(step.query, step.indices, strict=True):
        own = int(clustering.assignment[index])
        parts = [
            math.exp(float(q @ c) / float(phi))
            for c, phi in zip(clustering.centroids, clustering.phi, strict=True)
        ]
        losses.append(-math.log(parts[own] / sum(parts)))
    return sum(losses) / len(losses)


def slow_prototypes(vectors, assignment):
    """Mean direction of each cluster present, in the order of the clusters' numbers."""
    found = {}
    for vector, cluster in zip(vectors.tolist(), assignment.tolist(), strict=True):
        old = found.get(cluster, [0.0] * len(vector))
        found[cluster] = [a + b for a, b in zip(old, vector, strict=True)]
    sums = [found[cluster] for cluster in sorted(found)]
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in sums]


def slow_pauc(step, clustering):
    assignment = clustering.assignment[step.indices]
    ours, theirs = slow_prototypes(step.query, assignment), slow_prototypes(step.key, assignment)
    align = sum(math.dist(a, b) ** 2 for a, b in zip(ours, theirs, strict=True)) / len(ours)
    pairs = [(a, b) for a in ours for b in ours if a is not b]
    spread = sum(math.exp(-2 * math.dist(a, b) ** 2) for a, b in pairs) / len(pairs)

    def simplex(row):
        parts = [math.exp(x / 0.1) for x in row]
        return [part / sum(parts) for part in parts]

    correlation = 0.0
    for a, b in pairs:
        p, q = simplex(a), simplex(b)
        correlation += sum(x * math.log(y / x) for x, y in zip(p, q, strict=True)) / len(pairs)
    return align, spread, correlation


def test_moco_is_info_nce_alone(config, clusterings):
    step = make_step(config, clusterings)
    terms = moco.terms(step)
    assert list(terms) == ["info_nce"]
    assert float(total(terms)) == pytest.approx(slow_info_nce(step, 0.2), rel=1e-5)


def test_pcl_is_info_nce_plus_the_mean_proto_nce(config, clusterings):
    step = make_step(config, clusterings)
    expected = slow_info_nce(step, 0.2)
    expected += sum(slow_proto_nce(step, c) for c in clusterings) / len(clusterings)
    assert float(total(pcl.terms(step))) == pytest.approx(expected, rel=1e-5)


def test_pauc_is_pcl_plus_three_weighted_terms(config, clusterings):
    step = make_step(config, clusterings)
    terms = pauc.terms(step)
    slow = [slow_pauc(step, c) for c in clusterings]
    means = [sum(values) / len(values) for values in zip(*slow, strict=True)]
    for name, expected in zip(("p_align", "p_uniform", "p_corr"), means, strict=True):
        assert float(terms[name].value) == pytest.approx(expected, rel=1e-4)
    expected = float(total(pcl.terms(step))) + 0.7 * means[0] + 0.5 * means[1] + 0.3 * means[2]
    assert float(total(terms)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("corr", ["jensen-shannon", "decorrelation"])
def test_pauc_takes_other_readings_of_its_terms(corr, config, clusterings):
    step = make_step(replace(config, corr=corr, uniform_log=True), clusterings)
    terms, literal = pauc.terms(step), pauc.terms(make_step(config, clusterings))
    found = [batch_prototypes(step.query, c.assignment[step.indices])[0] for c in clusterings]
    read = {
        "jensen-shannon": lambda rows: p_jensen_shannon(rows, temperature=0.1),
        "decorrelation": p_decorrelation,
    }[corr]
    expected = sum(float(read(rows)) for rows in found) / len(found)
    assert float(terms["p_corr"].value) == pytest.approx(expected, rel=1e-5)
    assert float(terms["p_corr"].value) != pytest.approx(float(literal["p_corr"].value), rel=0.01)
    expected = sum(float(uniform(rows)) for rows in found) / len(found)
    assert float(terms["p_uniform"].value) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(terms["p_align"].value, literal["p_align"].value)


def test_weights_scale_info_nce_and_proto_nce(config, clusterings):
    step = make_step(replace(config, instance_weight=0.5, prototype_weight=4.0), clusterings)
    prototype = sum(slow_proto_nce(step, c) for c in clusterings) / len(clusterings)
    expected = 0.5 * slow_info_nce(step, 0.2) + 4 * prototype
    assert float(total(pcl.terms(step))) == pytest.approx(expected, rel=1e-5)
    assert float(total(moco.terms(step))) == pytest.approx(0.5 * slow_info_nce(step, 0.2), rel=1e-5)
    alone = make_step(replace(config, instance_weight=0.0), clusterings)
    assert float(total(pcl.terms(alone))) == pytest.approx(prototype, rel=1e-5)


def test_a_loss_of_nothing_is_refused(config):
    step = make_step(replace(config, instance_weight=0.0), ())
    for terms in (moco.terms, pcl.terms, pauc.terms):
        with pytest.raises(InputError, match=r"none in info_nce; .*warmup_epochs=0"):
            total(terms(step))


def test_values_by_hand():
    """Two samples on the axes of the plane, each its own prototype, both temperatures 1."""
    plane = torch.eye(2)
    clustering = Clustering(
        centroids=plane, assignment=torch.tensor([0, 1]), phi=torch.ones(2), objective=0.0, used=2
    )
    step = Step(
        query=plane,
        key=plane.flip(0),
        queue=-plane,
        indices=torch.tensor([0, 1]),
        clusterings=(clustering,),
        config=PaucConfig(temperature=1.0, corr_temperature=1.0, uniform_log=False),
        generator=torch.Generator(),
    )
    values = {name: float(term.value) for name, term in pauc.terms(step).items()}
    e = math.e
    assert values == pytest.approx(
        {
            "info_nce": math.log(1 + 1 + 1 / e),  # logits 0 for the key, -1 and 0 in the queue
            "proto_nce": math.log(1 + 1 / e),
            "p_align": 2.0,
            "p_uniform": math.exp(-4),
            "p_corr": -(e - 1) / (e + 1),  # (p - q)(ln p - ln q) with ln p - ln q = 1
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("name", ["pcl", "pauc"])
def test_in_warm_up_only_info_nce_remains(name, config):
    step = make_step(config, ())
    terms = {"pcl": pcl.terms, "pauc": pauc.terms}[name](step)
    assert list(terms) == ["info_nce"]


@pytest.mark.parametrize("term", ["info_nce", "proto_nce", "p_align", "p_uniform", "p_corr"])
def test_each_term_moves_the_query_encoder_and_only_it(term, setup):
    training = METHODS["pauc"].start(setup)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 1, 8, 8, generator=generator)
    training.train()
    training.begin_epoch(0, lambda function: function(images))
    second = torch.rand(20, 1, 8, 8, generator=generator)
    batch = batch_of(images[:20], second)
    terms = training.loss(batch, generator)
    terms[term].value.backward()
    gradient = training.encoder_q.conv1.weight.grad
    assert float(gradient.abs().max()) > 1e-7
    assert all(p.grad is None for p in training.encoder_k.parameters())
    assert not training.clusterings[0].centroids.requires_grad


@pytest.fixture
def apart(setup):
    """A training in its middle: the query encoder has moved away from the key encoder."""
    training = METHODS["pcl"].start(setup)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for q in training.encoder_q.parameters():
            q.add_(0.5 * torch.randn(q.shape, generator=generator))
    training.train()
    return training


def test_a_step_follows_then_encodes_then_moves_the_queue_on(config, apart):
    assert isinstance(apart, ContrastTraining)
    generator = torch.Generator().manual_seed(2)
    first, second = torch.rand(2, 4, 1, 8, 8, generator=generator)
    expected = copy.deepcopy(apart)
    stale = expected.key(second)
    follow(expected.encoder_k, expected.encoder_q, config.key_momentum)
    key = expected.key(second)
    for other in (stale, expected.key(first), expected.query(second), expected.query(first)):
        assert float((key - other.detach()).abs().max()) > 1e-3  # so that a mix-up would show
    apart.loss(batch_of(first, second), torch.Generator())
    assert int(apart.queue_ptr) == 4
    assert torch.equal(apart.queue[:, :4].T, key)


def test_the_e_step_is_the_key_encoders_in_eval_mode_and_training_goes_on(apart):
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    fixed = copy.deepcopy(apart).eval()
    found, state = [], {k: v.clone() for k, v in apart.state_dict().items()}

    def embed(function):
        found.append(function(images))
        return found[0]

    apart.begin_epoch(0, embed)
    assert torch.equal(found[0], fixed.key(images))
    assert all(torch.equal(v, state[k]) for k, v in apart.state_dict().items())
    assert all(module.training for module in apart.modules())


def test_one_prototype_in_the_batch_has_nothing_to_differ_from(config, clusterings):
    step = make_step(config, clusterings)
    step.query.requires_grad_(True)
    alone = [replace(c, assignment=torch.zeros_like(c.assignment)) for c in clusterings]
    for chosen in (tuple(alone), (alone[0], clusterings[1])):
        terms = pauc.terms(replace(step, clusterings=chosen))
        expected = pauc.terms(replace(step, clusterings=(clusterings[1],)))
        share = chosen.count(clusterings[1]) / 2  # the mean counts the other clustering as 0
        for name in ("p_uniform", "p_corr"):
            assert terms[name].value.item() == pytest.approx(share * expected[name].value.item())
        total(terms).backward()
    assert bool(torch.isfinite(step.query.grad).all())
