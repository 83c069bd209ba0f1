"""NEMD004 and NEMD005: what is dead, what is only rare, and what is only imbalanced data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.findings import Thresholds, dead_prototypes, decide, imbalance, judge
from nemd_toolkit.measures import measure
from nemd_toolkit.measures.usage import measure_usage
from nemd_toolkit.prototypes import (
    Prototypes,
    fit_prototypes,
    prototypes_from_labels,
    prototypes_from_vectors,
)
from tests import worlds


def groups_of(sizes, dim=64, spread=0.4, seed=0):
    """Rows around random directions, so many of each; and the directions."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(len(sizes), dim, generator=g), dim=1)
    which = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    rows = centres[which] + spread * torch.randn(len(which), dim, generator=g) / dim**0.5
    return torch.nn.functional.normalize(rows, dim=1), centres


def own_findings(rows, vectors):
    e = Embeddings(rows)
    findings = judge(measure(e, [prototypes_from_vectors(e, vectors)]))
    return {f.about.code: f for f in findings}, decide(findings)


def unused(count, rows, seed=7):
    """Directions that every row is far from."""
    g = torch.Generator().manual_seed(seed)
    away = -rows.mean(0, keepdim=True) + 0.05 * torch.randn(count, rows.shape[1], generator=g)
    return torch.nn.functional.normalize(away, dim=1)


@pytest.mark.parametrize(("dead", "status"), [(0, "passed"), (2, "warning"), (5, "issue")])
def test_dead_prototypes_fire_by_their_share(dead, status):
    rows, centres = groups_of([60] * 25)
    findings, verdict = own_findings(rows, torch.cat([centres, unused(dead, rows)]))
    finding = findings["NEMD004"]
    assert finding.status == status
    assert f"{dead} of {25 + dead} own prototypes hold no sample" in finding.message
    assert ("NEMD004" in verdict.codes) == (status == "issue")
    assert findings["NEMD005"].status == "passed"  # the others are used evenly


def test_fewer_samples_than_prototypes_is_not_death():
    rows, centres = groups_of([1] * 40, dim=256)  # 40 rows for 400 prototypes
    vectors = torch.cat([centres, worlds.noise(360, 256, seed=5)])
    drawn = worlds.noise(300, 256, seed=6)  # each falls on any of the 400
    findings, _ = own_findings(torch.cat([rows, drawn]), vectors)
    assert findings["NEMD004"].measured["dead"] > 100
    assert findings["NEMD004"].status == "passed"


def test_with_few_samples_a_prototype_uneven_use_is_a_warning_at_most():
    rows, _ = groups_of([100] * 4)
    e_vectors = torch.cat([rows[::4], unused(60, rows)])  # 160 prototypes for 400 rows
    findings, _ = own_findings(rows, e_vectors)
    assert findings["NEMD004"].status == "warning"
    assert "rare only" in findings["NEMD004"].message


def test_k_means_and_labels_make_none_dead_by_construction():
    e = Embeddings(worlds.clusters(600, 16, 6, 0.5)[0], labels=np.arange(600) % 7)
    findings = judge(measure(e, [fit_prototypes(e, 10), prototypes_from_labels(e)]))
    found = {f.about.code: f for f in findings}["NEMD004"]
    assert found.status == "not_applicable"
    assert "only a model's own can die" in found.message


def test_k_means_succeeds_on_identical_points_and_the_verdict_is_total_collapse():
    x = worlds.equal(2000, 32)
    found = fit_prototypes(Embeddings(x), 40)  # naive: no error, 40 prototypes, all unit vectors
    assert found.k == 40
    assert found.vectors.norm(dim=1).numpy() == pytest.approx(np.ones(40), abs=1e-5)
    findings = judge(measure(found.embeddings, [found]))
    assert len(found.used) == 1  # what tells it
    assert decide(findings).codes[0] == "NEMD001"
    assert decide(findings).state == "collapsed"
    by_code = {f.about.code: f for f in findings}
    assert by_code["NEMD004"].status == by_code["NEMD005"].status == "not_applicable"


def long_tail(ratio, k=20, count=2000):
    shares = ratio ** -np.linspace(0, 1, k)
    return [max(1, round(s)) for s in count * shares / shares.sum()]


@pytest.mark.parametrize(("ratio", "own"), [(1, "passed"), (5, "passed"), (40, "warning")])
def test_a_long_tail_of_own_prototypes_is_graded(ratio, own):
    findings, _ = own_findings(*groups_of(long_tail(ratio)))
    assert findings["NEMD005"].status == own


def test_a_few_prototypes_that_hold_nearly_all_are_an_issue_of_own_and_a_warning_of_k_means():
    rows, centres = groups_of(long_tail(300))
    findings, verdict = own_findings(rows, centres)
    assert findings["NEMD005"].status == "issue"
    assert verdict.state == "collapsed"
    assert findings["NEMD004"].status == "passed"
    e = Embeddings(rows, labels=np.repeat(np.arange(20), long_tail(300)))
    for prototypes in (fit_prototypes(e, 20, seed=1), prototypes_from_labels(e)):
        found = {f.about.code: f for f in judge(measure(e, [prototypes]))}["NEMD005"]
        assert found.status in ("passed", "warning")
    assert found.status == "warning"  # labels have just these sizes
    assert found.measured["evenness"] < Thresholds().evenness_issue


def test_unevenness_by_chance_passes():
    rows, centres = groups_of([1] * 30, dim=128)
    drawn = worlds.noise(60, 128, seed=3)
    findings, _ = own_findings(torch.cat([rows, drawn]), centres)
    assert findings["NEMD005"].measured["perplexity"] < 28
    assert findings["NEMD005"].status == "passed"


def test_a_single_used_prototype_has_no_balance():
    rows, _ = groups_of([200, 200])
    vectors = torch.cat([rows.mean(0, keepdim=True), unused(9, rows)])
    findings, _ = own_findings(rows, vectors)
    assert findings["NEMD005"].status == "not_applicable"
    assert findings["NEMD004"].status == "issue"


@pytest.fixture(scope="module")
def some_measures():
    e = Embeddings(worlds.clusters(200, 16, 5, 0.5)[0])
    return measure(e, [fit_prototypes(e, 5)])


def judged(measures, sizes, check):
    """Judge own prototypes that hold so many rows each."""
    sizes = torch.as_tensor(sizes)
    own = Prototypes(
        embeddings=Embeddings(worlds.noise(int(sizes.sum()), 4)),
        assignment=torch.arange(len(sizes)).repeat_interleave(sizes),
        vectors=worlds.noise(len(sizes), 4, seed=1),
        names=tuple(map(str, range(len(sizes)))),
        source="own",
    )
    clustering = replace(measures.clusterings[0], prototypes=own, usage=measure_usage(own))
    return check(replace(measures, clusterings=(clustering,)), Thresholds())


def test_what_chance_may_leave_empty_passes(some_measures):
    finding = judged(some_measures, [3] * 12 + [2] * 2 + [0] * 6, dead_prototypes.check)
    assert finding.measured["expected"] == pytest.approx(20 * 0.95**40)
    assert finding.measured["excess_share"] > Thresholds().dead_share_issue
    assert finding.status == "passed"  # 2.6 ± 1.3 are expected


def test_a_small_excess_passes_however_sure_it_is(some_measures):
    finding = judged(some_measures, [2] * 1571 + [1] * 858 + [0] * 1571, dead_prototypes.check)
    sure = finding.measured["dead"] - finding.measured["expected"]
    assert sure > Thresholds().dead_deviations * finding.measured["expected_sd"]
    assert finding.status == "passed"  # 2.5 % more than chance


def test_imbalance_leaves_dead_prototypes_to_their_own_check(some_measures):
    finding = judged(some_measures, [100] * 8 + [0] * 12, imbalance.check)
    assert finding.measured["perplexity"] == pytest.approx(8)
    assert finding.status == "passed"


def test_evenness_is_that_of_equal_shares_at_the_same_n(some_measures):
    drawn = np.random.default_rng(0).multinomial(300, [1 / 300] * 300)
    finding = judged(some_measures, drawn, imbalance.check)
    assert finding.measured["perplexity"] < 0.65 * 300
    assert finding.measured["evenness"] == pytest.approx(1, abs=0.1)
