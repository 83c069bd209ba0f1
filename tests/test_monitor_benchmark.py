"""The monitor's benchmark runs end to end in miniature, and its tables say what was measured."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def module():
    """Import by name from benchmarks/, which is a folder of scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        for library in ("OMP", "OPENBLAS"):  # the script sets them: put back afterwards
            patch.setenv(f"{library}_NUM_THREADS", "1")
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module


def test_everything_is_written_and_tabled(module, tmp_path, monkeypatch, capsys):
    benchmark, runs = module("monitor"), module("monitor_runs")
    tiny = runs.Kind(name="tiny", method="mocov2", collapses=False, epochs=12)
    monkeypatch.setattr(runs, "RUNS", (tiny,))
    ladder = [(16, 5, 8, spread) for spread in (0.2, 0.5, 0.9)]
    monkeypatch.setattr(module("monitor_agreement"), "product", lambda *_: ladder)
    monkeypatch.setattr(module("monitor_agreement"), "ROWS", 256)
    monkeypatch.setattr(benchmark, "checkpoints", lambda _: [])
    monkeypatch.setattr(module("monitor_cost"), "SIZES", ((256, 8, 0), (256, 8, 12)))
    monkeypatch.setattr(module("monitor_cost"), "REPEATS", 1)
    monkeypatch.setattr(benchmark, "trainings", lambda *_: [TRAINING])
    out, work = ["--out", str(tmp_path)], ["--work", str(tmp_path / "work")]
    for _ in range(2):  # the second finds its row there
        assert benchmark.main(["runs", *out, *work, "--first", "3", "--seeds", "1"]) == 0
    assert benchmark.main(["agreement", *out, *work]) == 0
    assert benchmark.main(["cost", *out, "--fashion-mnist", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "runs.json").read_text())
    (row,) = found["rows"]
    assert (row["name"], row["seed"], row["stopped"], row["refused"]) == ("tiny", 3, None, None)
    assert [check["step"] for check in row["checks"]] == [100]
    agreement = json.loads((tmp_path / "agreement.json").read_text())["rows"]
    assert [r["source"] for r in agreement] == ["world"] * 3
    assert agreement[0]["energy"] == pytest.approx(agreement[0]["nemd"], abs=0.1)
    capsys.readouterr()
    assert benchmark.main(["table", *out]) == 0
    said = capsys.readouterr().out
    assert "| tiny | healthy | 0 of 1 |  |  |" in said
    assert "| worlds, K ≥ groups | 3 |" in said
    assert "| small | 300 | 1.0100 (1.0000…1.0200) |" in said


TRAINING = {
    "name": "small",
    "steps": 300,
    "cpu_ratio": [1.0, 1.01, 1.02],
    "wall_ratio": [1.0, 1.0, 1.1],
    "own_share": [0.01, 0.01, 0.011],
}


def test_a_stop_is_told_with_its_step_and_what_lasted(module):
    row = {"name": "ill", "collapses": True, "seed": 0, "epochs": 9, "stopped": "epoch 29"}
    rows = [row | {"checks": [{"step": step, "lasting": ["NEMD001"]}]} for step in (300, 400)]
    said = module("monitor_tables")._runs(rows)
    assert said.endswith("| ill | collapses | 2 of 2 | 300…400 | NEMD001 2 |")
