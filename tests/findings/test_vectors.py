"""Vectors alone: each collapse that they show is named, health never is."""

import re

import pytest
import torch

from nemd_toolkit.findings import decide_vectors, judge_vectors
from nemd_toolkit.measures.vectors import measure_vectors
from tests import worlds


def judged(vectors):
    findings = judge_vectors(measure_vectors(vectors))
    return {f.about.code: f for f in findings}, decide_vectors(findings)


def copies(k, d, share):
    """Uniform vectors of which this share, at the end, repeat the first ones."""
    x = worlds.noise(k, d)
    return torch.cat([x[: k - int(share * k)], x[: int(share * k)]])


def few_dimensions(k, d, rank):
    x = torch.nn.functional.pad(worlds.noise(k, rank), (0, d - rank))
    return x + 1e-4 * worlds.noise(k, d, seed=1)


def near_one_point(k, d):
    return 0.01 * worlds.noise(k, d) + torch.eye(d)[0]


def test_uniform_vectors_pass_and_are_inconclusive():
    found, verdict = judged(worlds.noise(300, 128))
    assert {code: f.status for code, f in found.items()} == {
        "NEMD001": "passed",
        "NEMD003": "passed",
        "NEMD006": "passed",
        "NEMD007": "passed",
        "NEMD002": "not_applicable",
        "NEMD004": "not_applicable",
    }
    assert (verdict.state, verdict.codes) == ("inconclusive", ())
    assert "only data tells" in verdict.headline


@pytest.mark.parametrize(
    ("vectors", "codes", "words"),
    [
        (
            copies(300, 64, 0.5),
            ("NEMD003",),
            "50% of 300 vectors repeat another .* 150 at any distance from",
        ),
        (few_dimensions(300, 128, 2), ("NEMD006", "NEMD003"), "effective rank 2.0 .*; uniform"),
        (worlds.noise(300, 64) + 3 * torch.eye(64)[0], ("NEMD007",), "90.* is common to all"),
        (near_one_point(300, 64), ("NEMD001", "NEMD007", "NEMD003"), "a share of 9.*e-05 of the"),
        (torch.ones(300, 64), ("NEMD001", "NEMD003"), "a share of 0 of the vectors'"),
    ],
    ids=["copies", "few dimensions", "cone", "nearly one point", "one point"],
)
def test_each_collapse_is_named(vectors, codes, words):
    found, verdict = judged(vectors)
    assert verdict.state == "collapsed"
    assert verdict.codes == codes
    assert re.search(words, found[codes[0]].message), found[codes[0]].message


@pytest.mark.parametrize(("share", "status"), [(0.08, "passed"), (0.12, "issue")])
def test_a_tenth_is_the_limit(share, status):
    found, _ = judged(copies(500, 64, share))
    assert found["NEMD003"].status == status
    assert found["NEMD003"].measured["share"] == pytest.approx(share)
    assert found["NEMD003"].measured["distinct_at_0.001"] == 500 - int(share * 500)


def test_too_many_for_the_sphere_is_a_warning_not_an_issue():
    found, verdict = judged(worlds.noise(200, 2))
    assert found["NEMD003"].status == "warning"
    assert found["NEMD003"].measured["uniform_share"] > 0.5
    assert verdict.state == "inconclusive"
    assert "NEMD003 to look at" in verdict.headline


def test_three_vectors_cannot_show_few_dimensions():
    found, _ = judged(torch.eye(3, 16))
    assert found["NEMD006"].status == "not_applicable"
    assert found["NEMD006"].measured
