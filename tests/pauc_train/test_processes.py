"""Several processes train like one; losing one, and signals, end a run that can be gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pauc_train.saving import read_checkpoint

DOUBLE = str(Path(__file__).with_name("double_precision.py"))
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PATIENCE = 240
PAUC = {"arch": "resnet8-tiny", "embedding_dim": 16, "clusters": [10, 20], "save_every": 100}
PAUC |= {"alpha": 0.1, "beta": 3.0, "gamma": 0.01}


def start(out, settings, *, processes=1, program=("-m", "pauc_train"), method="pauc"):
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = ["fit", method, "--data", "digits", "--out", str(out), "--quiet"]
    words += [f"--set={name}={value}" for name, value in settings.items()]
    return subprocess.Popen(
        [sys.executable, *(launch if processes > 1 else []), *program, *words],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def wait_for(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def process_of_rank(rank):
    """Find our process of that rank among those that torchrun started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended, or is another's
            continue
        if f"RANK={rank}".encode() in environment and b"pauc_train" in command:
            yield int(folder.name)


def test_two_processes_lose_like_one_with_the_same_batch(tmp_path):
    """One step an epoch; float64, where rounding does not send a sample to another cluster."""
    settings = PAUC | {"batch_size": 674, "epochs": 6, "warmup_epochs": 2}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        running = start(out, settings, processes=processes, program=(DOUBLE,))
        said = running.communicate(timeout=PATIENCE)
        assert (running.returncode, said[0].strip()) == (0, str(out / "last.pt")), said
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert two == pytest.approx(one, rel=1e-9)
    assert len(one) == 6
    assert one[-1] != pytest.approx(one[-2], rel=1e-4)  # it learns meanwhile


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes through /proc")
def test_a_lost_process_ends_the_others_within_a_minute(tmp_path):
    settings = {"arch": "resnet8-tiny", "batch_size": 674, "epochs": 1000}
    running = start(tmp_path, settings, processes=2, method="mocov2")
    wait_for(tmp_path / "last.pt")
    lost = time.monotonic()
    for number in process_of_rank(1):
        if f"--out {tmp_path}" in " ".join(Path(f"/proc/{number}/cmdline").read_text().split("\0")):
            os.kill(number, signal.SIGKILL)
    said = running.communicate(timeout=90)[1]
    assert time.monotonic() - lost < 60
    assert running.returncode != 0
    assert "one of them was lost; give the same command again" in said
    assert read_checkpoint(tmp_path / "last.pt")["nemd"]["next"]["epoch"] >= 1


def test_a_signal_ends_a_run_after_its_step_and_the_same_command_goes_on(tmp_path):
    settings = PAUC | {"batch_size": 128, "epochs": 4, "warmup_epochs": 1}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    start(whole, settings).communicate(timeout=PATIENCE)
    running = start(stopped, settings)
    wait_for(stopped / "last.pt")
    running.send_signal(signal.SIGTERM)
    said = running.communicate(timeout=PATIENCE)[1]
    assert running.returncode == 143
    assert "stopped by a signal after" in said
    assert "the same command goes on from" in said
    assert start(stopped, settings).communicate(timeout=PATIENCE)[0].strip() == str(
        stopped / "last.pt"
    )
    assert (stopped / "last.pt").read_bytes() == (whole / "last.pt").read_bytes()
