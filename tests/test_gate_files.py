"""JUnit and Markdown of a gate: they agree with the exit code, and show strings as text."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from nemd_toolkit.cli import app
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import CHECKS, decide, ignore
from nemd_toolkit.gate import exit_code
from nemd_toolkit.gate_files import junit_xml, markdown_summary, write_gate_files
from nemd_toolkit.pipeline import analyze
from tests import worlds

HOSTILE = "a</testsuite><script>x()</script>|@someone [l](http://e) `c` \x00\x1b ]]> \u202e\nend"


@pytest.fixture(scope="module")
def found():
    return {
        "collapsed": analyze(worlds.points(8, 600, 32), prototypes=20),
        "healthy": analyze(worlds.clusters(600, 32, 12, 0.9)[0], prototypes=12),
        "noise": analyze(worlds.noise(1000, 32), prototypes=20),
    }


def cases(text):
    return {case.get("name").split()[0]: case for case in xml.fromstring(text).iter("testcase")}


@pytest.mark.parametrize(
    "gate", [("issue",), ("warning",), ("NEMD002",), ("NEMD008",), ("NEMD011",)]
)
@pytest.mark.parametrize("world", ["collapsed", "healthy", "noise"])
def test_junit_fails_and_errs_where_the_exit_code_does(found, world, gate):
    text = junit_xml([(world, found[world])], gate)
    suite = xml.fromstring(text).find("testsuite")
    failed, unknown = int(suite.get("failures")), int(suite.get("errors"))
    code = exit_code([found[world]], gate)
    assert (failed > 0) == (code == 1)
    if code == 0:
        assert unknown == 0
    if code == 3:
        assert unknown > 0
    assert int(suite.get("tests")) == 1 + len(CHECKS) == len(cases(text))


def test_without_a_gate_issues_fail(found):
    runs = [("a", found["collapsed"]), ("b", found["healthy"])]
    assert junit_xml(runs) == junit_xml(runs, ("issue",))
    first, second = xml.fromstring(junit_xml(runs)).iter("testsuite")
    assert found["collapsed"].verdict.codes == ("NEMD002", "NEMD010")  # the second is a doubt
    assert first.get("failures") == "1"
    assert second.get("failures") == "0"


def test_a_failure_says_what_to_do_and_what_is_ignored_is_skipped(found):
    analysis = found["collapsed"]
    failure = cases(junit_xml([("a", analysis)], ("NEMD002",)))["NEMD002"].find("failure")
    finding = next(f for f in analysis.findings if f.about.code == "NEMD002")
    assert failure.get("message") == finding.message
    assert finding.about.remedy in failure.text
    left = ignore(analysis.findings, ["NEMD002"])
    quiet = replace(analysis, findings=left, verdict=decide(left))
    case = cases(junit_xml([("a", quiet)], ("issue",)))["NEMD002"]
    assert case.find("skipped").get("message").startswith("ignored: ")


def test_hostile_names_stay_text(found):
    runs = [(HOSTILE, found["healthy"])]
    suite = xml.fromstring(junit_xml(runs)).find("testsuite")
    assert suite.get("name").startswith("a</testsuite><script>x()</script>|@someone")
    assert len(list(xml.fromstring(junit_xml(runs)))) == 1
    text = markdown_summary(runs)
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "linkify"]).render(text)
    heading = page[: page.index("</h3>")]
    assert heading.startswith(
        "<h3>a&lt;/testsuite&gt;&lt;script&gt;x()&lt;/script&gt;|@someone [l]"
    )
    assert not any(tag in page for tag in ("<script", "<a ", "<code"))
    assert "\\@someone" in text  # GitHub makes no mention of it


def test_markdown_is_a_table_of_what_fired(found):
    text = markdown_summary([("run", found["collapsed"])], ("issue",))
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    shown = page[: page.index("<details>")]
    assert shown.count("fails the gate") == 1
    assert all(f"<td>{code} " in shown for code in found["collapsed"].verdict.codes)
    assert page.count("<tr>") == len(CHECKS) + 2
    assert page.startswith("<h3>run: Collapsed</h3>")


def test_files_are_written_where_asked(found, tmp_path):
    runs = [("run", found["healthy"])]
    write_gate_files(runs, (), None, None)
    assert not list(tmp_path.iterdir())
    junit, markdown = tmp_path / "new" / "j.xml", tmp_path / "m.md"
    write_gate_files(runs, (), junit, markdown)
    assert junit.read_text(encoding="utf-8") == junit_xml(runs)
    assert markdown.read_text(encoding="utf-8") == markdown_summary(runs)
    with pytest.raises(InputError, match="expected a file that can be written"):
        write_gate_files(runs, (), tmp_path / "m.md" / "x.xml", None)


def test_the_command_writes_both(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", worlds.points(8, 600, 32).numpy())
    words = ["analyze", "points.npy", "--prototypes", "20", "--quiet", "--fail-on", "issue"]
    result = CliRunner().invoke(app, [*words, "--junit", "j.xml", "--markdown", "m.md"])
    assert result.exit_code == 1
    assert cases(Path("j.xml").read_text(encoding="utf-8"))["NEMD002"].find("failure") is not None
    assert Path("m.md").read_text(encoding="utf-8").startswith("### points\\.npy: Collapsed")


def test_a_place_that_cannot_be_written_is_told_before_the_analysis(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr("nemd_toolkit.pipeline.analyze", never)
    (tmp_path / "taken").write_text("")
    for place in (tmp_path, tmp_path / "taken" / "j.xml"):
        result = CliRunner().invoke(app, ["analyze", "absent.npy", "--junit", str(place)])
        assert isinstance(result.exception, InputError)
        assert f"{place}: expected a file that can be written" in str(result.exception)
