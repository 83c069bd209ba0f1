"""pauc-train under its monitor: it stops what collapses and changes nothing else."""

import json
import sys

import pytest

from nemd_toolkit.errors import Collapsed
from pauc_train import __main__ as trainer
from pauc_train import watching
from pauc_train.loop import fit
from pauc_train.saving import read_checkpoint
from tests.pauc_train.test_loop import StoppedError, same, stop_after

# five steps an epoch, none of them with prototypes
COLLAPSES = {"learning_rate": 10.0, "epochs": 12, "warmup_epochs": 99, "save_every": 1000}


@pytest.fixture
def often(monkeypatch):
    """Look at every fifth step."""
    plain = watching.Monitor
    monkeypatch.setattr(watching, "Monitor", lambda **given: plain(every=5, k=4, **given))


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_has_the_same_bytes_with_and_without(tiny, tmp_path, often):
    lasts = [
        fit("pauc", "digits", seed=3, out=tmp_path / way, overrides=tiny, monitor=way)
        for way in ("off", "warn", "stop")
    ]
    first = lasts[0].read_bytes()
    assert all(last.read_bytes() == first for last in lasts[1:])
    without, watched = log_of(tmp_path / "off"), log_of(tmp_path / "warn")
    assert [row["monitor"]["step"] for row in watched[1:]] == [10, 15, 20]
    for row in (*without, *watched):
        row.pop("seconds")
        row.pop("monitor", None)
    assert without == watched


def test_a_run_that_goes_on_has_the_same_bytes_and_counts_on(tiny, tmp_path, often):
    whole = fit("pauc", "digits", seed=3, out=tmp_path / "a", overrides=tiny, monitor="stop")
    again = {"seed": 3, "out": tmp_path / "b", "overrides": tiny, "monitor": "stop"}
    with pytest.raises(StoppedError):
        fit("pauc", "digits", on_epoch=stop_after(1), **again)
    last = fit("pauc", "digits", **again)
    assert same(last, whole)
    assert last.read_bytes() == whole.read_bytes()
    steps = [row["monitor"]["step"] for row in log_of(tmp_path / "b") if "monitor" in row]
    assert steps[-1] == 20


def test_a_collapse_is_said_or_stops_the_run_with_a_checkpoint(tiny, tmp_path, often):
    said = []
    settings = tiny | COLLAPSES
    whole = fit("pclv2", "digits", out=tmp_path / "w", overrides=settings, say=said.append,
                monitor="warn")  # fmt: skip
    assert any("NEMD001 total-collapse at step" in text for text in said)
    with pytest.raises(Collapsed, match="stopped by its monitor after .*--monitor warn") as caught:
        fit("pclv2", "digits", out=tmp_path / "s", overrides=settings, monitor="stop")
    assert "nemd explain NEMD0" in str(caught.value)
    content = read_checkpoint(tmp_path / "s" / "last.pt")
    assert content["nemd"]["next"]["epoch"] < 12
    gone_on = fit("pclv2", "digits", out=tmp_path / "s", overrides=settings, monitor="warn")
    assert gone_on.read_bytes() == whole.read_bytes()


def test_the_command_ends_with_code_1_and_a_sentence(tiny, tmp_path, often, monkeypatch, capsys):
    words = [f"--set={name}={value}" for name, value in (tiny | COLLAPSES).items()]
    out = ["--data", "digits", "--out", str(tmp_path), "--monitor", "stop"]
    monkeypatch.setattr(sys, "argv", ["pauc-train", "fit", "pclv2", *out, *words])
    with pytest.raises(SystemExit) as ended:
        trainer.main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "pauc-train: stopped by its monitor after" in said.err


def test_own_prototypes_and_the_loss_of_swav_are_seen(tiny, tmp_path, often):
    settings = {"epochs": 2, "arch": "resnet8-tiny", "batch_size": 50, "prototype_count": 12}
    fit("swav", "digits", out=tmp_path, overrides=settings, monitor="warn")
    found = log_of(tmp_path)[-1]["monitor"]
    assert (found["rows"], found["own_prototypes"]) == (500, 12)  # one view of each image
    assert "loss_above_chance" in found


@pytest.mark.parametrize("setting", [{"precision": "bfloat16"}, {"accumulate": 2}])
def test_other_ways_to_train_are_watched_alike(tiny, tmp_path, often, setting):
    rows = []
    fit("pclv2", "digits", out=tmp_path, overrides=tiny | setting, monitor="stop",
        on_epoch=rows.append)  # fmt: skip
    assert rows[-1]["monitor"]["step"] == 20
    assert rows[-1]["monitor"]["rows"] == 1000


def test_a_method_without_a_branch_is_not_watched(tmp_path, often):
    rows = []
    settings = {"epochs": 1, "batch_size": 64}
    fit("cpcv2", "digits", out=tmp_path, overrides=settings, monitor="stop", on_epoch=rows.append)
    assert "monitor" not in rows[0]
