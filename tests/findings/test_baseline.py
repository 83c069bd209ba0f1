"""Judging against a reference run: what got worse, what must be alike, and hostile files."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import Numbers, Thresholds, decide, judge, judge_against
from nemd_toolkit.measures import Interval, measure
from nemd_toolkit.pipeline import analyze
from nemd_toolkit.prototypes import fit_prototypes
from nemd_toolkit.report.baseline_file import numbers_of, read_baseline
from tests import worlds

LIMITS = Thresholds()
HEALTHY = worlds.clusters(800, 32, 16, 0.9)[0]
NUMBERS = Numbers(
    score=Interval(value=0.4, low=0.37, high=0.43),
    excess=Interval(value=0.6, low=0.56, high=0.64),
    rank_share=0.5,
    mean_share=0.1,
    duplicates=(0.0, 0.1),
    entropy=(0.95, 0.97),
    knn=0.9,
)


@pytest.fixture(scope="module")
def absolute():
    e = Embeddings(HEALTHY)
    return judge(measure(e, [fit_prototypes(e, 16), fit_prototypes(e, 8)]))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "report.json"
    path.write_text(analyze(HEALTHY, prototypes=(16, 8)).to_json(), encoding="utf-8")
    return path


def against(absolute, **changes):
    ours = dataclasses.replace(NUMBERS, **changes)
    return {f.about.code: f for f in judge_against(absolute, ours, NUMBERS, LIMITS)}


def moved(by, base=NUMBERS.score):
    return Interval(value=base.value + by, low=base.low + by, high=base.high + by)


def test_nothing_changed_is_no_worse(absolute):
    found = against(absolute)
    assert {f.status for f in found.values()} <= {"passed", "not_applicable"}
    assert {code for code, f in found.items() if f.relative} == {
        f"NEMD00{i}" for i in (2, 3, 5, 6, 7)
    }
    verdict = decide(tuple(found.values()), baseline="healthy")
    assert verdict.headline.startswith("No worse than the baseline")
    assert verdict.relative


@pytest.mark.parametrize(
    ("code", "within", "beyond"),
    [
        # combined half-widths: √(.03² + .03²) = .0424
        ("NEMD002", {"score": moved(0.042)}, {"score": moved(0.043)}),
        ("NEMD003", {"duplicates": (0.0, 0.19)}, {"duplicates": (0.0, 0.21)}),
        ("NEMD005", {"entropy": (0.91, 0.97)}, {"entropy": (0.89, 0.97)}),
        ("NEMD006", {"rank_share": 0.46}, {"rank_share": 0.44}),
        ("NEMD007", {"mean_share": 0.14}, {"mean_share": 0.16}),
        ("NEMD008", {"knn": 0.885}, {"knn": 0.875}),
    ],
)
def test_a_change_for_the_worse_beyond_noise_is_an_issue(absolute, code, within, beyond):
    assert against(absolute, **within)[code].status == "passed"
    finding = against(absolute, **beyond)[code]
    assert finding.status == "issue"
    assert finding.relative
    assert f"{finding.measured['baseline']:.3f}" in finding.message
    assert f"{finding.measured['value']:.3f}" in finding.message
    assert finding.measured["worse_by"] > finding.threshold["worse_by"]


@pytest.mark.parametrize(
    "better",
    [
        {"score": moved(-0.3)},
        {"duplicates": (0.0, 0.0)},
        {"entropy": (1.0, 1.0)},
        {"rank_share": 0.9},
        {"mean_share": 0.0},
        {"knn": 1.0},
    ],
)
def test_a_change_for_the_better_passes(absolute, better):
    assert not [f for f in against(absolute, **better).values() if f.status == "issue"]


def test_intervals_add_in_squares_on_the_sides_that_face_each_other(absolute):
    ours = Interval(value=0.5, low=0.44, high=0.9)  # 0.06 below, and 0.03 above the baseline
    found = against(absolute, score=ours)["NEMD002"]
    assert found.threshold["worse_by"] == pytest.approx(math.hypot(0.06, 0.03))
    knn = [Interval(value=v, low=v - 0.01, high=v + 0.01) for v in (0.9, 0.88)]
    base = dataclasses.replace(NUMBERS, knn=knn[0])
    fallen = dataclasses.replace(NUMBERS, knn=knn[1])
    found = {f.about.code: f for f in judge_against(absolute, fallen, base, LIMITS)}["NEMD008"]
    assert found.threshold["worse_by"] == pytest.approx(math.hypot(0.01, 0.01))
    assert found.status == "issue"


def test_without_a_score_the_excess_is_compared_and_without_both_nothing(absolute):
    found = against(absolute, score=None, excess=moved(0.2, NUMBERS.excess))["NEMD002"]
    assert found.status == "issue"
    assert "NEMD excess" in found.message
    assert not against(absolute, score=None, excess=None)["NEMD002"].relative


def test_only_what_got_worse_is_called_so(absolute):
    worse = tuple(against(absolute, score=moved(0.2)).values())
    verdict = decide(worse, baseline="healthy")
    assert verdict.state == "collapsed"
    assert verdict.headline.startswith("Worse than the baseline (coagulation)")
    assert (
        "The baseline itself was judged collapsed." in decide(worse, baseline="collapsed").headline
    )


def test_a_collapse_found_by_absolute_limits_is_no_mere_worsening(absolute):
    worse = against(absolute, score=moved(0.2))
    worse["NEMD001"] = dataclasses.replace(worse["NEMD001"], status="issue")
    verdict = decide(tuple(worse.values()), baseline="healthy")
    assert verdict.headline.startswith("Collapsed (total-collapse, coagulation)")
    assert not verdict.relative


def test_total_collapse_stays_absolute(tmp_path):
    equal = worlds.equal(800, 32)
    path = tmp_path / "report.json"
    path.write_text(analyze(equal, prototypes=8).to_json(), encoding="utf-8")
    found = analyze(equal, prototypes=8, baseline=path)
    assert found.verdict.codes[0] == "NEMD001"
    assert found.verdict.headline.startswith("Collapsed (total-collapse)")
    assert not found.verdict.relative


def test_a_report_read_back_gives_the_numbers_of_the_run(report):
    baseline, _ = read_baseline(report, epsilon=LIMITS.duplicate_epsilon)
    again = analyze(HEALTHY, prototypes=(16, 8), baseline=report)
    assert baseline.numbers == numbers_of(again.measures, epsilon=LIMITS.duplicate_epsilon)
    assert again.verdict.state == "healthy"
    assert again.verdict.relative
    spectrum = again.measures.spectrum
    share = spectrum.effective_rank_centred / spectrum.null_effective_rank
    assert baseline.numbers.rank_share == share
    assert baseline.numbers.mean_share == pytest.approx(again.measures.instance.resultant**2)


def test_coagulating_embeddings_are_worse_long_before_the_absolute_limit(report):
    tighter = worlds.clusters(800, 32, 16, 0.55)[0]
    assert analyze(tighter, prototypes=(16, 8)).verdict.state == "healthy"
    found = analyze(tighter, prototypes=(16, 8), baseline=report)
    assert "NEMD002" in found.verdict.codes
    assert found.baseline.source == "array in memory"


@pytest.mark.parametrize(
    ("rows", "prototypes", "words"),
    [
        (HEALTHY[:700], (16, 8), "embeddings, N (800 there, 700 here)"),
        (HEALTHY[:, :30], (16, 8), "dimension, d (32 there, 30 here)"),
        (HEALTHY, (8, 16), "prototypes, K (16 k-means, 8 k-means there, 8 k-means, 16 k-means"),
        (HEALTHY[:700], 8, "embeddings, N (800 there, 700 here); prototypes, K"),
    ],
)
def test_other_data_size_or_prototypes_are_refused(report, rows, prototypes, words):
    with pytest.raises(InputError) as raised:
        analyze(rows, prototypes=prototypes, baseline=report)
    assert words in str(raised.value)


def changed(report, path, value):
    content = json.loads(report.read_text(encoding="utf-8"))
    inside = content
    *way, last = path
    for key in way:
        inside = inside[key]
    inside[last] = value
    return json.dumps(content).encode()


HOSTILE = {
    "empty": lambda r: b"",
    "no JSON": lambda r: b"<html>",
    "a list": lambda r: b"[]",
    "a number of many digits": lambda r: b"9" * 9999,
    "deep": lambda r: b"[" * 200_000,
    "not UTF-8": lambda r: b"\xff\xfe\x00",
    "another schema": lambda r: changed(r, ["schema"], "nemd-report/2\n\x1b[31m"),
    "a schema of thousands": lambda r: changed(r, ["schema"], "x" * 100_000),
    "no measures": lambda r: changed(r, ["measures"], None),
    "NaN": lambda r: changed(r, ["measures", "instance", "resultant"], math.nan),
    "infinity": lambda r: changed(r, ["measures", "instance", "resultant"], 1).replace(
        b'"resultant": 1', b'"resultant": 1e999'
    ),
    "a text": lambda r: changed(r, ["measures", "spectrum", "null_effective_rank"], "9"),
    "truth": lambda r: changed(r, ["measures", "embeddings", "count"], True),
    "negative": lambda r: changed(r, ["measures", "embeddings", "dim"], -1),
    "no interval": lambda r: changed(r, ["measures", "nemd", "score"], {"value": 0.4}),
    "a value outside": lambda r: changed(
        r, ["measures", "nemd", "score"], {"value": 2, "low": 0, "high": 1}
    ),
    "clusterings of numbers": lambda r: changed(r, ["measures", "clusterings"], [1, 2]),
    "no clusterings": lambda r: changed(r, ["measures", "clusterings"], []),
    "no usage": lambda r: changed(r, ["measures", "clusterings", 0, "usage"], {}),
    "no duplicates": lambda r: changed(r, ["measures", "clusterings", 0, "spread"], {}),
    "another state": lambda r: changed(r, ["verdict", "state"], "fine"),
    "data as a list": lambda r: changed(r, ["provenance", "data"], [1]),
    "a hostile source": lambda r: changed(r, ["provenance", "source"], {"a": 1}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_and_hostile_files_end_in_one_sentence(report, tmp_path, name):
    path = tmp_path / "b.json"
    path.write_bytes(HOSTILE[name](report))
    with pytest.raises(InputError) as raised:
        read_baseline(path, epsilon=LIMITS.duplicate_epsilon)
    message = str(raised.value)
    assert "b.json: expected a report.json of schema nemd-report/1" in message
    assert len(message) < 600
    assert all(letter.isprintable() for letter in message)


def test_missing_files_folders_and_huge_files_are_said(tmp_path):
    with pytest.raises(InputError, match="got none; check the path"):
        read_baseline(tmp_path / "no.json", epsilon=0.025)
    with pytest.raises(InputError, match="got a folder; name the report.json in it"):
        read_baseline(tmp_path, epsilon=0.025)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(InputError, match="at most 64 MB"):
        read_baseline(huge, epsilon=0.025)


def test_a_knn_accuracy_is_read_where_there_is_one(report, tmp_path):
    path = tmp_path / "b.json"
    for quality, knn in (
        ({"knn": 0.93}, 0.93),
        ({"knn": {"value": 0.9, "low": 0.8, "high": 1}}, Interval(value=0.9, low=0.8, high=1.0)),
        ({"linear": 0.9}, None),
        (None, None),
    ):
        path.write_bytes(changed(report, ["measures", "quality"], quality))
        assert read_baseline(path, epsilon=0.025)[0].numbers.knn == knn


def test_what_cannot_tell_still_cannot():
    e = Embeddings(torch.as_tensor(np.ones((300, 8))).float())
    measures = measure(e, [fit_prototypes(e, 4)])
    ours = numbers_of(measures, epsilon=0.025)
    theirs = dataclasses.replace(NUMBERS, duplicates=(0.0,), entropy=(0.9,))
    found = {f.about.code: f for f in judge_against(judge(measures), ours, theirs, LIMITS)}
    for code in ("NEMD002", "NEMD003", "NEMD005", "NEMD006", "NEMD007"):
        assert found[code].status == "not_applicable"
