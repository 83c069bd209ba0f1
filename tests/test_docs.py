"""The documentation builds, asks nothing of the network, and shows every check at work."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nemd_toolkit.findings import CHECKS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_fetches_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 5
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\" >]+)", text)
        fetched += re.findall(r"<link[^>]+stylesheet[^>]+href=\"?(https?:[^\" >]+)", text)
        assert fetched == []


def test_every_check_has_examples_of_its_states(site):
    text = (site / "findings" / "index.html").read_text(encoding="utf-8")
    for entry, _ in CHECKS:
        section = re.split("<h2", text.partition(f'id="{entry.code.lower()}"')[2])[0]
        states = re.findall(r"<tr>\s*<td>([a-z ]+)</td>", section)
        assert {"issue", "passed"} <= set(states), entry.code
        assert "<strong>What to do:</strong>" in section


def test_examples_in_docstrings_are_code(site):
    text = (site / "python" / "index.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in text
    assert text.count('class="gp"') > 20  # prompts


def test_every_figure_of_a_report_is_shown_and_told(site):
    text = (site / "figures" / "index.html").read_text(encoding="utf-8")
    images = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,', text)
    assert len(images) == 2 * (text.count("<h2") - 1) >= 16  # one is on the explorer
    assert all(len(alt) > 20 for alt in images)
