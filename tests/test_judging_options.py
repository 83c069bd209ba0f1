"""--ignore and --baseline from the command line to the page: what is left out stays visible."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import CHECKS, decide, ignore
from nemd_toolkit.gate import exit_code
from nemd_toolkit.pipeline import analyze
from tests import worlds

HEALTHY = worlds.clusters(600, 32, 12, 0.9)[0]
TIGHT = worlds.clusters(600, 32, 12, 0.55)[0]


@pytest.fixture(scope="module")
def collapsed():
    return analyze(worlds.points(8, 600, 32), prototypes=20)


@pytest.fixture
def points(tmp_path):
    np.save(tmp_path / "points.npy", worlds.points(8, 600, 32).numpy())
    return tmp_path / "points.npy"


@pytest.fixture
def tight(tmp_path):
    np.save(tmp_path / "tight.npy", TIGHT.numpy())
    return tmp_path / "tight.npy"


@pytest.fixture(scope="module")
def reference():
    return analyze(HEALTHY, prototypes=12).to_json()


def finding(document, code):
    return next(f for f in document["findings"] if f["code"] == code)


def test_an_ignored_check_still_runs_and_does_not_count(collapsed):
    codes = collapsed.verdict.codes
    assert "NEMD002" in codes
    left = ignore(collapsed.findings, codes)
    verdict = decide(left)
    assert verdict.state == "healthy"
    assert verdict.codes == ()
    assert f"{len(codes)} checks ignored" in verdict.headline
    for before, after in zip(collapsed.findings, left, strict=True):
        if before.about.code in codes:
            assert (after.status, after.would_be) == ("ignored", before.status)
            assert after.message == before.message
            assert after.measured == before.measured
        else:
            assert after == before


def test_ignoring_what_passes_is_said_as_well():
    found = analyze(HEALTHY, prototypes=12, ignore="nemd007, NEMD011")
    tail = "2 checks ignored: cone (would pass), loss-at-log-k (could not tell)."
    assert found.verdict.headline.endswith(tail)
    assert found.provenance.command.endswith("--ignore NEMD007,NEMD011")


def test_ignored_findings_are_visible_in_text_json_and_page(nemd, points):
    code, out, _ = nemd(
        "analyze", points, "--prototypes", "20", "--ignore", "nemd002,NEMD010", "--out", "r"
    )
    assert code == 0
    line = next(line for line in out.splitlines() if "NEMD002" in line)
    assert "ignored" in line
    assert "would be an issue" in line
    assert "2 checks ignored: coagulation (would be an issue)" in out.splitlines()[0]
    document = json.loads(Path("r/report.json").read_text(encoding="utf-8"))
    assert finding(document, "NEMD002")["status"] == "ignored"
    assert finding(document, "NEMD002")["would_be"] == "issue"
    assert finding(document, "NEMD001")["would_be"] is None
    assert document["provenance"]["command"].endswith("--ignore NEMD002,NEMD010")
    page = Path("r/report.html").read_text(encoding="utf-8")
    assert "would be an issue" in page
    assert "coagulation, ignored" in page


@pytest.mark.parametrize(
    ("gate", "ignored", "code"),
    [
        (["issue"], [], 1),
        (["issue"], ["NEMD002", "NEMD010"], 0),
        (["warning"], ["NEMD002", "NEMD010"], 0),
        (["NEMD001"], ["NEMD002", "NEMD010"], 0),
        (["NEMD001"], ["NEMD002"], 3),  # NEMD010 still doubts
    ],
)
def test_the_gate_does_not_count_what_is_ignored(collapsed, gate, ignored, code):
    left = ignore(collapsed.findings, ignored)
    assert exit_code([replace(collapsed, findings=left, verdict=decide(left))], gate) == code


def test_a_code_cannot_be_asked_for_and_ignored(nemd, points):
    code, out, err = nemd("analyze", points, "--fail-on", "NEMD002", "--ignore", "nemd002")
    assert (code, out) == (2, "")
    assert "expected codes that --fail-on does not name, got NEMD002" in err


@pytest.mark.parametrize("text", ["NEMD999", "", "cone", "NEMD002,,", "NEMD002 NEMD003"])
def test_unknown_codes_are_refused_with_the_known_ones(nemd, points, text):
    code, out, err = nemd("analyze", points, "--ignore", text)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(entry.code in err for entry, _ in CHECKS)
    with pytest.raises(InputError, match="ignore: expected codes"):
        analyze(HEALTHY, ignore=[text])


def test_a_baseline_judges_by_change_and_is_named_everywhere(nemd, tight, reference):
    Path("ref.json").write_text(reference, encoding="utf-8")
    words = ("--prototypes", "12", "--baseline", "ref.json", "--out", "new")
    code, out, _ = nemd("analyze", tight, *words, "--fail-on", "issue")
    assert code == 1
    assert out.startswith("Worse than the baseline (")
    assert "coagulation" in out.splitlines()[0]
    document = json.loads(Path("new/report.json").read_text(encoding="utf-8"))
    assert finding(document, "NEMD002")["relative"]
    assert not finding(document, "NEMD001")["relative"]
    assert document["provenance"]["baseline"]["file"] == "ref.json"
    assert document["provenance"]["command"].endswith("--baseline ref.json")
    page = Path("new/report.html").read_text(encoding="utf-8")
    assert "Worse than the baseline" in re.sub(r"\s+", " ", page)
    assert "ref.json" in page
    assert "baseline, all clusterings" in page  # a row of the scale
    usage = document["measures"]["clusterings"][0]["usage"]
    assert usage["dead"] == 0
    assert 0 < usage["expected_dead"] < usage["expected_dead_sd"] < 1e-3
    for name in ("entropy", "perplexity", "gini"):
        band = usage["expected"][name]
        assert band["low"] < band["value"] < band["high"]
        assert name in page.lower()


def test_a_baseline_and_what_is_ignored_go_together(tmp_path, reference):
    (tmp_path / "ref.json").write_text(reference, encoding="utf-8")
    assert analyze(TIGHT, prototypes=12).verdict.state == "healthy"
    worse = analyze(TIGHT, prototypes=12, baseline=tmp_path / "ref.json")
    assert "NEMD002" in worse.verdict.codes
    left = ignore(worse.findings, worse.verdict.codes)
    verdict = decide(left, baseline="healthy")
    assert verdict.headline.startswith("No worse than the baseline")
    assert "coagulation (would be an issue)" in verdict.headline


def test_a_bad_baseline_is_one_sentence_before_any_work(nemd, tight, reference):
    Path("bad.json").write_text('{"schema": "nemd-comparison/1"}')
    Path("ref.json").write_text(reference, encoding="utf-8")
    for path in ("bad.json", "none.json", "."):
        code, out, err = nemd("analyze", "missing-too.npy", "--baseline", path)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert "missing-too" not in err
    code, _, err = nemd("analyze", tight, "--prototypes", "6", "--baseline", "ref.json")
    assert code == 2
    assert "prototypes, K (12 k-means there, 6 k-means here)" in err
    assert not Path("nemd-tight").exists()


def test_every_new_code_is_explained(nemd):
    for code, name in (("NEMD004", "dead"), ("NEMD005", "imbalance"), ("NEMD011", "log-k")):
        status, out, _ = nemd("explain", code)
        assert status == 0
        assert name in out
        assert "What to do" in out


def test_every_check_runs_once(collapsed):
    assert [f.about.code for f in collapsed.findings] == [entry.code for entry, _ in CHECKS]
    assert sorted(entry.code for entry, _ in CHECKS) == [f"NEMD{n:03}" for n in range(1, 12)]
