"""When an issue counts: after so many checks in a row, not better, and not as it all began."""

import pytest

from nemd_toolkit.findings import about
from nemd_toolkit.findings.finding import Finding
from nemd_toolkit.monitor.judging import Judged
from nemd_toolkit.monitor.patience import MARGIN, Patience


def judged(badness, status="issue", code="NEMD007"):
    finding = Finding(about=about(code), status=status, message="", measured={}, threshold={})
    return [Judged(finding=finding, badness=float(badness))]


def codes(patience, *badness, warm=True):
    return [
        [f.about.code for f in patience.update(judged(b), warm=warm)]
        if b is not None
        else list(patience.update(judged(0.0, "passed"), warm=warm))
        for b in badness
    ]


def test_an_issue_counts_from_the_third_check_in_a_row():
    assert codes(Patience(3), 1, 1, 1, 1) == [[], [], ["NEMD007"], ["NEMD007"]]


def test_a_check_without_it_begins_the_count_anew():
    assert codes(Patience(3), 1, 1, None, 1, 1, 1) == [[], [], [], [], [], ["NEMD007"]]


def test_what_gets_better_does_not_count_until_it_stays():
    falling = [3.0, 2.8, 2.6, 2.4, 2.35, 2.31, 2.31]
    counted = codes(Patience(3), *falling)
    assert counted[:5] == [[]] * 5
    assert counted[5] == ["NEMD007"]  # 2.4, 2.35, 2.31: less than a tenth better


def test_before_the_warm_up_is_over_only_what_was_better_once_counts():
    patience = Patience(2)
    patience.begin(judged(2.0, "issue"))
    assert codes(patience, 2, 2, 2 + MARGIN / 2, warm=False) == [[], [], []]
    assert codes(patience, 2 + 2 * MARGIN, warm=False) == [["NEMD007"]]
    patience = Patience(2)
    patience.begin(judged(2.0, "issue"))
    assert codes(patience, 1.0, 0.5, 0.4, 2.0, 2.0, warm=False)[-1] == ["NEMD007"]


def test_a_training_that_stays_as_it_began_counts_after_the_warm_up():
    patience = Patience(2)
    patience.begin(judged(2.0, "issue"))
    assert codes(patience, 2, 2, warm=False) == [[], []]
    assert codes(patience, 2, warm=True) == [["NEMD007"]]


@pytest.mark.parametrize("status", ["warning", "passed", "not_applicable"])
def test_only_issues_count(status):
    patience = Patience(1)
    assert patience.update(judged(9.0, status), warm=True) == ()


def test_what_could_not_be_told_is_no_better_state():
    patience = Patience(1)
    patience.begin(judged(0.0, "not_applicable"))
    assert codes(patience, 2, 2, warm=False) == [[], []]


def test_findings_are_counted_apart():
    patience = Patience(2)
    patience.update(judged(1.0, code="NEMD001"), warm=True)
    assert patience.update(judged(1.0, code="NEMD007"), warm=True) == ()
    both = judged(1.0, code="NEMD001") + judged(1.0, code="NEMD007")
    assert [f.about.code for f in patience.update(both, warm=True)] == ["NEMD007"]
