"""Whether several processes train like one: losses of 20 steps with the same global batch.

    python benchmarks/processes.py                   # two processes, gloo

Each method runs on digits with one step an epoch, in float64: there rounding does not send a
sample to another cluster. `processes.json`, schema nemd-processes/1: {"schema", "commit", "rows":
[{"method", "processes", "steps", "largest_difference", "first_loss", "last_loss", "seconds"}]}.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nemd_toolkit.files import write_text

SCHEMA = "nemd-processes/1"
METHODS: dict[str, dict[str, Any]] = {
    "moco": {},
    "pcl": {"warmup_epochs": 3},
    "pauc": {"warmup_epochs": 3, "alpha": 0.1, "beta": 3.0, "gamma": 0.01},
    "swav": {"freeze_epochs": 1},
    "simclr": {},
    "barlow-twins": {},
}
PROGRAM = """import torch
from pauc_train.__main__ import main

torch.set_default_dtype(torch.float64)
main()
"""
STEPS = 20


def losses(method: str, processes: int, folder: Path) -> list[float]:
    """Train and read the loss of every step."""
    program = folder / "double.py"
    program.write_text(PROGRAM, encoding="utf-8")
    out = folder / f"{method}-{processes}"
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    settings = {"batch_size": 1346, "epochs": STEPS, "save_every": 1000, **METHODS[method]}
    subprocess.run(
        [
            *(sys.executable, *(launch if processes > 1 else []), str(program), "fit", method),
            *("--data", "digits", "--out", str(out), "--quiet"),
            *(f"--set={name}={value}" for name, value in settings.items()),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def compare(method: str, processes: int) -> dict[str, Any]:
    """Give one row."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        one, many = (losses(method, count, Path(name)) for count in (1, processes))
    return {
        "method": method,
        "processes": processes,
        "steps": len(one),
        "largest_difference": max(abs(a - b) for a, b in zip(one, many, strict=True)),
        "first_loss": one[0],
        "last_loss": one[-1],
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Compare every method and write the document after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("reports/training/processes.json"))
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent, capture_output=True, check=False, text=True,
    ).stdout.strip()  # fmt: skip
    rows = []
    for method in METHODS:
        rows.append(compare(method, options.processes))
        print(rows[-1], flush=True)
        content = {"schema": SCHEMA, "commit": commit, "rows": rows}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
