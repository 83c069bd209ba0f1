"""Whether a training survives SIGKILL: killed at random moments, it ends with the same bytes.

    python benchmarks/resume.py --kills 20

After every kill the last checkpoint must be readable. `resume.json`, schema nemd-resume/1:
{"schema", "method", "data", "epochs", "kills": [{"after_seconds", "at": {"epoch", "step"} | null}],
"finished_early", "same_bytes", "unreadable", "seconds", "commit"}.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nemd_toolkit.errors import NemdError
from nemd_toolkit.files import write_text
from pauc_train.saving import read_checkpoint

SCHEMA = "nemd-resume/1"
DATA = "digits"


def start(method: str, epochs: int, out: Path) -> "subprocess.Popen[bytes]":
    """Start the command that trains; the same one goes on with a stopped run."""
    words = ["fit", method, "--data", DATA, "--epochs", str(epochs), "--out", str(out), "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-m", "pauc_train", *words, "--set=save_every=3"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )


def place(out: Path) -> dict[str, Any] | None:
    """Where the last checkpoint would go on; None where there is none. Raises NemdError."""
    path = out / "last.pt"
    if not path.exists():
        return None
    found: dict[str, Any] = read_checkpoint(path)["nemd"]["next"]
    return found


def kill(method: str, epochs: int, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train without and with kills, and compare."""
    rng = random.Random(seed)
    began = time.perf_counter()
    whole, broken = folder / "whole", folder / "broken"
    start(method, epochs, whole).wait()
    usual = time.perf_counter() - began
    log: list[dict[str, Any]] = []
    unreadable = 0
    same: list[bool] = []  # as the run without kills, of the runs that ended
    while len(log) < kills:
        running = start(method, epochs, broken)
        after = rng.uniform(0.05, 0.5) * usual
        try:
            running.wait(after)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
        else:  # whole before it was killed: begin another run
            same.append((broken / "last.pt").read_bytes() == (whole / "last.pt").read_bytes())
            shutil.rmtree(broken)
            continue
        try:
            log.append({"after_seconds": round(after, 2), "at": place(broken)})
        except NemdError:
            unreadable += 1
            log.append({"after_seconds": round(after, 2), "at": "unreadable"})
    start(method, epochs, broken).wait()
    same.append((broken / "last.pt").read_bytes() == (whole / "last.pt").read_bytes())
    return {
        "method": method,
        "data": DATA,
        "epochs": epochs,
        "kills": log,
        "finished_early": len(same) - 1,
        "same_bytes": all(same),
        "unreadable": unreadable,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--method", default="pauc")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("reports/training/resume.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = kill(options.method, options.epochs, options.kills, options.seed, Path(name))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent, capture_output=True, check=False, text=True,
    ).stdout.strip()  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(
        options.out, json.dumps({"schema": SCHEMA, **found, "commit": commit}, indent=1) + "\n"
    )
    print({key: value for key, value in found.items() if key != "kills"})


if __name__ == "__main__":
    main()
