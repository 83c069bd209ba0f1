"""Verdicts on checkpoints that pauc-train makes healthy, or makes collapse on purpose.

    python benchmarks/trained.py run --work FOLDER --first 3     # rows that are there are kept
    python benchmarks/trained.py table
    python benchmarks/trained.py plot

What each checkpoint should be is known from how it was made (trained_settings.py), not from its
numbers. Digits, 1,347 training images for training and analysis, 450 held out for accuracies.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch
from trained_numbers import label_free
from trained_settings import SETTINGS, Setting
from trained_tables import correlations_as_markdown, draw, settings_as_markdown

import nemd_toolkit as nt
from nemd_toolkit.errors import InputError, NemdError
from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.files import replacing, write_text
from nemd_toolkit.measures.quality import knn_accuracy, linear_probe_accuracy
from nemd_toolkit.pipeline import versions
from nemd_toolkit.report.document import document
from pauc_train.evaluate import evaluate
from pauc_train.loop import fit

SCHEMA = "nemd-trained/1"
DATA = "digits"
PROTOTYPES = (40, 20, 10)  # as many as the recipe trains with
OUT = Path("reports/validity")
Record = dict[str, Any]


def make_row(setting: Setting, seed: int, work: Path) -> Record:
    """Train one checkpoint, analyse it and measure what it is worth."""
    folder = work / f"{setting.name.replace(' ', '_').replace(',', '')}-{seed}"
    row: Record = {**_identity(setting, seed), "made": setting.made, "why": setting.why}
    refused: Record = {}
    seconds: Record = {}

    def stage(name: str, action: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return action()
        except NemdError as error:  # a loss or features that are not finite belong to the result
            refused[name] = str(error).replace(str(folder), folder.name)
            return None
        finally:
            seconds[name] = round(time.perf_counter() - start, 2)

    overrides = {**setting.overrides, "epochs": setting.epochs}
    checkpoint = stage("train", lambda: fit(
        setting.method, DATA, seed=seed, out=folder, overrides=overrides
    ))  # fmt: skip
    if checkpoint is not None:
        row |= stage("analyse", lambda: _analysed(checkpoint)) or {}
        row["accuracy"] = (stage("evaluate", lambda: evaluate(checkpoint).plain()) or {}) | (
            stage("evaluate_projector", lambda: _projector_accuracy(checkpoint)) or {}
        )
        row["loss"] = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["terms"]
    return row | {"refused": refused, "seconds": seconds}


def _identity(setting: Setting, seed: int) -> Record:
    """Name what makes two rows the same, as JSON gives it back."""
    return {
        "setting": setting.name,
        "seed": seed,
        "method": setting.method,
        "epochs": setting.epochs,
        "overrides": dict(setting.overrides),
    }


def _analysed(checkpoint: Path) -> Record:
    found = document(nt.analyze(checkpoint, DATA, PROTOTYPES))
    numbers = label_free(found["measures"])
    by_labels = nt.nemd(nt.prototypes_from_labels(nt.embed(checkpoint, DATA, "projector"))).score
    return {
        "verdict": found["verdict"],
        "findings": {f["code"]: f["status"] for f in found["findings"]},
        "score": found["measures"]["nemd"]["score"],
        "score_by_k": {
            str(c["k"]): (c["nemd"]["score"] or {}).get("value")
            for c in found["measures"]["clusterings"]
        },
        "score_of_classes": by_labels.value if by_labels else None,
        "numbers": numbers,
    }


def _projector_accuracy(checkpoint: Path) -> Record:
    """Measure accuracies where the numbers are taken; `evaluate` reads the backbone."""
    seen, held = (
        nt.embed(checkpoint, DATA, "projector", split=split) for split in ("train", "test")
    )
    if seen.labels is None or held.labels is None:
        raise InputError("expected labelled digits, got none")
    rows = (seen.vectors, seen.labels, held.vectors, held.labels)
    return {
        "projector_knn": knn_accuracy(*rows),
        "projector_linear_probe": linear_probe_accuracy(*rows),
    }


def run(options: argparse.Namespace, settings: Sequence[Setting]) -> None:
    """Run what is missing, the first seed of every setting first; save after each row."""
    path = options.out / "trained.json"
    rows = read(path)["rows"] if path.exists() else []
    seeds = range(options.first, options.first + options.seeds)
    wanted = [(setting, seed) for seed in seeds for setting in settings]
    for setting, seed in wanted:
        identity = _identity(setting, seed)
        if any(identity.items() <= row.items() for row in rows if row["setting"] == setting.name):
            continue
        row = make_row(setting, seed, options.work)
        rows = [r for r in rows if (r["setting"], r["seed"]) != (setting.name, seed)] + [row]
        content = {
            "schema": SCHEMA,
            "data": DATA,
            "prototypes": list(PROTOTYPES),
            "commit": _commit(),
            "versions": versions(),
            "processor": platform.machine(),
            "rows": rows,
        }
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        verdict = row.get("verdict", {"state": "refused", "codes": list(row["refused"])})
        print(f"{setting.name} {seed}: {verdict['state']} {' '.join(verdict['codes'])}", flush=True)


def _commit() -> str | None:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        check=False,
        text=True,
    )
    return found.stdout.strip() or None


def read(path: Path) -> Record:
    """Read what `run` wrote."""
    if not path.exists():
        raise InputError(f"{path}: expected results, got no such file; call `run` first")
    content: Record = json.loads(path.read_text(encoding="utf-8"))
    return content


def main(arguments: Sequence[str] | None = None, settings: Sequence[Setting] = SETTINGS) -> int:
    """Parse and call; 2 for wrong use. `settings` replaces the table (for tests)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "table", "plot"):
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, default=OUT)
        if name == "run":
            command.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
            command.add_argument("--first", type=int, default=0, help="seed")
            command.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        if options.command == "run":
            run(options, settings)
            return 0
        rows = read(options.out / "trained.json")["rows"]
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.command == "table":
        print(settings_as_markdown(rows), correlations_as_markdown(rows), sep="\n\n")
    else:
        with replacing(options.out / "trained.png") as part:
            part.write_bytes(png_bytes(draw(rows), dpi=110))
    return 0


if __name__ == "__main__":
    sys.exit(main())
