"""--ignore and --baseline from the command line to the page: what is left out stays visible."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import CHECKS, decide, ignore, judge
from nemd_toolkit.pipeline import analyze
from tests import worlds

POINTS = worlds.points(8, 600, 32)


@pytest.fixture
def points(tmp_path):
    np.save(tmp_path / "points.npy", POINTS.numpy())
    return tmp_path / "points.npy"


@pytest.fixture
def healthy(tmp_path):
    np.save(tmp_path / "healthy.npy", worlds.clusters(600, 32, 12, 0.9)[0].numpy())
    return tmp_path / "healthy.npy"


def finding(document, code):
    return next(f for f in document["findings"] if f["code"] == code)


def test_an_ignored_check_still_runs_and_does_not_count():
    found = analyze(POINTS, prototypes=20)
    codes = found.verdict.codes
    assert "NEMD002" in codes
    left = ignore(found.findings, codes)
    verdict = decide(left)
    assert verdict.state == "healthy"
    assert verdict.codes == ()
    assert f"{len(codes)} checks ignored" in verdict.headline
    for before, after in zip(found.findings, left, strict=True):
        if before.about.code in codes:
            assert (after.status, after.would_be) == ("ignored", before.status)
            assert after.message == before.message
            assert after.measured == before.measured
        else:
            assert after == before


def test_ignoring_what_passes_is_said_as_well():
    found = analyze(worlds.clusters(600, 32, 12, 0.9)[0], prototypes=12, ignore=("NEMD007",))
    assert found.verdict.headline.endswith("1 check ignored: cone (would pass).")
    assert analyze(POINTS, prototypes=20, ignore="nemd002, NEMD010").verdict.codes


def test_ignored_findings_are_visible_everywhere_and_the_command_repeats_them(nemd, points):
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
    words = document["provenance"]["command"].split()[1:]
    assert nemd(*words, "--out", "again")[1].splitlines()[0] == out.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--fail-on", "issue"], 1),
        (["--fail-on", "issue", "--ignore", "NEMD002,NEMD010"], 0),
        (["--fail-on", "warning", "--ignore", "NEMD002,NEMD010,NEMD003"], 0),
        (["--fail-on", "NEMD001", "--ignore", "NEMD002,NEMD010"], 0),
        (["--fail-on", "NEMD002", "--ignore", "NEMD002"], 2),
    ],
)
def test_the_gate_does_not_count_what_is_ignored(nemd, points, words, code):
    assert nemd("analyze", points, "--prototypes", "20", *words)[0] == code


@pytest.mark.parametrize("text", ["NEMD999", "", "cone", "NEMD002,,", "NEMD002 NEMD003"])
def test_unknown_codes_are_refused_with_the_known_ones(nemd, points, text):
    code, out, err = nemd("analyze", points, "--ignore", text)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(entry.code in err for entry, _ in CHECKS)
    with pytest.raises(InputError, match="ignore: expected codes"):
        analyze(POINTS, ignore=[text])


def test_a_baseline_judges_by_change_and_is_named_everywhere(nemd, healthy, tmp_path):
    words = ("--prototypes", "12", "--quiet")
    assert nemd("analyze", healthy, *words, "--out", "ref")[0] == 0
    np.save(tmp_path / "tight.npy", worlds.clusters(600, 32, 12, 0.55)[0].numpy())
    gate = ("--fail-on", "issue")
    assert nemd("analyze", "tight.npy", *words, *gate)[0] == 0
    words = ("--prototypes", "12", "--baseline", "ref/report.json", "--out", "new")
    code, out, _ = nemd("analyze", "tight.npy", *words, *gate)
    assert code == 1
    assert out.startswith("Worse than the baseline (coagulation")
    document = json.loads(Path("new/report.json").read_text(encoding="utf-8"))
    assert finding(document, "NEMD002")["relative"]
    assert not finding(document, "NEMD001")["relative"]
    assert document["provenance"]["baseline"]["file"] == "ref/report.json"
    assert document["provenance"]["command"].endswith("--baseline ref/report.json")
    page = Path("new/report.html").read_text(encoding="utf-8")
    assert "Worse than the baseline" in re.sub(r"\s+", " ", page)
    assert "ref/report.json" in page
    both = ("--ignore", "NEMD002,NEMD003,NEMD005,NEMD006,NEMD007")
    assert nemd("analyze", "tight.npy", *words, *both, *gate)[0] == 0


def test_a_bad_baseline_is_one_sentence_before_any_work(nemd, healthy, tmp_path):
    (tmp_path / "bad.json").write_text('{"schema": "nemd-comparison/1"}')
    for path in ("bad.json", "none.json", "."):
        code, out, err = nemd("analyze", "missing-too.npy", "--baseline", path)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert "missing-too" not in err
    assert nemd("analyze", healthy, "--prototypes", "12", "--out", "r", "--quiet")[0] == 0
    code, _, err = nemd("analyze", healthy, "--prototypes", "6", "--baseline", "r/report.json")
    assert code == 2
    assert "prototypes, K (12 k-means there, 6 k-means here)" in err
    assert not Path("nemd-healthy").exists()


def test_every_new_code_is_explained(nemd):
    for code, name in (("NEMD004", "dead"), ("NEMD005", "imbalance"), ("NEMD011", "log-k")):
        status, out, _ = nemd("explain", code)
        assert status == 0
        assert name in out
        assert "What to do" in out


def test_judging_all_worlds_gives_every_check_once():
    found = analyze(POINTS, prototypes=20)
    assert [f.about.code for f in found.findings] == [entry.code for entry, _ in CHECKS]
    assert len({entry.code for entry, _ in CHECKS}) == 11
    assert judge(found.measures) == found.findings
