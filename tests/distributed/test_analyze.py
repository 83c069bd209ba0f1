"""Several processes give the bytes of one, and what happens when one of them is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nemd_toolkit import processes
from tests.distributed.running import Started, command, stage_files, wait_for
from tests.small_encoder import save

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts copies of this process")
OPTIONS = ("--prototypes", "18,labels", "--seed", "3")


def numbers(out):
    document = json.loads((out / "report.json").read_text())
    return {name: document[name] for name in ("measures", "findings", "verdict")}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    points, labels = load_digits(return_X_y=True)
    np.savez(path, vectors=points[:600].astype(np.float32), labels=labels[:600])
    return path


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """What one process finds."""
    out = tmp_path_factory.mktemp("whole") / "report"
    assert Started(1, command("analyze", digits, *OPTIONS, "--out", out), out.parent).wait() == [0]
    return numbers(out)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(tmp_path_factory.mktemp("encoder") / "last.pt", seed=0)


@pytest.mark.parametrize("count", [2, 4])
def test_numbers_do_not_depend_on_the_number_of_processes(digits, whole, tmp_path, count):
    out = tmp_path / "report"
    running = Started(count, command("analyze", digits, *OPTIONS, "--out", out), tmp_path / "said")
    assert running.wait() == [0] * count
    assert numbers(out) == whole
    assert f"Report: {out}" in running.said("out", 0)
    others = [running.said(name, rank) for name in ("out", "err") for rank in range(1, count)]
    assert set(others) == {""}
    assert not (out / ".stages").exists()
    assert not (out / ".lock").exists()


def test_a_checkpoint_is_embedded_and_analysed_alike(checkpoint, tmp_path):
    for count in (1, 2):
        words = ("analyze", checkpoint, "--data", "digits", "--split", "test", "--prototypes", 9)
        words += ("--out", tmp_path / f"{count}")
        assert Started(count, command(*words, "-q"), tmp_path / "a").wait() == [0] * count
        for suffix in ("npy", "npz"):
            words = (
                "embed",
                checkpoint,
                "--data",
                "digits",
                "--out",
                tmp_path / f"{count}.{suffix}",
            )
            running = Started(count, command(*words, "--batch", 32), tmp_path / "e")
            assert running.wait() == [0] * count
    assert numbers(tmp_path / "1") == numbers(tmp_path / "2")
    for suffix in ("npy", "npz"):
        assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()
        assert not (tmp_path / f"2.{suffix}.parts").exists()


@pytest.mark.parametrize(("lost", "stage"), [(0, "k-means-18-*"), (1, "transport-*")])
def test_a_lost_process_ends_the_others_and_the_same_command_goes_on(
    digits, whole, tmp_path, lost, stage
):
    out = tmp_path / "report"
    work = command("analyze", digits, *OPTIONS, "--out", out)
    running = Started(2, work, tmp_path / "first")
    wait_for(lambda: stage_files(out, stage), running)
    running.kill(lost)
    killed = time.monotonic()
    codes = running.wait(60)
    assert time.monotonic() - killed < 60
    assert (codes[lost], codes[1 - lost]) == (-signal.SIGKILL, 2)
    said = running.said("err", 1 - lost)
    assert "one of them was lost; the same command continues where it stopped" in said
    assert said.count("\n") <= 1 + (lost == 1)  # the first may have said where it went on from
    assert not (out / "report.json").exists()
    assert stage_files(out)
    again = Started(2, work, tmp_path / "second")
    assert again.wait() == [0, 0]
    assert "going on from the finished stages" in again.said("err", 0)
    assert numbers(out) == whole
    assert not (out / ".stages").exists()


def test_a_signal_that_comes_after_the_loss_does_not_cut_its_sentence_off(
    digits, tmp_path, monkeypatch
):
    said_by_another = processes._Board.said_by_another

    def signalled(board, error):  # as torchrun sends it when it sees the first process end
        os.kill(os.getpid(), signal.SIGTERM)
        return said_by_another(board, error)

    monkeypatch.setattr(processes._Board, "said_by_another", signalled)
    running = Started(2, command("analyze", digits, *OPTIONS, "--out", tmp_path / "r"), tmp_path)
    wait_for(lambda: stage_files(tmp_path / "r"), running)
    running.kill(1)
    assert running.wait(60) == [2, -signal.SIGKILL]
    assert "the same command continues where it stopped" in running.said("err", 0)


def test_a_process_that_stands_still_ends_the_others(digits, tmp_path):
    def work(rank):
        processes._BEAT, processes._STILL = 0.1, 2.0
        command("analyze", digits, *OPTIONS, "--out", tmp_path / "report")(rank)

    running = Started(2, work, tmp_path / "said")
    wait_for(lambda: stage_files(tmp_path / "report"), running)
    running.kill(1, signal.SIGSTOP)
    wait_for_end = time.monotonic() + 30
    while not (status := os.waitpid(running.pids[0], os.WNOHANG))[0]:
        assert time.monotonic() < wait_for_end
        time.sleep(0.05)
    running.codes[0] = os.waitstatus_to_exitcode(status[1])
    running.kill(1)
    assert running.wait() == [2, -signal.SIGKILL]
    assert "one of them was lost" in running.said("err", 0)


def test_a_signal_to_stop_is_said_once(digits, tmp_path):
    running = Started(2, command("analyze", digits, *OPTIONS, "--out", tmp_path / "r"), tmp_path)
    wait_for(lambda: stage_files(tmp_path / "r"), running)
    running.kill(1, signal.SIGTERM)
    assert running.wait(60) == [2, 128 + signal.SIGTERM]
    said = running.said("err", 0) + running.said("err", 1)
    assert said.count("the same command continues where it stopped") == 1
    assert said.count("\n") == 1


def test_processes_with_other_options_end_with_one_sentence(digits, tmp_path):
    def work(rank):
        command("analyze", digits, "--seed", rank)(rank)

    running = Started(2, work, tmp_path)
    assert running.wait() == [2, 2]
    assert "the same command in all, got another in process 1" in running.said("err", 0)
    assert running.said("err", 1) == ""


def test_processes_with_different_data_end_with_one_sentence(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
        np.save(tmp_path / str(rank) / "e.npy", np.random.default_rng(rank).normal(size=(300, 8)))
    work = command("analyze", "e.npy", folder=lambda rank: tmp_path / str(rank))
    running = Started(2, work, tmp_path / "said")
    assert running.wait() == [2, 2]
    assert "the same e.npy in all, got another in process 1" in running.said("err", 0)
    assert "ranks with different data" in running.said("err", 0)
    assert running.said("err", 1) == ""


def test_a_file_that_only_one_process_lacks_is_said_by_the_first(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    np.save(tmp_path / "0" / "e.npy", np.eye(300))
    work = command("analyze", "e.npy", folder=lambda rank: tmp_path / str(rank))
    running = Started(2, work, tmp_path / "said")
    assert running.wait() == [2, 2]
    assert "e.npy: expected a file of embeddings, got no file" in running.said("err", 0)
    assert running.said("err", 1) == ""


def test_other_commands_do_not_run_on_several_processes(tmp_path):
    running = Started(2, command("explain", "NEMD001"), tmp_path)
    assert running.wait() == [2, 2]
    assert "expected analyze or embed, which several processes can share" in running.said("err", 0)
    assert running.said("err", 1) == ""


PROGRAM = """import sys
from nemd_toolkit import placing, scratch, stages
from nemd_toolkit.cli import main
stages.WORTH, scratch._ROWS, placing._GATHERED = 0.0, 64, 64
main()
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes through /proc")
def test_torchrun_starts_anew_after_a_kill_and_goes_on(digits, whole, tmp_path):
    out, program = tmp_path / "report", tmp_path / "program.py"
    program.write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["analyze", digits, *OPTIONS, "--out", out]
    running = subprocess.Popen(
        [sys.executable, *launch, "--max-restarts=1", str(program), *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 100
    while not stage_files(out):
        assert time.monotonic() < end
        assert running.poll() is None
        time.sleep(0.005)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if b"RANK=1" in environment and bytes(program) in words:
            os.kill(int(folder.name), signal.SIGKILL)
            break  # torchrun starts the next at once
    said = running.communicate(timeout=100)
    assert running.returncode == 0, said[1][:3000]
    assert "going on from the finished stages" in said[1]
    assert numbers(out) == whole
