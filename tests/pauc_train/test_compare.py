"""Methods over seeds: what is written, what is kept, and what failed."""

import csv
import json
import math
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from scipy import stats

from nemd_toolkit.errors import InputError
from nemd_toolkit.report.trainings import TrainedRun, over_seeds, write_trainings
from pauc_train.compare import Entry, compare
from pauc_train.saving import read_checkpoint

TINY = {"arch": "resnet8-tiny", "batch_size": 256, "embedding_dim": 16, "threads": 1}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    said = []
    page = compare(
        ["mocov2", "pauc"], "digits", seeds=[3, 4], out=out, epochs=1, overrides=TINY,
        say=said.append,
    )  # fmt: skip
    return out, page, said


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_run_and_every_method_has_its_row(compared):
    out, page, said = compared
    found = rows(out / "runs.csv")
    assert [(row["method"], row["seed"]) for row in found] == [
        ("mocov2", "3"), ("mocov2", "4"), ("pauc", "3"), ("pauc", "4"),
    ]  # fmt: skip
    assert all(0.5 < float(row["linear_probe"]) <= 1 for row in found)
    assert all(0.05 < float(row["gigabytes"]) < 8 for row in found)
    methods = rows(out / "methods.csv")
    for row in methods:
        values = [float(r["linear_probe"]) for r in found if r["method"] == row["method"]]
        assert float(row["linear_probe"]) == pytest.approx(np.mean(values))
    document = json.loads((out / "trainings.json").read_text())
    assert (document["schema"], len(document["runs"])) == ("nemd-trainings/1", 4)
    told = "of the projector, training images, K = 40, 20, 10; numbers are the mean over K; "
    told += "verdicts, and the place beyond the axes, of the K that shows the most"
    assert document["about"]["NEMD"] == told
    for row in found:  # points with these axes and no groups are 0, collapse is 1
        assert 0.1 < float(row["beyond_axes"]) < 0.9
    text = page.read_text(encoding="utf-8")
    for words in ("mocov2", "pauc", "linear probe", "figure-accuracy"):
        assert words in text
    assert (out / "accuracy.png").stat().st_size > 5_000
    assert len(said) == 4


def test_what_is_there_is_not_done_again_and_other_settings_are(compared, monkeypatch):
    out, _, _ = compared
    before = (out / "mocov2/seed-3/result.json").read_text()
    seconds = json.loads(before)["result"]["numbers"]["seconds"]
    compare(["mocov2"], "digits", seeds=[3], out=out, epochs=1, overrides=TINY)
    assert (out / "mocov2/seed-3/result.json").read_text() == before
    assert float(rows(out / "runs.csv")[0]["seconds"]) == pytest.approx(seconds)


def test_seconds_are_those_of_the_whole_training_also_when_it_was_gone_on_with(compared):
    out, _, _ = compared
    found = out / "mocov2/seed-3/result.json"
    before = json.loads(found.read_text())["result"]["numbers"]["seconds"]
    found.unlink()
    compare(["mocov2"], "digits", seeds=[3], out=out, epochs=1, overrides=TINY)
    assert json.loads(found.read_text())["result"]["numbers"]["seconds"] == before > 0


def test_entries_have_settings_of_their_own(tmp_path):
    entries = [Entry(name="wide", method="mocov2", overrides={"embedding_dim": 24}), "mocov2"]
    compare(entries, "digits", seeds=[0], out=tmp_path, epochs=1, overrides=TINY)
    document = json.loads((tmp_path / "trainings.json").read_text())
    assert document["about"]["wide"] == "mocov2, embedding_dim=24"
    widths = {
        name: read_checkpoint(tmp_path / name / "seed-0/last.pt")["nemd"]["config"]["embedding_dim"]
        for name in ("wide", "mocov2")
    }
    assert widths == {"wide": 24, "mocov2": 16}


def test_a_failed_training_is_shown_with_its_reason(tmp_path):
    broken = TINY | {"learning_rate": 1e30}
    page = compare(["mocov2"], "digits", seeds=[0], out=tmp_path, epochs=1, overrides=broken)
    [row] = rows(tmp_path / "runs.csv")
    assert (row["state"], row["score"]) == ("", "")
    assert "finite" in row["failed"]
    assert "Trainings that failed" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"entries": ["mocov2", "paus"]}, "did you mean pauc"),
        ({"overrides": {"alpha": 1}}, "mocov2 has no such setting"),
        ({"entries": [Entry(name="a", method="pauc", overrides={"alhpa": 1})]}, "mean alpha"),
        ({"layer": "head"}, "projector or backbone"),
    ],
)
def test_misuse_is_said_before_anything_is_trained(tmp_path, change, words):
    asked = {"entries": ["mocov2"], "data": "digits", "seeds": [0], "out": tmp_path / "x"}
    with pytest.raises(InputError, match=words):
        compare(**(asked | change))
    assert not (tmp_path / "x").exists()


def test_trainings_stop_with_a_checkpoint_when_the_program_is_killed(tmp_path):
    words = ("--data", "digits", "--out", str(tmp_path), "--seeds", "2", "--workers", "2")
    settings = (f"{name}={value}" for name, value in (TINY | {"epochs": 1000}).items())
    sets = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "pauc_train", "compare", "mocov2", *words, *sets]
    with (tmp_path / "said").open("w") as said:
        program = psutil.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    runs = [tmp_path / "mocov2" / f"seed-{seed}" for seed in (0, 1)]
    until = time.monotonic() + 120
    while not all((run / "last.pt").exists() for run in runs):
        assert time.monotonic() < until, (tmp_path / "said").read_text()
        time.sleep(0.2)
    workers = program.children(recursive=True)
    program.kill()
    assert psutil.wait_procs([program, *workers], timeout=60)[1] == []
    assert all(read_checkpoint(run / "last.pt")["nemd"]["seed"] in (0, 1) for run in runs)
    assert [list(run.glob(".lock")) for run in runs] == [[], []]


def test_means_have_students_intervals():
    values = [0.81, 0.84, 0.79, 0.90]
    found = over_seeds(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert over_seeds([]) is None
    assert math.isnan(over_seeds([0.5]).low)


def test_hostile_names_are_shown_as_text(tmp_path):
    name = "<script>alert(1)</script>=cmd|' /C calc'!A0"
    run = TrainedRun(method=name, seed=0, state=None, failed="<img src=x onerror=alert(1)>")
    page = write_trainings([run], tmp_path, about={"data": "<b>x</b>"})
    text = page.read_text(encoding="utf-8")
    for words in ("<script>alert", "<img src=x", "<b>x</b>"):
        assert words not in text
