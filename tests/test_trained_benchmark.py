"""Checkpoints made to collapse: settings exist, rows resume, correlations are right."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from pauc_train.recipe import load_config

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def module():
    """Import by name from benchmarks/, which is a folder of scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        for library in ("OMP", "OPENBLAS"):  # the script sets them: put back afterwards
            patch.setenv(f"{library}_NUM_THREADS", "1")
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module


def test_every_setting_is_one_that_pauc_train_takes(module):
    settings = module("trained_settings").SETTINGS
    assert len({setting.name for setting in settings}) == len(settings) >= 12
    for setting in settings:
        overrides = {**setting.overrides, "epochs": setting.epochs}
        config = load_config(setting.method, "digits", overrides).plain()
        assert overrides.items() <= config.items()


def test_a_run_is_written_resumed_tabled_and_drawn(module, tmp_path, capsys):
    benchmark, settings = module("trained"), module("trained_settings").SETTINGS
    tiny = [replace(settings[0], epochs=1), next(s for s in settings if s.name == "rate 10")]
    broken = replace(tiny[1], overrides={"learning_rate": 1e30}, epochs=1)
    command = ["run", "--work", str(tmp_path / "work"), "--out", str(tmp_path), "--seeds", "1"]
    assert benchmark.main(command, [tiny[0], broken]) == 0
    path = tmp_path / "trained.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    good, bad = before["rows"]
    assert (before["schema"], good["setting"], good["seed"]) == ("nemd-trained/1", "moco", 0)
    assert good["verdict"]["state"] in ("healthy", "collapsed", "inconclusive")
    assert 0 < good["accuracy"]["linear_probe"] <= 1
    assert good["numbers"]["nemd.score"] == good["score"]["value"]
    assert not {"quality", "neural_collapse"} & {name.split(".")[0] for name in good["numbers"]}
    assert "expected a finite number" in bad["refused"]["train"]
    assert str(tmp_path) not in path.read_text(encoding="utf-8")

    capsys.readouterr()
    assert benchmark.main(command, [tiny[0], broken]) == 0
    assert capsys.readouterr().out == ""  # nothing to do
    assert benchmark.main(["table", "--out", str(tmp_path)]) == 0
    assert "| moco | healthy |" in capsys.readouterr().out
    assert benchmark.main(["plot", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "trained.png").stat().st_size > 1_000
    assert benchmark.main(["table", "--out", str(tmp_path / "none")]) == 2
    assert "call `run` first" in capsys.readouterr().err


def test_numbers_are_flat_and_without_labels(module):
    clustering = {"k": 5, "source": "k-means", "usage": {"entropy": 0.5, "used": 5}}
    measures = {
        "nemd": {"score": {"value": 0.5, "low": 0.4, "high": 0.6}, "missing": None, "exact": True},
        "spectrum": {"rankme": 3, "singular_centred": [1.0, 2.0]},
        "quality": {"knn": 1.0},
        "clusterings": [
            clustering,
            {**clustering, "usage": {"entropy": 1.0}},
            {**clustering, "source": "labels", "usage": {"entropy": 0.0}},
        ],
    }
    assert module("trained_numbers").label_free(measures) == {
        "nemd.score": 0.5,
        "spectrum.rankme": 3.0,
        "usage.entropy": 0.75,
        "usage.used": 5.0,
    }


def test_rank_correlation_is_scipys_and_its_interval_counts_settings_not_seeds(module):
    rank_correlation = module("trained_numbers").rank_correlation
    rng = np.random.default_rng(0)
    x = rng.integers(6, size=30).astype(float)  # with ties
    y = x + rng.normal(size=30) * 2
    names = [f"s{i}" for i in range(30)]
    alone = rank_correlation(x, y, names)
    assert alone.rho == pytest.approx(spearmanr(x, y).statistic, rel=1e-12)
    assert -1 <= alone.low < alone.rho < alone.high <= 1
    copies = rank_correlation(np.tile(x, 4), np.tile(y, 4), names * 4)
    assert copies.rho == pytest.approx(alone.rho)
    assert copies.high - copies.low == pytest.approx(alone.high - alone.low, rel=1e-9)
    assert rank_correlation([1.0, 1.0, 1.0], [0.1, 0.2, 0.3], list("abc")) is None


@pytest.mark.parametrize(
    ("made", "state", "codes", "expected"),
    [
        ("healthy", "healthy", [], True),
        ("healthy", "inconclusive", ["NEMD009"], False),
        ("total", "collapsed", ["NEMD001"], True),
        ("coagulated", "collapsed", ["NEMD006", "NEMD002"], True),
        ("coagulated", "collapsed", ["NEMD006"], False),
        (None, "healthy", [], None),
    ],
)
def test_a_verdict_agrees_when_its_code_is_the_kind_that_was_made(
    module, made, state, codes, expected
):
    row = {"made": made, "verdict": {"state": state, "codes": codes}}
    assert module("trained_tables").agrees(row) is expected
    assert module("trained_tables").agrees({"made": "healthy"}) is False
