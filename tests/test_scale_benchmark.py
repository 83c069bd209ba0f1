"""The benchmark of growth runs in miniature, goes on where it stopped, and fits true exponents."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Import by name from benchmarks/, which is a folder of scripts and no package."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def cell(count, k, dim, noise=1.0, ranks=1):
    seconds = 1e-6 * count * k**0.5 * dim**0.25 * noise / ranks**0.75
    spent = {"wall": 2 * seconds, "processor": seconds}
    return {
        "count": count,
        "prototypes": k,
        "dim": dim,
        "ranks": ranks,
        "seconds": dict.fromkeys(("reading", "k-means", "measures", "report"), spent),
        "processor_seconds": 4 * seconds,
        "peak_bytes": {"maxrss": 10**9, "anonymous": 5 * 10**8},
    }


def test_exponents_are_those_that_the_times_were_made_with(module):
    growth = module("scale_growth")
    cells = [cell(n, 100, 128) for n in (10**4, 10**5, 10**6, 10**7)]
    cells += [cell(10**5, k, 128) for k in (10, 1_000, 10_000)]
    cells += [cell(10**5, 100, d) for d in (32, 512)]
    cells += [cell(10**5, 100, 128, ranks=r) for r in (2, 4)]
    found = {(f["axis"], f["stage"]): f for f in growth.exponents(cells)}
    assert len(found) == 20
    for axis, exponent in (("count", 1.0), ("prototypes", 0.5), ("dim", 0.25), ("ranks", -0.75)):
        for stage in ("k-means", "total"):
            assert found[axis, stage]["exponent"] == pytest.approx(exponent)
            assert found[axis, stage]["error"] == pytest.approx(0, abs=1e-9)
    assert found["count", "total"]["fixed"] == {"prototypes": 100, "dim": 128, "ranks": 1}
    assert (found["dim", "total"]["from"], found["dim", "total"]["cells"]) == (32, 3)


def test_the_error_of_an_exponent_is_that_of_least_squares(module):
    growth = module("scale_growth")
    noise = [1.1, 0.9, 1.2, 0.85, 1.0]
    cells = [cell(10**4 * 4**i, 100, 128, noise[i]) for i in range(5)]
    (found,) = [f for f in growth.exponents(cells) if f["stage"] == "total"]
    x = np.log([c["count"] for c in cells])
    y = np.log([c["processor_seconds"] for c in cells])
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    assert found["exponent"] == pytest.approx(slope)
    assert found["error"] == pytest.approx(covariance[0, 0] ** 0.5)


def test_two_cells_have_no_exponent(module):
    assert module("scale_growth").exponents([cell(10, 3, 4), cell(20, 3, 4)]) == []


def test_rows_are_the_same_for_the_same_seed_and_have_their_groups(module, tmp_path):
    scale = module("scale")
    for name in "ab":
        scale.write_rows(tmp_path / f"{name}.npy", 70_000, 16, 5, 3)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    rows = np.load(tmp_path / "a.npy")
    assert rows.shape == (70_000, 16)
    assert rows.dtype == np.float32
    # around five directions of length 1: noise of variance .9² / d each way
    assert np.square(rows).sum(1).mean() == pytest.approx(1 + 0.9**2, abs=0.01)


def test_a_cell_is_run_once_and_drawn(module, tmp_path, monkeypatch):
    scale = module("scale")
    words = ["scale.py", "--cells", "900x16x6", "--memory", "1GB", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    scale.main()
    (line,) = (tmp_path / "cells.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["count"], found["dim"], found["prototypes"], found["memory"]) == (
        *(900, 16, 6),
        "1GB",
    )
    assert set(found["seconds"]) == {"reading", "k-means", "measures", "report"}
    assert found["peak_bytes"]["maxrss"] > found["peak_bytes"]["anonymous"] > 10**8
    assert json.loads((tmp_path / "scale.json").read_text())["cells"] == [found]
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")
    with monkeypatch.context() as patch:
        patch.setattr(scale, "run", lambda *_: pytest.fail("it is there"))
        scale.main()
    drawn = (tmp_path / "scale.png").read_bytes()
    for source, stages in (("labels", set(found["seconds"])), ("fit", {"reading", "k-means"})):
        monkeypatch.setattr(sys, "argv", [*words, "--source", source])
        scale.main()
        document = json.loads((tmp_path / "scale.json").read_text())
        assert document["cells"][-1]["source"] == source
        assert set(document["cells"][-1]["seconds"]) == stages
    assert (tmp_path / "scale.png").read_bytes() == drawn
