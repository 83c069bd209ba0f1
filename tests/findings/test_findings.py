"""Each finding fires where it should, stays silent where it should, or says it cannot tell."""

import dataclasses

import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import CHECKS, Thresholds, about, coagulation, decide, ignore, judge
from nemd_toolkit.measures import measure
from nemd_toolkit.measures.nemd import QUESTIONED
from nemd_toolkit.prototypes import (
    default_counts,
    fit_prototypes,
    prototypes_from_labels,
    prototypes_from_vectors,
)
from tests import worlds


def verdict_of(x, counts=None, **columns):
    e = Embeddings(x, **columns)
    prototypes = [fit_prototypes(e, k) for k in counts or default_counts(len(e))]
    findings = judge(measure(e, prototypes))
    return decide(findings), {f.about.code: f for f in findings}


def test_healthy_world_passes_everything_that_can_be_told():
    verdict, findings = verdict_of(worlds.clusters(2000, 64, 40, 0.9)[0])
    assert verdict.state == "healthy"
    assert verdict.codes == ()
    untold = {"NEMD004", "NEMD011"}  # no own prototypes, no training log
    assert {c for c, f in findings.items() if f.status == "not_applicable"} == untold
    assert {f.status for c, f in findings.items() if c not in untold} == {"passed"}
    assert len(findings) == len(CHECKS)


@pytest.mark.parametrize(
    ("world", "code", "state"),
    [
        (worlds.equal(2000), "NEMD001", "collapsed"),
        (worlds.equal(2000, jitter=1e-5), "NEMD001", "collapsed"),
        (worlds.points(8), "NEMD002", "collapsed"),
        (worlds.clusters(2000, 64, 20, 0.1)[0], "NEMD002", "collapsed"),
        (worlds.rank(2), "NEMD006", "collapsed"),
        (worlds.cone(), "NEMD007", "collapsed"),
        (worlds.noise(), "NEMD008", "inconclusive"),
        (worlds.clusters(60, 64, 5, 0.9)[0], "NEMD009", "inconclusive"),
        (worlds.clusters(700, 64, 40, 0.9)[0].repeat(3, 1), "NEMD010", "inconclusive"),
    ],
    ids=[
        "equal",
        "nearly-equal",
        "8-points",
        "tight",
        "rank-2",
        "cone",
        "noise",
        "few",
        "repeated",
    ],
)
def test_each_world_gets_its_finding_and_is_not_called_healthy(world, code, state):
    verdict, findings = verdict_of(world)
    assert verdict.state == state
    assert verdict.codes
    assert findings[code].status == "issue"
    assert findings[code].about.name in verdict.headline


@pytest.mark.parametrize("seed", range(2))  # 1,200 fresh worlds: benchmarks/validity.py
@pytest.mark.parametrize("spread", [0.7, 0.9, 1.3])
def test_healthy_worlds_raise_no_issue(seed, spread):
    verdict, _ = verdict_of(worlds.clusters(2000, 64, 40, spread, seed=seed)[0])
    assert verdict.state == "healthy"


@pytest.mark.parametrize("seed", range(2))
def test_noise_is_never_healthy(seed):
    verdict, _ = verdict_of(worlds.noise(2000, 64, seed=seed))
    assert verdict.state == "inconclusive"


@pytest.mark.parametrize("dim", [2, 4, 8])
def test_noise_of_few_dimensions_is_never_healthy(dim):
    verdict, _ = verdict_of(worlds.noise(2000, dim, seed=dim))
    assert verdict.state != "healthy"


def test_without_a_score_there_is_no_clean_bill():
    verdict, findings = verdict_of(worlds.clusters(2000, 4, 40, 0.05)[0])
    assert verdict.state != "healthy"
    assert findings["NEMD002"].status == "not_applicable"
    assert findings["NEMD008"].status == "issue"


def test_labels_that_mean_nothing_are_a_warning_not_a_collapse():
    x = worlds.clusters(2000, 64, 20, 0.9, seed=1)[0]
    x[:, 0] += 0.75
    e = Embeddings(x, labels=np.random.default_rng(0).integers(0, 4, 2000))
    prototypes = [fit_prototypes(e, 20), prototypes_from_labels(e)]
    findings = {f.about.code: f for f in judge(measure(e, prototypes))}
    assert findings["NEMD003"].status == "warning"


def test_a_small_share_of_own_duplicates_does_not_hide_the_warning_of_k_means():
    x, group = worlds.clusters(2000, 64, 5, 0.05)
    centres = torch.stack([x[group == g].mean(0) for g in range(5)])
    e = Embeddings(x)
    prototypes = [fit_prototypes(e, 40), prototypes_from_vectors(e, centres)]
    findings = {f.about.code: f for f in judge(measure(e, prototypes))}
    assert findings["NEMD003"].status == "warning"


def test_cone_does_not_hang_on_the_sign_of_one_coordinate():
    x = worlds.noise(2000, 64).abs()
    x[0, 0] = -1e-6
    assert verdict_of(x)[1]["NEMD007"].status == "passed"


def test_total_collapse_is_not_blamed_on_too_few_samples():
    _, findings = verdict_of(worlds.equal(2000))
    assert findings["NEMD009"].status == "not_applicable"
    assert "see NEMD001" in findings["NEMD009"].message


def test_total_collapse_warns_before_it_is_complete():
    _, findings = verdict_of(worlds.equal(2000, jitter=0.1))
    assert findings["NEMD001"].status == "warning"


def test_coagulation_warns_between_its_thresholds_and_needs_a_score():
    _, findings = verdict_of(worlds.clusters(2000, 64, 10, 0.29)[0], counts=(10,))
    assert findings["NEMD002"].status == "warning"
    _, findings = verdict_of(worlds.equal(2000))
    assert findings["NEMD002"].status == "not_applicable"
    assert "no NEMD score" in findings["NEMD002"].message


def test_a_score_above_the_limit_but_not_surely_is_inconclusive_not_healthy():
    verdict, findings = verdict_of(worlds.clusters(800, 64, 9, 0.1)[0], counts=(5,))
    found = findings["NEMD002"]
    assert found.measured["score"] > 0.75
    assert found.measured["score_low"] < 0.7
    assert (found.status, found.undecided) == ("warning", True)
    assert "not surely above 0.70" in found.message
    assert (verdict.state, verdict.codes) == ("inconclusive", ("NEMD002",))
    left = ignore(list(findings.values()), ["NEMD002"])
    assert decide(left).state == "healthy"


@pytest.mark.parametrize(
    ("score", "low", "status"),
    [
        (0.76, 0.71, "issue"),
        (0.74, 0.73, "warning"),
        (0.90, 0.69, "warning"),
        (0.71, 0.60, "warning"),
        (0.69, 0.68, "passed"),
    ],
)
def test_an_issue_lies_above_one_level_and_surely_above_the_other(score, low, status):
    assert coagulation.status_of(score, low, Thresholds()) == status


def test_a_score_that_may_be_that_of_noise_is_no_structure():
    faint = worlds.clusters(3000, 64, 12, 4.5)[0]
    verdict, findings = verdict_of(faint, counts=(12,))
    found = findings["NEMD008"]
    assert 0 < found.measured["score_low"] < 0.02
    assert (found.status, verdict.state) == ("issue", "inconclusive")
    assert "hardly further apart than in noise" in found.message
    _, findings = verdict_of(worlds.clusters(3000, 64, 12, 3)[0], counts=(12,))
    assert findings["NEMD008"].status == "passed"


def test_coagulation_is_judged_where_it_shows_and_tells_that_it_hangs_on_k():
    tight = worlds.clusters(3000, 64, 30, 0.1)[0]
    verdict, findings = verdict_of(tight, counts=(5, 30))
    assert verdict.codes == ("NEMD002",)
    assert findings["NEMD002"].measured["k"] == 30
    assert "it rises with K (0." in findings["NEMD002"].message
    spread = worlds.clusters(3000, 64, 10, 0.6)[0]
    _, findings = verdict_of(spread, counts=(40, 20, 10))
    assert "rises" not in findings["NEMD002"].message
    _, findings = verdict_of(spread, counts=(20,))
    assert "at one K only" in findings["NEMD002"].message
    assert "at one K only" not in verdict_of(tight, counts=(30,))[1]["NEMD002"].message


def test_many_prototypes_in_few_dimensions_are_told_where_groups_are_wide():
    crowded = "40 prototypes crowd 32 dimensions"
    wide = worlds.clusters(3000, 32, 40, 1.2)[0]
    assert crowded in verdict_of(wide, counts=(40,))[1]["NEMD002"].message
    assert "crowd" not in verdict_of(wide, counts=(10,))[1]["NEMD002"].message
    tight = worlds.clusters(3000, 32, 40, 0.2)[0]
    assert "crowd" not in verdict_of(tight, counts=(40,))[1]["NEMD002"].message


def test_tight_clumps_within_prototypes_are_coagulation_that_k_is_too_small_for():
    tight = worlds.clusters(3000, 64, 30, 0.15)[0]
    verdict, findings = verdict_of(tight, counts=(13,))
    assert verdict.codes == ("NEMD002",)
    assert findings["NEMD002"].measured["score"] < 0.75
    assert "several tight clumps" in findings["NEMD002"].message
    findings = verdict_of(tight, counts=(6,))[1]
    assert findings["NEMD002"].status == "warning"  # the score itself is low
    assert "ask for more prototypes" in findings["NEMD002"].message


def test_few_axes_without_groups_are_not_coagulation():
    flat = worlds.rank(4, count=4000)
    verdict, findings = verdict_of(flat, counts=(90,))
    found = findings["NEMD002"]
    assert (
        coagulation.status_of(found.measured["score"], found.measured["score_low"], Thresholds())
        == "issue"
    )
    assert found.measured["beyond_axes"] == pytest.approx(0, abs=0.1)
    assert (found.status, found.undecided, verdict.state) == ("warning", False, "healthy")
    assert "few axes bring it there" in found.message
    several = verdict_of(flat, counts=(90, 12))[1]["NEMD002"]  # it rises with K, by the axes alone
    assert several.measured["rise"] > 0.1
    assert "rises with K" not in several.message
    assert "-0.00" not in several.message
    # tight groups in as few axes lie far beyond points without groups
    tight = worlds.clusters(3000, 4, 20, 0.02)[0] @ torch.eye(4, 64)
    found = verdict_of(tight, counts=(20,))[1]["NEMD002"]
    assert found.measured["beyond_axes"] > 0.9
    assert found.status == "issue"
    lenient = dataclasses.replace(Thresholds(), beyond_axes=-1.0)
    e = Embeddings(flat)
    by_score = {f.about.code: f for f in judge(measure(e, [fit_prototypes(e, 90)]), lenient)}
    assert by_score["NEMD002"].status == "issue"


def test_large_runs_measure_the_axes_wherever_they_are_asked_for():
    assert Thresholds().coagulation_warning >= QUESTIONED


def test_a_score_that_still_rises_steeply_with_k_is_coagulation_from_the_warning_level_on():
    tight = worlds.clusters(3000, 128, 45, 0.22)[0]
    _, findings = verdict_of(tight, counts=(29, 14, 7))
    assert findings["NEMD002"].measured["score"] < 0.75
    assert findings["NEMD002"].status == "issue"
    assert "more points than there are prototypes" in findings["NEMD002"].message
    assert verdict_of(tight, counts=(29,))[1]["NEMD002"].status == "warning"
    # of a low score a rise says nothing
    assert verdict_of(worlds.clusters(3000, 64, 30, 0.6)[0], counts=(30, 5))[0].state == "healthy"


def test_duplicates_are_an_issue_of_own_prototypes_and_a_warning_of_k_means():
    x, group = worlds.clusters(2000, 64, 10, 0.7)
    centres = np.stack([x[group == g].mean(0).numpy() for g in range(10)])
    jittered = np.concatenate([centres, centres + 0.01 * worlds.noise(10, 64, seed=5).numpy()])
    e = Embeddings(x)
    own = prototypes_from_vectors(e, Embeddings(jittered).vectors)
    finding = {f.about.code: f for f in judge(measure(e, [own]))}["NEMD003"]
    assert finding.status == "issue"
    tight = worlds.clusters(2000, 64, 5, 0.05)[0]
    assert verdict_of(tight)[1]["NEMD003"].status == "warning"
    assert verdict_of(worlds.equal(500))[1]["NEMD003"].status == "not_applicable"


def test_exact_copies_of_own_prototypes_are_duplicates_and_not_dead():
    x, group = worlds.clusters(2000, 64, 10, 0.7)
    centres = np.stack([x[group == g].mean(0).numpy() for g in range(10)])
    own = prototypes_from_vectors(
        Embeddings(x), Embeddings(np.concatenate([centres] * 2 + [-centres])).vectors
    )
    measures = measure(Embeddings(x), [own])
    assert dict(measures.clusterings[0].spread.duplicates)[0.001] == pytest.approx(10 / 30)
    findings = {f.about.code: f for f in judge(measures)}
    assert findings["NEMD003"].status == "issue"
    assert "33% of 30 prototypes" in findings["NEMD003"].message
    assert findings["NEMD004"].status == "issue"  # the ten at the opposite poles
    assert findings["NEMD004"].measured["dead"] == 20
    assert findings["NEMD004"].measured["copies"] == 10
    assert findings["NEMD004"].measured["excess_share"] == pytest.approx(1 / 3, abs=1e-6)


def test_repeats_that_uniform_directions_have_too_are_a_warning():
    """200 directions in three dimensions cannot all be apart, 200 in 32 can."""
    few = torch.nn.functional.normalize(worlds.noise(3000, 3), dim=1)
    e = Embeddings(few)
    crowded = {f.about.code: f for f in judge(measure(e, [prototypes_from_vectors(e, few[:200])]))}
    finding = crowded["NEMD003"]
    assert finding.measured["share"] == pytest.approx(finding.measured["uniform_share"], abs=0.1)
    assert finding.measured["uniform_share"] > 0.3
    assert finding.status == "warning"
    assert "as many uniform ones" in finding.message
    many = worlds.noise(3000, 32)
    e = Embeddings(many)
    own = prototypes_from_vectors(e, many[:100].repeat(2, 1))
    copied = {f.about.code: f for f in judge(measure(e, [own]))}["NEMD003"]
    assert copied.status == "issue"
    assert copied.measured["uniform_share"] < 1e-3
    assert "uniform" not in copied.message


def test_dimensional_collapse_warns_and_needs_some_variance_and_dimensions():
    assert verdict_of(worlds.rank(6))[1]["NEMD006"].status == "warning"
    assert verdict_of(worlds.equal(500))[1]["NEMD006"].status == "not_applicable"
    assert verdict_of(worlds.noise(500, 3))[1]["NEMD006"].status == "not_applicable"


def test_cone_is_judged_leniently_where_nothing_is_negative():
    _, findings = verdict_of(worlds.noise(2000, 64).abs())
    assert findings["NEMD007"].status == "passed"
    assert findings["NEMD007"].measured["mean_share"] > 0.6
    assert verdict_of(worlds.cone(1.2))[1]["NEMD007"].status == "warning"
    assert verdict_of(worlds.equal(500))[1]["NEMD007"].status == "not_applicable"


def test_too_few_prototypes_or_samples_are_inconclusive():
    x, group = worlds.clusters(400, 32, 3, 0.9)
    e = Embeddings(x, labels=group)
    findings = judge(measure(e, [prototypes_from_labels(e)]))
    assert decide(findings).state == "inconclusive"
    assert "NEMD009" in decide(findings).codes


def test_a_single_sample_is_inconclusive():
    e = Embeddings(worlds.noise(1, 8))
    findings = judge(measure(e, [fit_prototypes(e, 1)]))
    assert decide(findings).state == "inconclusive"


def test_repeated_rows_warn_from_one_percent():
    x = worlds.clusters(2000, 64, 40, 0.9)[0]
    x[:100] = x[100:200]
    assert verdict_of(x)[1]["NEMD010"].status == "warning"


def test_a_warning_does_not_turn_the_verdict_but_is_named_in_it():
    x = worlds.clusters(2000, 64, 40, 0.9)[0]
    x[:100] = x[100:200]
    verdict, _ = verdict_of(x)
    assert verdict.state == "healthy"
    assert "warnings (invalid-embeddings)" in verdict.headline


def test_thresholds_decide():
    e = Embeddings(worlds.clusters(2000, 64, 40, 0.9)[0])
    measures = measure(e, [fit_prototypes(e, 40)])
    strict = dataclasses.replace(
        Thresholds(), coagulation_issue=0.1, coagulation_warning=0.05, beyond_axes=-1.0
    )
    assert "NEMD002" in decide(judge(measures, strict)).codes


def test_messages_are_sentences_with_numbers_and_codes_are_explained():
    _, findings = verdict_of(worlds.points(8))
    for code, finding in findings.items():
        assert about(code.lower()) is finding.about
        assert "\n" not in finding.message
        if finding.status != "not_applicable":
            assert any(c.isdigit() for c in finding.message)
    with pytest.raises(InputError, match="NEMD001.*got 'NEMD999'"):
        about("NEMD999")
