"""What a gate found as files for build systems: JUnit XML, and Markdown for GitHub."""

import html
import os
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as xml

from nemd_toolkit.errors import InputError
from nemd_toolkit.files import write_text
from nemd_toolkit.findings import Finding
from nemd_toolkit.gate import cannot_tell, fails
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.text import MARKS
from nemd_toolkit.report.wording import STATUSES, how_sure, interval, state_of, storable

__all__ = ["junit_xml", "markdown_summary", "require_places", "write_gate_files"]

Runs = Sequence[tuple[str, Analysis]]
_USUAL = ("issue",)  # what fails in the files where no gate was asked for
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+.!|~@:-])")


def write_gate_files(
    runs: Runs, gate: Sequence[str], junit: Path | None, markdown: Path | None
) -> None:
    """Write those that are asked for. Raises InputError for places that cannot be written to."""
    made = {junit: junit_xml, markdown: markdown_summary}
    for path, text in made.items():
        if path is None:
            continue
        try:
            write_text(path, storable(text(runs, gate)))
        except OSError as error:
            raise InputError(
                f"{path}: expected a file that can be written, got {error.strerror or error}; "
                "choose another"
            ) from None


def require_places(*paths: Path | None) -> None:
    """Raise InputError for a place that no file can be written to: before hours of work, not after.

    >>> require_places(None, Path("junit.xml"))
    """
    for path in paths:
        folder = None if path is None else next(p for p in path.absolute().parents if p.exists())
        if path is None or folder is None:
            continue
        if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise InputError(
                f"{path}: expected a file that can be written, got a folder or a place without "
                "permission; choose another"
            )


def junit_xml(runs: Runs, gate: Sequence[str] = ()) -> str:
    """Give a suite for each run and a case for each check, and one for the verdict.

    What `gate` names fails; without a gate, collapse issues do. A case is an error where the gate
    cannot be told (as exit code 3 says), and skipped where a check was not applicable or ignored;
    a warning that fails nothing is in the case's output.
    """
    suites = xml.Element("testsuites", name="nemd")
    for name, analysis in runs:
        cases = [_verdict_case(name, analysis)]
        cases += [_case(name, finding, gate or _USUAL) for finding in _ordered(analysis)]
        suite = xml.SubElement(suites, "testsuite", name=_plain(name), tests=str(len(cases)))
        for kind, word in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            suite.set(word, str(sum(case.find(kind) is not None for case in cases)))
        suite.extend(cases)
    xml.indent(suites)
    return xml.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _ordered(analysis: Analysis) -> list[Finding]:
    return sorted(analysis.findings, key=lambda finding: finding.about.code)


def _verdict_case(name: str, analysis: Analysis) -> xml.Element:
    case = xml.Element("testcase", classname=_plain(name), name="verdict")
    verdict = analysis.verdict
    kind = "error" if verdict.state == "inconclusive" else "system-out"
    said = xml.SubElement(case, kind)
    if kind == "error":
        said.attrib |= {"type": verdict.state, "message": _plain(verdict.headline)}
    said.text = _plain(f"{verdict.headline}\n{how_sure(analysis.measures)}")
    return case


def _case(name: str, finding: Finding, gate: Sequence[str]) -> xml.Element:
    about, message = finding.about, _plain(finding.message)
    case = xml.Element("testcase", classname=_plain(name), name=f"{about.code} {about.name}")
    if fails(finding, gate) or cannot_tell(finding, gate):
        kind = "failure" if fails(finding, gate) else "error"
        said = xml.SubElement(case, kind, type=finding.status, message=message)
        said.text = _plain(f"{finding.message}\nWhat to do: {about.remedy}")
    elif finding.status in ("not_applicable", "ignored"):
        xml.SubElement(case, "skipped", message=f"{STATUSES[finding.status]}: {message}")
    else:
        xml.SubElement(case, "system-out").text = f"{finding.status}: {message}"
    return case


def _plain(text: str) -> str:
    """Leave out what XML has no way to hold."""
    return _NOT_IN_XML.sub("?", text)


def markdown_summary(runs: Runs, gate: Sequence[str] = ()) -> str:
    """Give verdicts, key numbers, and a table of what fired, in GitHub's Markdown.

    What passed, and what could not be told, is folded. Strings of the input are escaped: they make
    no link, mention or markup.
    """
    return "\n".join(line for name, analysis in runs for line in _summary(name, analysis, gate))


def _summary(name: str, analysis: Analysis, gate: Sequence[str]) -> list[str]:
    found = analysis.measures.nemd
    fired = [f for f in _ordered(analysis) if f.status in ("issue", "warning", "ignored")]
    others = [f for f in _ordered(analysis) if f not in fired]
    lines = [
        f"### {_escaped(name)}: {state_of(analysis.verdict)}",
        "",
        _escaped(analysis.verdict.headline),
        "",
        f"NEMD score **{_escaped(interval(found.score if found else None))}**, excess "
        f"{_escaped(interval(found.excess if found else None, 3))}, raw "
        f"{_escaped(interval(found.raw if found else None, 3))}. "
        + _escaped(how_sure(analysis.measures)),
        "",
    ]
    if fired:
        lines += [*_table(fired, gate), ""]
    lines += [f"<details><summary>{len(others)} more checks</summary>", ""]
    return [*lines, *_table(others, gate), "", "</details>", ""]


def _table(findings: Sequence[Finding], gate: Sequence[str]) -> list[str]:
    rows = ["| | check | | what was found | what to do |", "| --- | --- | --- | --- | --- |"]
    for finding in findings:
        about, status = finding.about, STATUSES[finding.status]
        said = f"**{status}, fails the gate**" if fails(finding, gate) else status
        remedy = _escaped(about.remedy) if finding.status in ("issue", "warning") else ""
        rows.append(
            f"| {MARKS[finding.status]} | {about.code} {_escaped(about.name)} | {said} "
            f"| {_escaped(finding.message)} | {remedy} |"
        )
    return rows


def _escaped(text: str) -> str:
    r"""Make text that GitHub shows as it is, in one line.

    >>> _escaped("<b>|@you\n[x](http://y)")
    '&lt;b&gt;\\|\\@you \\[x\\]\\(http\\://y\\)'
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))
