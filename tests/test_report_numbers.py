"""Numbers in the document and in the page's tables: all of them, or why not."""

import numpy as np
import pytest
import torch

import nemd_toolkit as nt
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.document import document, to_json
from nemd_toolkit.report.number_rows import embedding_numbers, prototype_numbers
from nemd_toolkit.report.tables import pair_tables
from tests import worlds


@pytest.fixture(scope="module")
def healthy() -> Analysis:
    x = worlds.clusters(300, 24, 8)[0]
    views = torch.cat([x, x + 0.02 * worlds.noise(300, 24)])
    return nt.analyze(nt.Embeddings(views, groups=np.arange(600) % 300), prototypes=8)


@pytest.fixture(scope="module")
def total() -> Analysis:
    return nt.analyze(worlds.equal(60, 6), prototypes=3)


def test_document_holds_each_measure(healthy: Analysis) -> None:
    found, m = document(healthy)["measures"], healthy.measures
    assert found["instance"]["w2_uniform"] == m.spectrum.w2_uniformity
    assert found["instance"]["koleo"] == m.instance.koleo
    assert found["instance"]["corr"] == m.instance.corr
    law = found["spectrum"]["alpha_req"]
    assert (law["first"], law["last"], law["missing"]) == (6, 24, None)
    assert 0 <= law["r_squared"] <= 1
    assert len(found["spectrum"]["log10_covariance"]) == 24
    assert len(found["spectrum"]["null_singular"]) == 24
    dimension = found["intrinsic_dimension"]
    assert dimension["two_nn"]["low"] < dimension["two_nn"]["value"] < dimension["two_nn"]["high"]
    assert (dimension["rows"], dimension["among"], dimension["repeats"]) == (300, 300, 0)
    assert found["lidar"]["rank"] == pytest.approx(m.lidar.rank)
    assert [found["lidar"][key] for key in ("samples", "views", "cap")] == [300, 2, 24]
    spread = found["clusterings"][0]["spread"]
    assert spread["phi"]["low"] < spread["phi"]["mean"] < spread["phi"]["high"]
    assert spread["phi"]["mean"] == pytest.approx(0.2)
    assert spread["nearest_pair"]["p"] < spread["nearest_pair"]["q"] < 8
    alike, pairs = found["clusterings"][0]["nemd"]["nearest_pair"], pair_tables(healthy)
    least = pairs.loc[pairs["excess"].idxmin()]
    assert alike == {name: least[name] for name in ("p", "q", "raw", "excess", "energy")}
    koleo = found["clusterings"][0]["prototype"]["koleo"]
    assert koleo == m.clusterings[0].geometry.koleo


def test_document_of_one_point_gives_reasons_and_no_nan(total: Analysis) -> None:
    assert "NaN" not in to_json(total)
    found = document(total)["measures"]
    assert found["spectrum"]["alpha_req"]["alpha"] is None
    assert "eigenvalues above rounding" in found["spectrum"]["alpha_req"]["missing"]
    assert found["intrinsic_dimension"]["two_nn"] is None
    assert "distinct rows" in found["intrinsic_dimension"]["missing"]
    assert found["lidar"]["missing"] == "expected groups of views, got none"
    spread = found["clusterings"][0]["spread"]
    assert "coincide" in spread["phi"]["missing"]
    assert spread["nearest_pair"] is None
    assert found["clusterings"][0]["prototype"]["koleo"] is None


def test_tables_show_each_measure_with_its_direction(healthy: Analysis) -> None:
    shown = {row.name: row for row in embedding_numbers(healthy.measures)}
    for name in ("W2 uniformity", "correlation", "KoLeo", "α-ReQ", "intrinsic dimension", "LiDAR"):
        assert any(character.isdigit() for character in shown[name].values[0]), name
    assert "ranks 6–24" in shown["α-ReQ"].values[0]
    assert "300 rows" in shown["KoLeo"].meaning
    assert "q=2" in shown["LiDAR"].values[0]
    ours = {row.name: row for row in prototype_numbers(healthy.measures.clusterings, 0.025)}
    assert "…" in ours["φ, rescaled"].values[0]
    p, q, _ = healthy.measures.clusterings[0].spread.nearest_pair or (0, 0, 0)
    assert f"(no. {p}, {q})" in ours["nearest pair"].values[0]
    assert "(no. " in ours["most alike"].values[0]


def test_tables_of_one_point_say_why_a_number_is_missing(total: Analysis) -> None:
    shown = {row.name: row for row in embedding_numbers(total.measures)}
    for name, reason in (
        ("α-ReQ", "None here: expected at least 10 eigenvalues above rounding"),
        ("intrinsic dimension", "None here: expected at least 20 distinct rows, got 1."),
        ("LiDAR", "None here: expected groups of views, got none."),
    ):
        assert shown[name].values == ("none",)
        assert reason in shown[name].meaning
    ours = {row.name: row.values[0] for row in prototype_numbers(total.measures.clusterings, 0.025)}
    assert ours["φ, rescaled"] == "undefined"
    assert ours["concentration"] == "0"
    assert ours["most alike"] == "none"
