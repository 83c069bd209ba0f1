"""Labels in the report: numbers where they are, null and no table where they are not."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nemd_toolkit.pipeline import analyze
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.gallery import scale_picture
from nemd_toolkit.report.label_rows import label_numbers, label_reasons
from nemd_toolkit.report.number_rows import prototype_numbers
from nemd_toolkit.report.page import page
from nemd_toolkit.report.tables import prototype_table, prototype_tables
from tests import worlds

POINTS, GROUP = worlds.clusters(600, 16, 8)


@pytest.fixture(scope="module")
def labelled() -> Analysis:
    return analyze(POINTS, prototypes=("labels", 10, 5), labels=[f"class {g}" for g in GROUP])


@pytest.fixture(scope="module")
def plain() -> Analysis:
    return analyze(POINTS, prototypes=(10, 5))


@pytest.fixture(scope="module")
def alone() -> Analysis:
    """Each row a class of its own."""
    return analyze(POINTS, prototypes=(10,), labels=range(600))


def document(analysis: Analysis) -> dict:
    def refuse(text: str) -> float:
        raise AssertionError(text)

    return json.loads(analysis.to_json(), parse_constant=refuse)


def text_of(analysis: Analysis) -> str:
    return re.sub(r"<[^>]+>|\s+", " ", page(analysis, [scale_picture(analysis)]))


def test_document_has_the_numbers_of_the_measures(labelled: Analysis) -> None:
    found, m = document(labelled)["measures"], labelled.measures
    assert m.quality is not None
    assert m.neural_collapse is not None
    assert m.quality.knn is not None
    assert found["quality"]["knn"] == {
        "value": m.quality.knn.value,
        "low": m.quality.knn.low,
        "high": m.quality.knn.high,
    }
    assert (found["quality"]["train_rows"], found["quality"]["test_rows"]) == (480, 120)
    collapse = found["neural_collapse"]
    assert collapse["nc1"] == m.neural_collapse.nc1 > 0
    assert collapse["classes"] == 8
    assert collapse["nc3"] is collapse["nc4"] is None
    assert "no linear classifier" in collapse["head_missing"]
    by_label, by_kmeans, _ = found["clusterings"]
    assert by_label["labels"] is None
    assert set(by_kmeans["labels"]) == {"purity", "chance", "nmi"}


def test_document_says_null_without_labels(plain: Analysis) -> None:
    found = document(plain)["measures"]
    assert found["neural_collapse"] is found["quality"] is None
    assert [c["labels"] for c in found["clusterings"]] == [None, None]
    assert label_numbers(plain.measures) == label_reasons(plain.measures) == []


def test_labels_change_no_finding(labelled: Analysis, plain: Analysis) -> None:
    with_labels = analyze(POINTS, prototypes=(10, 5), labels=GROUP.tolist())
    assert with_labels.findings == plain.findings
    assert with_labels.verdict == plain.verdict


def test_page_has_a_table_of_labels_only_where_they_are(
    labelled: Analysis, plain: Analysis
) -> None:
    words = [text_of(labelled), text_of(plain)]
    for name in ("held-out samples", "linear probe accuracy", "NC1", "CDNV, largest", "NMI"):
        assert name in words[0]
        assert name not in words[1]
    rows = {row.name: row.values[0] for row in label_numbers(labelled.measures)}
    assert rows["kNN accuracy"] in words[0]
    assert len(rows) == 9


def test_missing_numbers_are_dashes_with_reasons(alone: Analysis) -> None:
    found = document(alone)["measures"]
    assert found["quality"]["knn"] is found["neural_collapse"]["cdnv"] is None
    assert {row.values[0] for row in label_numbers(alone.measures)} <= {"–", "–, –"}
    words = text_of(alone)
    for reason in ("classes of 5 samples or more, got 0.", "classes of two rows or more, got 0."):
        assert reason in words
    assert len(label_reasons(alone.measures)) == 2


def test_a_probe_that_costs_too_much_is_a_reason(labelled: Analysis) -> None:
    assert labelled.measures.quality is not None
    quality = replace(labelled.measures.quality, linear_probe=None, probe_missing="too dear")
    reasons = label_reasons(replace(labelled.measures, quality=quality))
    assert reasons == ["Linear probe: too dear."]


def test_purity_stands_beside_each_prototype(labelled: Analysis, plain: Analysis) -> None:
    c = labelled.measures.clusterings[1]
    table = prototype_table(c)
    names, members = np.array([f"class {g}" for g in GROUP]), c.prototypes.assignment.numpy()
    for p, purity in zip(table["prototype"], table["purity"], strict=True):
        assert purity == pd.Series(names[members == p]).value_counts(normalize=True).iloc[0]
    joined = prototype_tables(labelled)
    assert joined.loc[joined["source"] == "labels", "purity"].isna().all()
    assert joined.loc[joined["source"] == "k-means", "purity"].between(0, 1).all()
    assert "purity" not in prototype_tables(plain).columns


def test_numbers_of_clusterings_have_purity_and_information(
    labelled: Analysis, plain: Analysis
) -> None:
    rows = {r.name: r.values for r in prototype_numbers(labelled.measures.clusterings, 0.025)}
    assert rows["purity"][0] == rows["NMI with labels"][0] == "–"
    assert rows["purity"][1].endswith("%")
    assert "purity" not in {r.name for r in prototype_numbers(plain.measures.clusterings, 0.025)}
