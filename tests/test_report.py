"""The folder of an analysis and the comparison: complete, safe, small, offline, repeatable."""

import csv
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import CHECKS, decide, judge
from nemd_toolkit.measures import measure
from nemd_toolkit.prototypes import Prototypes, fit_prototypes, prototypes_from_labels
from nemd_toolkit.report.analysis import Analysis, Provenance
from nemd_toolkit.report.comparability import warnings
from nemd_toolkit.report.comparison import write_comparison
from nemd_toolkit.report.folder import write
from nemd_toolkit.report.tables import csv_text, pair_table, prototype_table
from nemd_toolkit.report.wording import interval
from tests import worlds

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    '" onload="alert(1)',
    "{{ 7 * 7 }}",
    "שלום 日本語 \ud800 \x00",
    "x" * 10_000,
    "@sum",
    "+1",
)
HEALTHY = worlds.clusters(600, 16, 8)[0]


def analysis_of(
    points: torch.Tensor, *prototypes: int, name: str = "a.npy", labels: list[str] | None = None
) -> Analysis:
    embeddings = Embeddings(points, labels=labels)
    found: list[Prototypes] = [fit_prototypes(embeddings, k) for k in prototypes]
    if labels:
        found.insert(0, prototypes_from_labels(embeddings))
    measures = measure(embeddings, found)
    findings = judge(measures)
    return Analysis(
        measures=measures,
        findings=findings,
        verdict=decide(findings),
        provenance=Provenance(
            source=name,
            sha256="ab" * 32,
            layout="embeddings",
            layer=None,
            data=None,
            seed=0,
            command=f"nemd analyze {name}",
            versions={"torch": "2.0"},
            device="cpu",
            seconds=1.5,
            notes=("rows were normalised",),
        ),
    )


@pytest.fixture(scope="module")
def healthy() -> Analysis:
    return analysis_of(HEALTHY, 10, 5)


@pytest.fixture(scope="module")
def hostile() -> Analysis:
    group = worlds.clusters(600, 16, 8)[1]
    labels = [HOSTILE[g] for g in group]
    return analysis_of(HEALTHY, 5, name=HOSTILE[0] + HOSTILE[5], labels=labels)


@pytest.fixture(scope="module")
def total() -> Analysis:
    return analysis_of(worlds.equal(200, 8), 4)


@pytest.fixture(scope="module")
def folder(healthy: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(healthy, tmp_path_factory.mktemp("healthy") / "out").parent


class Page(HTMLParser):
    """Tags, ids and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def values(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]


def assert_safe(page: Page) -> None:
    scripts = [attrs.get("type") for tag, attrs in page.tags if tag == "script"]
    assert scripts.count(None) == 1
    assert set(scripts) <= {None, "application/json"}  # data, which nothing runs
    assert page.count("img") == page.count("iframe") == page.count("object") == 0
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    loads = page.values("src") + [
        attrs.get("href") or attrs.get("xlink:href") or ""
        for tag, attrs in page.tags
        if tag in ("link", "use", "image")
    ]
    assert all(load.startswith(("data:", "#")) for load in loads)
    assert not re.search(r"url\((?!#)|@import", page.source)
    links = [attrs.get("href") or "" for tag, attrs in page.tags if tag == "a"]
    assert not [link for link in links if ":" in link]
    assert "default-src 'none'" in page.source
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_folder_holds_page_tables_figures_and_card(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    figures = ["scale", "pairs", "matrix", "duplicates", "resultants", "members", "usage"]
    figures += ["spectrum", "plane", "map"]
    tables = {"report.html", "report.json", "prototypes.csv", "nemd_pairs.csv", "card.png"}
    assert names == tables | {f"figures/{name}.png" for name in figures}
    with Image.open(folder / "card.png") as card:
        assert card.size == (1200, 630)


def test_page_gives_the_verdict_first_and_every_check(folder: Path, healthy: Analysis) -> None:
    page = Page(folder / "report.html")
    assert healthy.measures.nemd is not None
    score = interval(healthy.measures.nemd.score)
    assert page.text.index("Healthy") < page.text.index(score) < page.text.index("What now")
    for about, _ in CHECKS:
        assert about.code in page.values("id")
        assert about.meaning in page.text
    assert "rows were normalised" in page.text
    assert page.count("h1") == page.count("main") == 1
    assert page.count("svg") >= 8
    assert_safe(page)


def test_every_figure_in_the_page_has_a_name_and_a_description(folder: Path) -> None:
    page = Page(folder / "report.html")
    images = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]
    drawn = [attrs for attrs in images if "data-part" in attrs]  # by the script
    assert all(attrs["aria-label"] for attrs in drawn)
    images = [attrs for attrs in images if attrs not in drawn]
    assert len(images) == 10
    ids = set(page.values("id"))
    for image in images:
        assert set((image["aria-labelledby"] or "").split()) <= ids


def test_tables_have_captions_and_sort_by_buttons(folder: Path) -> None:
    page = Page(folder / "report.html")
    assert page.count("table") == page.count("caption") == 5
    assert page.count("button") > 10
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")


def test_hostile_names_stay_text(hostile: Analysis, tmp_path: Path) -> None:
    page = Page(write(hostile, tmp_path))
    assert_safe(page)
    assert HOSTILE[0] in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert HOSTILE[5] not in page.source  # cut, with an ellipsis


def test_without_any_score_the_page_says_why(total: Analysis, tmp_path: Path) -> None:
    page = Page(write(total, tmp_path))
    assert "No NEMD score." in page.text
    assert total.measures.nemd_missing is not None
    assert total.measures.nemd_missing.removeprefix("NEMD: ") in page.text
    assert "Collapsed" in page.text
    assert "restore negatives" in page.text  # the remedy
    assert not (tmp_path / "figures" / "pairs.png").exists()


def test_page_is_small_with_400_prototypes(tmp_path: Path) -> None:
    path = write(analysis_of(worlds.noise(7_000, 8), 400, 200), tmp_path)
    assert path.stat().st_size <= 3_000_000
    assert "the 250 largest of 400 prototypes" in Page(path).text
    rows = (tmp_path / "prototypes.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 601


def test_the_same_analysis_gives_the_same_bytes(
    healthy: Analysis, folder: Path, tmp_path: Path
) -> None:
    write(healthy, tmp_path)
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes(), path.name


def test_document_is_standard_json_with_the_promised_keys(folder: Path) -> None:
    def refuse(text: str) -> float:
        raise AssertionError(text)

    text = (folder / "report.json").read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=refuse)
    assert document["schema"] == "nemd-report/1"
    assert set(document) == {"schema", "verdict", "findings", "measures", "provenance"}
    assert set(document["verdict"]) == {"state", "codes", "headline"}
    finding = {"code", "name", "status", "message", "measured", "threshold", "remedy"}
    finding |= {"would_be", "relative", "undecided"}
    assert all(set(found) == finding for found in document["findings"])
    promised = {"embeddings", "nemd", "clusterings", "instance", "spectrum"}
    assert promised | {"neural_collapse", "quality"} <= set(document["measures"])
    nemd = {"raw", "excess", "score", "n", "pairs", "exact", "certified_width"}
    assert nemd <= set(document["measures"]["nemd"])
    provenance = {"source", "sha256", "layout", "layer", "data", "seed", "versions", "device"}
    assert provenance | {"seconds"} <= set(document["provenance"])


def test_tables_hold_each_prototype_and_each_pair(healthy: Analysis) -> None:
    c = healthy.measures.clusterings[0]
    assert c.nemd is not None
    pairs, prototypes = pair_table(c), prototype_table(c)
    assert len(pairs) == c.nemd.pairs
    assert prototypes["size"].sum() == 600
    np.testing.assert_array_equal(prototypes["resultant"], c.spread.resultants)
    first = pairs[(pairs.p == 0) | (pairs.q == 0)]
    assert prototypes["mean_excess"][0] == pytest.approx(first["excess"].mean())
    assert prototypes["mean_raw"][0] == pytest.approx(first["raw"].mean())
    assert prototypes["mean_energy"][0] == pytest.approx(first["energy"].mean())
    assert prototypes["least_excess"][0] == first["excess"].min()
    np.testing.assert_array_equal(prototypes["phi"], c.spread.phi)
    assert set(prototypes["state"]) <= {"compared", "skipped"}


def test_unused_prototypes_stay_in_the_table(total: Analysis) -> None:
    table = prototype_table(total.measures.clusterings[0])
    assert len(table) == 4
    assert (table["state"] == "unused").sum() == (table["size"] == 0).sum() >= 1
    assert table[["phi", "mean_excess", "mean_energy", "least_excess"]].isna().all(axis=None)


def test_csv_keeps_full_precision_and_no_formula(hostile: Analysis, tmp_path: Path) -> None:
    c = hostile.measures.clusterings[0]
    write(hostile, tmp_path)
    with (tmp_path / "prototypes.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "labels"]
    assert not [row["name"] for row in rows if row["name"].startswith(("=", "+", "-", "@"))]
    assert "'" + HOSTILE[1] in [row["name"] for row in rows]
    assert [float(row["resultant"]) for row in rows] == c.spread.resultants.tolist()
    assert csv_text(pair_table(c)).count("\n") == len(pair_table(c)) + 1


def test_a_file_in_the_way_is_an_input_error(healthy: Analysis, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(InputError, match="expected a folder that can be written to"):
        write(healthy, taken)
    assert taken.read_text() == "mine"


def test_no_page_is_left_when_a_file_before_it_fails(healthy: Analysis, tmp_path: Path) -> None:
    (tmp_path / "card.png").mkdir()
    with pytest.raises(InputError, match="card|directory|folder"):
        write(healthy, tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert not list(tmp_path.glob(".*"))  # no half-written file either


def test_card_wraps_and_cuts_long_headlines(healthy: Analysis, tmp_path: Path) -> None:
    verdict = replace(healthy.verdict, headline="word " * 200 + "x" * 500)
    source = replace(healthy.provenance, source="/very/long/" * 50)
    write(replace(healthy, verdict=verdict, provenance=source), tmp_path)
    with Image.open(tmp_path / "card.png") as card:
        pixels = np.asarray(card.convert("L"))
    assert (pixels[20:, :40] > 250).all()  # margins are empty
    assert (pixels[20:, -40:] > 250).all()


def test_comparison_warns_where_runs_are_unlike(healthy: Analysis, total: Analysis) -> None:
    assert warnings([("a", healthy), ("b", healthy)]) == []
    said = " ".join(warnings([("a", healthy), ("b", total)]))
    assert "embeddings, N (200; 600): raw NEMD is not comparable" in said
    assert "dimension, d (16; 8)" in said
    other = replace(healthy, provenance=replace(healthy.provenance, data="digits"))
    assert "no column is a fair comparison" in warnings([("a", healthy), ("b", other)])[0]


def test_comparison_page_table_and_document(
    healthy: Analysis, total: Analysis, tmp_path: Path
) -> None:
    runs = [("a", healthy), (HOSTILE[0], total), ("=again", healthy)]
    extra = {
        "a": {"kNN accuracy": 0.9125, "note": HOSTILE[0]},
        "=again": {"kNN accuracy": math.nan},
    }
    path = write_comparison(runs, tmp_path, extra, {"a": "a/report.html", "=again": "x:y#z"})
    page = Page(path)
    assert_safe(page)
    assert "a/report.html" in page.values("href")
    assert "0.912" in page.text
    assert healthy.verdict.headline in page.text
    assert "within noise" in page.text
    document = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert [run["name"] for run in document["runs"]] == ["a", HOSTILE[0], "=again"]
    assert document["runs"][2]["kNN accuracy"] is None
    with (tmp_path / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[2]["name"] == "'=again"
    assert healthy.measures.nemd is not None
    assert healthy.measures.nemd.score is not None
    assert float(rows[0]["score"]) == healthy.measures.nemd.score.value


def test_comparison_needs_distinct_names(healthy: Analysis, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="each with its own name"):
        write_comparison([("a", healthy), ("a", healthy)], tmp_path)
