"""Verdicts on a few worlds of each kind, and the validity benchmark end to end in miniature."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.findings import decide, judge
from nemd_toolkit.measures import measure
from nemd_toolkit.prototypes import fit_prototypes, prototypes_from_vectors
from tests import worlds

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def module():
    """Import by name from benchmarks/, which is a folder of scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):  # the script sets them
            patch.setenv(f"{library}_NUM_THREADS", "1")
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module


def verdict_on(world):
    e = Embeddings(world.rows)
    prototypes = (
        [fit_prototypes(e, k) for k in world.setting.numbers]
        if world.own is None
        else [prototypes_from_vectors(e, world.own)]
    )
    return decide(judge(measure(e, prototypes)))


COMPLETE = [
    pytest.param(kind, variant, seed)
    for kind, variants in worlds.VARIANTS.items()
    for seed, variant in enumerate((variants * 3)[: max(3, len(variants))])
]


@pytest.mark.parametrize(("kind", "variant", "seed"), COMPLETE)
def test_verdicts_on_complete_worlds(kind, variant, seed):
    setting = worlds.Setting(count=800, dim=32 * 2 ** (seed % 2), groups=12, seed=seed)
    world = worlds.make(kind, 1.0, setting, variant)
    verdict = verdict_on(world)
    assert verdict.state == world.state
    assert not world.codes or world.codes & {*verdict.codes}


def record(kind, severity, issues, *, verdict="collapsed", codes=("NEMD002",), **changed):
    return {
        "kind": kind,
        "index": 0,
        "variant": "own",
        "severity": severity,
        "count": 500,
        "dim": 16,
        "groups": 5,
        "prototypes": [5],
        "spread": 0.9,
        "world_seed": 1,
        "codes": list(codes),
        "state": "collapsed" if codes else "healthy",
        "verdict": verdict,
        "issues": issues,
        "warnings": [],
        "measured": {"NEMD002": {"score": severity}},
        "score": [severity],
        "seconds": 1.0,
    } | changed


def test_worlds_are_right_only_with_the_true_state_and_the_right_name(module):
    summary = module("validity_summary")
    records = [
        record("coagulated", 0.9, ["NEMD002"]),
        record("coagulated", 0.9, ["NEMD007"]),  # collapsed, but for another reason
        record("coagulated", 0.9, [], verdict="healthy"),
        record("coagulated", 0.2, [], verdict="healthy"),  # below the stated severity
        record("healthy", 0.0, [], verdict="healthy", codes=()),
        record("healthy", 0.0, ["NEMD007"], codes=()),
        {**record("healthy", 0.0, [], codes=()), "error": "ValueError: x"},
    ]
    for key in ("verdict", "issues", "warnings", "measured", "score"):
        del records[-1][key]
    found = summary.summarise(records, {"healthy": 0.0, "coagulated": 0.85})
    ill, healthy = found["kinds"]["coagulated"], found["kinds"]["healthy"]
    assert (ill["worlds"], ill["right"]["hits"], ill["right"]["total"]) == (4, 1, 3)
    assert ill["right_state"]["hits"] == 2
    assert healthy["right"]["hits"] == 1
    assert healthy["called"]["error"]["hits"] == 1
    assert [w["severity"] for w in found["ill_called_healthy"]] == [0.9]
    assert len(found["misjudged"]) == 4
    assert found["confusion"]["issues"]["coagulated"] == {"NEMD002": 1, "NEMD007": 1}
    assert found["measured"]["coagulated"]["NEMD002 score"]["0.5"] == 0.9


def test_shares_have_wilsons_interval(module):
    found = module("validity_summary").share(2, 50)
    z, p, n = 1.959963984540054, 0.04, 50
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (found["low"], found["high"]) == pytest.approx((middle - reach, middle + reach))


def test_power_reaches_its_levels_where_a_step_lies(module):
    summary = module("validity_summary")
    records = [
        record("coagulated", s, ["NEMD002"] if s > 0.6 else []) for s in np.linspace(0, 1, 101)
    ]
    found = summary.reached(records)
    assert found == {"0.5": pytest.approx(0.61), "0.95": pytest.approx(0.61)}
    assert summary.reached(records[:50]) == {"0.5": None, "0.95": None}


def test_a_run_is_resumed_drawn_and_tabled(module, monkeypatch, tmp_path, capsys):
    benchmark, drawing = module("validity"), module("validity_worlds")
    todo = [t for t in drawing.tasks(5, 2) if t.kind == "small"]
    monkeypatch.setattr(benchmark, "tasks", lambda seed, each: todo)
    monkeypatch.setattr(benchmark, "commit", lambda: "abc")
    calls = []

    def here(work, some, workers, what):
        calls.append(len(some))
        return map(work, some)

    monkeypatch.setattr(benchmark, "in_processes", here)
    command = ["run", "--seed", "5", "--worlds", "1", "--out", str(tmp_path)]
    assert benchmark.main(command) == 0
    first = (tmp_path / "validity.json").read_text(encoding="utf-8")
    path = tmp_path / "worlds.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-2]) + lines[-1][:20], encoding="utf-8")  # cut short
    assert benchmark.main(command) == 0
    assert calls == [len(todo), 2]
    assert "error" not in "".join(lines)
    again = json.loads((tmp_path / "validity.json").read_text(encoding="utf-8"))
    for name in ("kinds", "confusion", "misjudged", "measured"):
        assert again["summary"][name] == json.loads(first)["summary"][name]
    assert again["schema"] == "nemd-validity/1"
    for name in ("plot", "table"):
        assert benchmark.main([name, "--out", str(tmp_path)]) == 0
    for name in ("confusion", "power"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "| small |" in capsys.readouterr().out


def test_tables_need_a_run(module, tmp_path, capsys):
    assert module("validity").main(["table", "--out", str(tmp_path)]) == 2
    assert "call `run` first" in capsys.readouterr().err


def test_drawn_severities_are_two_in_three_beyond_the_stated_one(module):
    drawing = module("validity_worlds")
    todo = [t for t in drawing.tasks(1, 10) if t.kind == "dead"]
    beyond = [drawing.drawn(t).severity >= worlds.STATED["dead"] for t in todo]
    assert (len(beyond), sum(beyond)) == (15, 10)


def test_coverage_counts_intervals_that_hold_the_large_sample_value(module):
    coverage = module("validity_coverage")
    one = {"law": 0, "large": False, "excess": None, "score": None}
    found = [
        {**one, "large": True, "raw": (1.0, 0.0, 0.0)},
        {**one, "raw": (0.9, 0.8, 1.1)},
        {**one, "raw": (0.5, 0.4, 0.6)},
    ]
    law = coverage._law(found)
    assert law["raw"]["truth"] == 1.0
    assert law["raw"]["held"]["share"] == 0.5
    assert law["raw"]["of_mean"]["share"] == 0.0
    assert law["score"] == {"missing": 2}
    known = {name: {"truth": 0.55, "truth_error": 0.01} for name in coverage.COLUMNS}
    law = coverage._law(found[1:], known)
    assert (law["raw"]["truth"], law["raw"]["truth_error"]) == (0.55, 0.01)
    assert law["raw"]["held"]["hits"] == 1


def test_coverage_takes_known_truths_only_where_they_hang_on_no_seed(module):
    coverage = module("validity_coverage")
    rows = [{"law": law._asdict(), "name": law.name} for law in coverage.LAWS]
    known = coverage.truths({"rows": rows})
    tasks = coverage.coverage_tasks(1, 3, known)
    assert {coverage.LAWS[t.law].centres for t in tasks if t.large} == {"fixed"}
    assert sum(not t.large for t in tasks) == 3 * len(coverage.LAWS)
    assert sum(t.large for t in coverage.coverage_tasks(1, 3)) == 7 * 80 + 2 * 400


def test_invariance_sees_a_ladder_that_turns_and_a_cell_that_stands_apart(module):
    invariance = module("validity_invariance")
    assert invariance.falls([1.0, 0.5, None, 0.4])
    assert not invariance.falls([1.0, 0.5, 0.5])
    lines = [
        {"dim": d, "k": 10, "count": 3000, "n": 24, "scores": [score] * 7}
        for d, score in ((32, 0.50), (64, 0.50), (128, 0.54))
    ]
    at = invariance._spread(lines)[0]
    assert at["high"] - at["low"] == pytest.approx(0.04)
    assert [o["score"] for o in at["outside"]] == [0.54]
    cell = invariance.Cell(32, 10, 3000, "K at groups", 0)
    assert invariance._points(cell) == (24,)
    assert invariance.Cell(32, 30, 3000, "K at groups", 0) not in invariance.cells(0, 1)
