"""Whether `nemd track` names the epoch of onset, and how good its best checkpoint is.

    python benchmarks/track.py synthetic --seeds 3 --work DIR
    python benchmarks/track.py trained --seeds 2 --work DIR
    python benchmarks/track.py table      # reports/track/track.json → the tables of its README

Rows that are in track.json are not made again.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import typer
from track_synthetic import KINDS, duplicated_run, synthetic_run
from track_trained import DRIVES, HEALTHY, trained_branch, trained_run

from nemd_toolkit.files import write_text
from pauc_train.loop import fit

OUT = Path("reports/track/track.json")
SHAPES = ("gradual", "sudden")
app = typer.Typer()
Record = dict[str, Any]
Seeds = Annotated[int, typer.Option(min=1)]


@app.command()
def synthetic(work: Path, seeds: Seeds = 3) -> None:
    """Track runs of known onset."""
    for seed in range(seeds):
        for shape in SHAPES:
            for kind in KINDS:
                _kept(
                    "synthetic",
                    {"kind": kind, "shape": shape, "seed": seed},
                    lambda k=kind, s=shape, n=seed: synthetic_run(k, s, n, work),
                )
            _kept(
                "synthetic",
                {"kind": "duplicated", "shape": shape, "seed": seed},
                lambda s=shape, n=seed: duplicated_run(s, n, _prototypes(work, n), work),
            )


@app.command()
def trained(work: Path, seeds: Seeds = 2) -> None:
    """Train, drive, track and evaluate on digits."""
    for seed in range(seeds):
        for drive in (*DRIVES, *HEALTHY):
            _kept(
                "trained",
                {"run": drive.name, "seed": seed},
                lambda d=drive, n=seed: trained_run(d, n, work),
            )


@app.command()
def branches(work: Path, seeds: Seeds = 2) -> None:
    """Track the driven runs again, by the encoder that is trained instead of its slow mean."""
    for seed in range(seeds):
        for drive in DRIVES:
            _kept(
                "branches",
                {"run": drive.name, "seed": seed},
                lambda d=drive, n=seed: trained_branch(d, n, work),
            )


@app.command()
def table() -> None:
    """Print the tables of the README."""
    rows = _read()
    print(
        "| kind | shape | runs | within one | exact | onset less truth |\n|---|---|---|---|---|---|"
    )
    kinds = dict.fromkeys((row["kind"], row["shape"]) for row in rows["synthetic"])
    for kind, shape in kinds:
        errors = [
            None if row["onset"] is None else row["onset"] - row["truth"]
            for row in rows["synthetic"]
            if (row["kind"], row["shape"]) == (kind, shape)
        ]
        near = sum(error is not None and abs(error) <= 1 for error in errors)
        told = ", ".join("none" if error is None else f"{error:+d}" for error in errors)
        print(f"| {kind} | {shape} | {len(errors)} | {near} | {errors.count(0)} | {told} |")
    _print_trained(rows["trained"], rows["branches"])


def _print_trained(rows: list[Record], branches: list[Record]) -> None:
    query = {(row["run"], row["seed"]): row["onset"] for row in branches}
    print(
        "\n| run | seed | truth | onset | onset, --branch query | verdicts | probe, picked / best |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        healthy = [p for p, s in zip(row["probe"], row["states"], strict=True) if s == "h"]
        truth = "–" if row["truth"] is None else row["labels"][row["truth"]]
        onset = "–" if row["onset"] is None else row["labels"][row["onset"]]
        at = query.get((row["run"], row["seed"]))
        own = "–" if at is None else row["labels"][at]
        picked = "–" if row["best"] is None else f"{row['probe'][row['best']]:.3f}"
        print(
            f"| {row['run']} | {row['seed']} | {truth} | {onset} | {own} "
            f"| {row['states']} | {picked} / {max(healthy, default=0):.3f} |"
        )
    print("\n| rule among healthy checkpoints | runs | mean lost | most lost | rank correlation |")
    print("|---|---|---|---|---|")
    rules = [row["rules"] for row in rows if row["rules"] and row["truth"] is None]
    _print_rule("the last", [rule["last"] for rule in rules], [])
    for name in ("uniform", "score", "excess", "raw", "rank_share", "mean_share"):
        found = [rule[name] for rule in rules if name in rule]
        for side in ("least", "most"):
            lost = [rule[f"lost_by_{side}"] for rule in found]
            _print_rule(f"{side} {name}", lost, [rule["correlation"] for rule in found])


def _print_rule(name: str, lost: list[float], correlations: list[float]) -> None:
    span = f"{min(correlations):+.2f} … {max(correlations):+.2f}" if correlations else "–"
    print(f"| {name} | {len(lost)} | {sum(lost) / len(lost):.4f} | {max(lost):.4f} | {span} |")


def _prototypes(work: Path, seed: int) -> Path:
    """Train a short PCL run whose own prototypes are to be copied."""
    folder = work / f"prototypes-{seed}"
    settings = {"warmup_epochs": 2, "clusters": [40], "schedule": "constant"}
    return fit("pclv2", "digits", epochs=20, seed=seed, out=folder, overrides=settings)


def _kept(part: str, key: Record, make: Callable[[], Record]) -> None:
    rows = _read()
    if any(all(row[name] == value for name, value in key.items()) for row in rows[part]):
        return
    made = make()
    rows = _read()  # minutes later
    rows[part].append(made)
    print(part, rows[part][-1].get("kind", rows[part][-1].get("run")), key, flush=True)
    write_text(OUT, json.dumps(rows, indent=1) + "\n")


def _read() -> dict[str, list[Record]]:
    if OUT.exists():
        found: dict[str, list[Record]] = json.loads(OUT.read_text(encoding="utf-8"))
        return found
    return {"synthetic": [], "trained": [], "branches": []}


if __name__ == "__main__":
    app()
