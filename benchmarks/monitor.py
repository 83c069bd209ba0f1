"""What the monitor costs, whether its score follows NEMD's, and whom it stops.

    python benchmarks/monitor.py runs --work FOLDER --first 0 --seeds 10    # runs.json
    python benchmarks/monitor.py agreement --work FOLDER                    # agreement.json
    python benchmarks/monitor.py cost --turns 5 --fashion-mnist DIR         # cost.json
    python benchmarks/monitor.py table

Rows of `runs` that are there are kept. `agreement` reads the checkpoints that `runs` left in its
folder beside worlds with a known answer. reports/monitor/README.md says what came out.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch
from monitor_agreement import checkpoints, worlds_ladder
from monitor_cost import single_checks, trainings
from monitor_runs import run_all
from monitor_tables import tables

from nemd_toolkit.files import write_text
from nemd_toolkit.pipeline import versions

SCHEMA = "nemd-monitor/1"
OUT = Path("reports/monitor")
Record = dict[str, Any]


def save(path: Path, content: Record) -> None:
    """Write a document with what it was measured on."""
    about = {"schema": SCHEMA, "versions": versions(), "processor": platform.machine()}
    text = json.dumps(about | content, indent=1, ensure_ascii=False)
    write_text(path, text + "\n")


def read(path: Path) -> Record:
    """Read a document; one without rows where there is none."""
    found: Record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    return found


def runs(options: argparse.Namespace) -> None:
    """Train what is missing; save after each row."""
    path = options.out / "runs.json"
    rows = read(path)["rows"]
    done = {(row["name"], row["seed"]) for row in rows}
    seeds = range(options.first, options.first + options.seeds)
    for row in run_all(options.work, seeds, done):
        rows = [*rows, row]
        save(path, {"rows": rows})
        outcome = row["refused"] or row["stopped"] or "went to its end"
        print(f"{row['name']} {row['seed']}: {outcome}", flush=True)


def agreement(options: argparse.Namespace) -> None:
    """Score worlds and checkpoints both ways."""
    rows = [*worlds_ladder(options.first), *checkpoints(options.work)]
    save(options.out / "agreement.json", {"rows": rows})


def cost(options: argparse.Namespace) -> None:
    """Time single checks, and trainings with and without."""
    checks = list(single_checks())
    rows = list(trainings(options.turns, options.fashion_mnist))
    save(options.out / "cost.json", {"checks": checks, "rows": rows})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and call."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("runs", "agreement", "cost", "table"):
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, default=OUT)
        if name in ("runs", "agreement"):
            command.add_argument("--work", type=Path, required=True, help="folder of trainings")
            command.add_argument("--first", type=int, default=0, help="seed")
        if name == "runs":
            command.add_argument("--seeds", type=int, default=10)
        if name == "cost":
            command.add_argument("--turns", type=int, default=5)
            command.add_argument("--fashion-mnist", type=Path, required=True, help="its folder")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.command == "table":
        found = {name: read(options.out / f"{name}.json") for name in ("runs", "agreement", "cost")}
        print(tables(**found))
    else:
        {"runs": runs, "agreement": agreement, "cost": cost}[options.command](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
