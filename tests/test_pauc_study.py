"""What the study concludes from runs with a known answer."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

FOLDER = str(Path(__file__).parents[1] / "benchmarks")
WEIGHTS = {"proto x0.3": 0.3, "proto x1": 1.0, "proto x3": 3.0, "proto x10": 10.0}


@pytest.fixture(scope="module")
def module():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module


@pytest.fixture(scope="module")
def study(module):
    return module("pauc_study_answers")


def run(**numbers):
    usual = {"score": 0.5, "linear_probe": 0.98, "knn": 0.97, "effective_rank": 20.0}
    return {**usual, "excess": 0.9, "raw": 1.3, "beyond_axes": 0.5, **numbers}


def test_differences_are_taken_within_seeds(study):
    runs = {
        "a": {1: run(score=0.50), 2: run(score=0.70), 3: run(score=0.9)},
        "b": {1: run(score=0.45), 2: run(score=0.66), 4: run(score=0.1)},
    }
    found = study.difference(runs, "b", "a", "score")
    values = np.array([-0.05, -0.04])
    expected = stats.t.interval(0.95, 1, values.mean(), values.std(ddof=1) / math.sqrt(2))
    assert (found["n"], found["mean"]) == (2, pytest.approx(-0.045))
    assert (found["low"], found["high"]) == pytest.approx(expected)
    assert study.difference(runs, "c", "a", "score") is None
    one = study.difference({"a": {1: run()}, "b": {1: run()}}, "b", "a", "score")
    assert (one["low"], one["high"]) == (None, None)


def test_the_choice_is_the_lowest_score_whose_probe_is_kept(study):
    runs = {
        "pclv2": {100: run(), 101: run()},
        "mocov2": {100: run(score=0.1), 101: run(score=0.1)},
        "low but worse": {100: run(score=0.2, linear_probe=0.97), 101: run(score=0.2)},
        "lower": {100: run(score=0.4), 101: run(score=0.4, linear_probe=0.978)},
        "a little lower": {100: run(score=0.45), 101: run(score=0.45)},
    }
    found = study.chosen(runs)
    assert found["choice"] == "lower"
    assert [row["entry"] for row in found["table"]] == ["lower", "a little lower", "low but worse"]


def test_every_question_has_its_answer(study):
    runs = {
        entry: {s: run(score=0.6 + 0.1 * math.log(weight) + 0.01 * s) for s in (200, 201, 202)}
        for entry, weight in WEIGHTS.items()
    }
    runs["mocov2"] = {s: run(score=0.5 + 0.01 * s, linear_probe=0.99) for s in (200, 201, 202)}
    runs["pauc"] = {s: run(score=0.55 + 0.01 * s) for s in (200, 201, 202)}
    runs["pauc and align"] = {s: run(score=0.58 + 0.01 * s) for s in (200, 201, 202)}
    found = study.answers(runs)
    assert found["moco_to_pcl"]["score"]["mean"] == pytest.approx(0.1)
    assert found["with_weight"]["score"]["mean"] == pytest.approx(0.1)
    assert found["against_pcl"]["pauc"]["score"]["mean"] == pytest.approx(-0.05)
    assert found["with_a_term_more"]["pauc and align"]["score"]["low"] == pytest.approx(0.03)
    assert found["accuracy_follows"]["linear_probe"]["rho"] < 0
    json.dumps(found, allow_nan=False)


def test_runs_are_read_from_the_folder_of_a_comparison(study, tmp_path):
    for seed, failed in ((1, None), (2, "no")):
        folder = tmp_path / "pauc" / f"seed-{seed}"
        folder.mkdir(parents=True)
        numbers = {**run(), "score": None, "seconds": 3.0}
        result = {"method": "pauc", "seed": seed, "state": "collapsed", "numbers": numbers}
        content = {"result": {**result, "failed": failed}}
        (folder / "result.json").write_text(json.dumps(content))
    found = study.read_runs(tmp_path)
    assert list(found["pauc"]) == [1]
    assert found["pauc"][1]["collapsed"] == 1
    assert "score" not in found["pauc"][1]


def test_entries_are_settings_that_the_trainer_takes(module):
    from pauc_train.recipe import load_config, recipe_for

    study = module("pauc_study")
    for entry in (*study.candidates(), *study.tests()):
        load_config(entry.method, recipe_for("digits"), entry.overrides)
    assert set(WEIGHTS) < {entry.name for entry in study.tests()}


def test_differences_are_told_and_drawn_with_their_intervals(module):
    plot = module("pauc_study_plot")

    def between(low, high):
        return {"mean": (low + high) / 2, "low": low, "high": high}

    found = {
        "better": {"score": between(-0.05, -0.03), "linear_probe": between(-0.01, 0.01)},
        "worse": {"score": between(0.02, 0.04), "linear_probe": None},
        "one seed": {"score": {"mean": 0.1, "low": None, "high": None}},
    }
    text = plot.as_markdown(found, "PCL").splitlines()
    assert text[0] == "| against PCL | NEMD score | linear probe | kNN | effective rank |"
    assert text[2] == "| better | **-0.040** [-0.050, -0.030] | +0.000 [-0.010, +0.010] | – | – |"
    assert text[3].startswith("| worse | **+0.030**")
    assert text[4].startswith("| one seed | +0.100 |")
    scores, probes, *_ = plot.draw_differences(found, "PCL").axes
    assert [label.get_text() for label in scores.get_yticklabels()] == list(found)
    drawn = [line for line in scores.lines if len(line.get_xdata()) == 2][1:]
    ends = [tuple(line.get_xdata()) for line in drawn]
    assert ends == [(-0.05, -0.03), (0.02, 0.04), (0.1, 0.1)]
    assert [line.get_color() for line in drawn] == [plot.BLUE, plot.VERMILLION, plot.NEUTRAL]
    assert sum(len(line.get_xdata()) == 2 for line in probes.lines) == 2


def test_a_method_beats_a_random_encoder_where_the_margin_is_sure(module):
    methods = module("methods_table")

    def result(probe, failed=None):
        numbers = {"linear_probe": probe, "knn": 0.9, "score": None, "seconds": 30.0}
        return {"numbers": numbers, "state": "healthy", "codes": [], "failed": failed}

    trained = {
        "sure": {0: result(0.95), 1: result(0.96), 2: result(0.94)},
        "unsure": {0: result(0.95), 1: result(0.85), 2: result(None, failed="no")},
    }
    rows = [
        methods.beside_random(methods.row(name, trained), [0.85, 0.851, 0.852]) for name in trained
    ]
    assert [row["beats"] for row in rows] == [True, False]
    assert rows[1]["failed"] == ["no"]
    assert (rows[1]["runs"], rows[1]["score"]) == (2, None)
    test = stats.ttest_ind([0.95, 0.96, 0.94], [0.85, 0.851, 0.852], equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert rows[0]["margin"] == {
        "mean": pytest.approx(0.099),
        "low": pytest.approx(low),
        "high": pytest.approx(high),
    }
    alone = methods.beside_random(methods.row("sure", {"sure": {0: result(0.95)}}), [0.85])
    assert (alone["margin"]["low"], alone["beats"]) == (None, False)
    text = methods.table(rows)
    assert text.index("| sure |") < text.index("| unsure |")
    assert "3 healthy" in text


def test_a_random_encoder_is_probed_without_having_learned(module):
    probe = module("methods_table")._random_probe(("mocov2", "digits", 3))
    assert 0.7 < probe < 0.95  # trained ones have .99
