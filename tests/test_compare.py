"""Several runs side by side: differences with intervals, the healthiest one, a small page."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nemd_toolkit.pipeline import analyze
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.comparison import write_comparison
from nemd_toolkit.report.differences import NUMBERS, SideBySide
from nemd_toolkit.report.headlines import headline, plain_text
from tests import worlds
from tests.test_report import HOSTILE, Page, assert_safe


def run_of(spread: float, seed: int = 0, *, noise: int | None = None) -> Analysis:
    """The same groups and rows at another spread, and with other noise if that is asked for."""
    rows, group = worlds.clusters(600, 16, 8, spread, seed=seed)
    if noise is not None:
        moved = rows + 0.3 * worlds.noise(600, 16, seed=noise)
        rows = torch.nn.functional.normalize(moved, dim=1)
    return analyze(rows, prototypes=(10, 5), labels=group.numpy())


@pytest.fixture(scope="module")
def wide() -> Analysis:
    return run_of(0.9)


@pytest.fixture(scope="module")
def tighter() -> Analysis:
    return run_of(0.75)


@pytest.fixture(scope="module")
def tight() -> Analysis:
    return run_of(0.1)


@pytest.fixture(scope="module")
def uniform() -> Analysis:
    return analyze(worlds.noise(600, 16), prototypes=(10, 5))


def test_differences_of_all_numbers_are_paired_where_rows_are_shared(
    wide: Analysis, tighter: Analysis
) -> None:
    field = SideBySide([("a", wide), ("b", tighter)])
    found = {d.number: d.change for d in field.differences()}
    assert set(found) <= set(NUMBERS)
    assert found["score"].paired
    assert found["score"].beyond
    assert found["score"].low > 0  # tighter groups score higher
    assert found["rank_share"].paired
    assert found["rank_share"].high < 0
    assert not found["knn"].paired
    nemd = [run.measures.nemd for run in (wide, tighter)]
    assert nemd[0] is not None
    assert nemd[1] is not None
    assert nemd[0].score is not None
    assert nemd[1].score is not None
    assert found["score"].value == pytest.approx(nemd[1].score.value - nemd[0].score.value)


def test_raw_is_compared_at_equal_n_only(wide: Analysis) -> None:
    assert wide.measures.nemd is not None
    other = replace(
        wide,
        measures=replace(
            wide.measures, nemd=replace(wide.measures.nemd, n=wide.measures.nemd.n + 1)
        ),
    )
    assert SideBySide([("a", wide), ("b", other)]).change("a", "b", "raw") is None
    assert SideBySide([("a", wide), ("b", wide)]).change("a", "b", "raw") is not None


def test_runs_on_other_data_or_samples_are_not_paired(wide: Analysis, tighter: Analysis) -> None:
    moved = replace(tighter, provenance=replace(tighter.provenance, data="digits"))
    other_rows = run_of(0.75, seed=1)  # other labels by row
    fewer = analyze(worlds.clusters(500, 16, 8)[0], prototypes=(10, 5))
    other_k = analyze(worlds.clusters(600, 16, 8)[0], prototypes=(8, 5))
    for second in (moved, other_rows, fewer, other_k):
        change = SideBySide([("a", wide), ("b", second)]).change("a", "b", "score")
        assert change is not None
        assert not change.paired


def test_order_is_by_state_then_by_score_and_ties_are_within_noise(
    wide: Analysis, tighter: Analysis, tight: Analysis, uniform: Analysis
) -> None:
    field = SideBySide(
        [
            ("tight", tight),
            ("noise", uniform),
            ("tighter", tighter),
            ("wide", wide),
            ("again", wide),
        ]
    )
    places = {s.name: s.place for s in field.standings()}
    assert places == {"wide": 1, "again": 1, "tighter": 3, "noise": 4, "tight": 5}
    said = plain_text(headline(field, field.standings()))
    assert said.startswith("wide and again are the healthiest of 5 runs")
    assert "within noise" in said


def test_the_sentence_says_what_is_beyond_noise(
    wide: Analysis, tighter: Analysis, tight: Analysis, uniform: Analysis
) -> None:
    def said(*runs: tuple[str, Analysis]) -> str:
        field = SideBySide(runs)
        return plain_text(headline(field, field.standings()))

    first = said(("b", tighter), ("a", wide))
    assert first.startswith("a is the healthiest of 2 runs: the next, b, is healthy too but has a")
    assert "beyond noise" in first
    assert "it alone is healthy; the next, t, is collapsed (NEMD002" in said(
        ("t", tight), ("a", wide)
    )
    assert said(("t", tight), ("u", uniform)) == (
        "None of the 2 runs is surely healthy: u is inconclusive; the others are collapsed."
    )
    assert said(("t", tight), ("s", tight)) == "None of the 2 runs is healthy: all are collapsed."


def test_document_has_every_difference_with_its_interval(
    wide: Analysis, tighter: Analysis, tmp_path: Path
) -> None:
    write_comparison([("a", wide), ("b", tighter)], tmp_path)
    document = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert document["schema"] == "nemd-comparison/1"
    assert document["healthiest"] == ["a"]
    assert document["headline"].startswith("a is the healthiest")
    keys = {"first", "second", "number", "value", "low", "high", "paired", "beyond_noise"}
    for found in document["differences"]:
        assert set(found) == keys
        assert found["low"] <= found["value"] <= found["high"]
    assert {d["number"] for d in document["differences"]} >= {"score", "excess", "rank_share"}
    assert [run["place"] for run in document["runs"]] == [1, 2]


def test_page_says_who_is_healthiest_before_anything_else(
    wide: Analysis, tighter: Analysis, tmp_path: Path
) -> None:
    page = Page(write_comparison([("b", tighter), ("a", wide)], tmp_path))
    assert_safe(page)
    start = page.text.index("is the healthiest of 2 runs")
    assert page.text.index("2 runs side by side") < start < page.text.index("Places go by verdict")
    assert page.count("table") == page.count("caption") == 2
    assert "Differences from the healthiest run" in page.text
    assert {"scales", "changes", "spectra"} <= {
        (value or "").removeprefix("figure-") for value in page.values("id")
    }


def test_page_of_twenty_runs_is_small(wide: Analysis, tighter: Analysis, tmp_path: Path) -> None:
    runs = [(f"epoch {e}", (wide, tighter)[e % 2]) for e in range(20)]
    path = write_comparison(runs, tmp_path)
    assert path.stat().st_size <= 1_000_000  # 5 MB are allowed
    document = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert len(document["healthiest"]) == 10
    firsts = {d["first"] for d in document["differences"]}
    assert len(firsts) == 1  # each with the healthiest, not all with all


def test_hostile_names_stay_text(wide: Analysis, tighter: Analysis, tmp_path: Path) -> None:
    runs = [(name, (wide, tighter)[place % 2]) for place, name in enumerate((*HOSTILE, "🦊\u202e"))]
    page = Page(write_comparison(runs, tmp_path))
    assert_safe(page)
    assert HOSTILE[0] in page.text
    assert HOSTILE[5] not in page.source
    with (tmp_path / "comparison.csv").open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert not [name for name in names if name.startswith(("=", "+", "-", "@"))]
