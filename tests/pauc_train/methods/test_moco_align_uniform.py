"""MoCo with alignment and uniformity: its terms against the authors', and where gradients go."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pauc_train.contrast import Step
from pauc_train.method import total
from pauc_train.methods.moco_align_uniform import AlignUniformConfig, queue_uniform, terms
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "queue_size": 40}


def make_step(**settings):
    query, key, queue = (F.normalize(wave(n, 6, p), dim=1) for n, p in FORMULAS)
    return Step(
        query=query, key=key, queue=queue, indices=torch.arange(12), clusterings=(),
        config=AlignUniformConfig(**settings), generator=torch.Generator(),
    )  # fmt: skip


FORMULAS = ((12, 0.0), (12, 0.4), (24, 2.2))


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("power", [2.0, 1.0, 3.0])
def test_terms_are_those_of_the_authors(within, power):
    """Numbers: MoCo.forward of SsnL/moco_align_uniform (4d690c3), run on the same input."""
    found = terms(make_step(within_batch=within, alignment_power=power))
    aligned = {2: 0.18448448, 1: 0.40480638, 3: 0.08763958}[power]
    spread = -3.1295567 if within else -3.1844370
    values = {name: term.value.item() for name, term in found.items()}
    assert values == pytest.approx(
        {"alignment": aligned, "uniformity": spread, "info_nce": 1.0443741}, rel=1e-5
    )
    assert total(found).item() == pytest.approx(3 * aligned + spread, rel=1e-5)


def test_uniformity_counts_all_pairs_alike():
    step = make_step()
    squares = [math.dist(q, k) ** 2 for q in step.query.tolist() for k in step.queue.tolist()]
    rows = step.query.tolist()
    squares += [math.dist(rows[i], rows[j]) ** 2 for i in range(12) for j in range(i)]
    expected = math.log(sum(math.exp(-2 * square) for square in squares) / len(squares))
    assert queue_uniform(step.query, step.queue, t=2.0).item() == pytest.approx(expected, rel=1e-5)


def test_values_by_hand():
    """Queries at right angles (distance² 2), the queue's key opposite to one of them (4 and 2)."""
    value = queue_uniform(torch.eye(2), torch.tensor([[-1.0, 0.0]]), t=1.0)
    mean = (math.exp(-4) + 2 * math.exp(-2)) / 3
    assert value.item() == pytest.approx(math.log(mean), rel=1e-6)


def test_weights_count():
    step = make_step(alignment_weight=2.0, uniformity_weight=0.5, instance_weight=1.0)
    found = terms(step)
    values = [found[name].value.item() for name in ("alignment", "uniformity", "info_nce")]
    assert total(found).item() == pytest.approx(2 * values[0] + values[1] / 2 + values[2])


@pytest.mark.parametrize("term", ["alignment", "uniformity"])
def test_each_term_reaches_the_query_encoder_and_only_it(term):
    training = started("moco-align-uniform", **SMALL)
    training(batch_of(8, 8), torch.Generator())[term].value.backward()
    reached = {n.split(".")[0] for n, p in training.named_parameters() if p.grad is not None}
    assert reached == {"encoder_q"}
    assert float(training.encoder_q.conv1.weight.grad.abs().max()) > 1e-7


def test_equal_queries_have_finite_gradients():
    step = make_step()
    query = step.query[:1].repeat(12, 1).requires_grad_(True)
    total(terms(replace(step, query=query))).backward()
    assert bool(torch.isfinite(query.grad).all())


def test_a_step_moves_the_query_encoder_and_the_queue():
    training = started("moco-align-uniform", **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    assert moved(before, training) - {"encoder_k"} == {"encoder_q"}  # a copy of equals may round
    changed = (before["queue"] != training.queue).any(0)
    assert changed.tolist() == [True] * 16 + [False] * 24
