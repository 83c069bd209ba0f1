"""The table of issue 3: transport between clouds, against the loop a user would write.

    python benchmarks/transport.py run --seed 1 --repeats 5 --fashion-mnist DIR [--rows B1,B2]
    python benchmarks/transport.py peers --seed 1     # OTT-JAX, GeomLoss, ot.solve_batch
    python benchmarks/transport.py plot
    python benchmarks/transport.py table

Baseline: `ot.emd2(a, b, ot.dist(X, Y, metric="euclidean"), numItermax=10**7)` for each pair,
float64, one thread. Ours: `nemd_toolkit.pairwise_wasserstein1`, two threads, the same float64
arrays; with rtol=0 ("exact") and rtol=0.01 ("interval"). `transport_compare` says how both are
interleaved. The baseline runs on a random part of the pairs where all take over six seconds.

`transport.json`, schema nemd-transport-benchmark/1 (times in milliseconds per pair; a spread is
{"median", "low", "high"} over the repeats):

    {"schema", "machine": {"cpu", "cores", "device", "versions": {...}}, "baseline": str,
     "rows": [{"id", "data", "seed", "repeats", "date", "commit", "kind": "comparison",
       "clouds", "sizes": [least, most], "dim", "load": [before, after] (1-minute load averages),
       "milliseconds": {arm: spread + "pairs": [of each repeat]},   arms: baseline,
           baseline_two_processes, exact, interval, exact_one_thread, interval_one_thread,
           exact_float32, interval_float32 (input in float32), matrix_product (the floor: X @ Y.T
           in float32, one thread)
       "ratios": {name: spread},   exact and interval: baseline over ours; two_processes: baseline
           over itself on two processes; *_to_two_processes: that over ours; *_one_thread and
           *_float32: baseline over ours so run; *_above_floor: ours on one thread over the product
       "largest_difference": exact against emd2, on the baseline's pairs,
       "bound_violations": intervals that emd2 leaves by more than 1e-12, on the same pairs,
       "width": {"mean", "largest"}: (upper − lower) / W1, all pairs,
       "solved_share": of pairs whose interval is a point,
       "checks": [{"what", "at_least" or "at_most", "measured", "passed"}]}]}

Rows of another kind have id, data, seed, repeats, date, commit, kind and checks, and what they
like besides. A run replaces the rows it measures and keeps the others, on the same machine only.
"""

import argparse
import os
import sys

# read when the libraries load, so set before that
os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")})

import json
import platform
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from transport_baseline import BASELINE, TwoProcesses
from transport_compare import Setting, Target, compare
from transport_data import digit_classes, digit_clusters, fashion_clusters, von_mises_fisher
from transport_large import huge, thousand
from transport_peers import installed_version, measure_peers
from transport_plot import as_markdown, draw, peers_as_markdown

from nemd_toolkit.errors import InputError
from nemd_toolkit.figures.saving import png_bytes
from nemd_toolkit.files import replacing, write_text

SCHEMA = "nemd-transport-benchmark/1"
VERSIONS = ("numpy", "scipy", "torch", "POT", "numba")
OUT = Path("reports/transport")


class Row(NamedTuple):
    """One line of the table: `measure` gives its record, with "kind" and "checks"."""

    id: str
    data: str
    measure: Callable[[Setting], dict[str, Any]]


def rows(fashion_mnist: str | None = None) -> tuple[Row, ...]:
    """Give the table."""
    return (
        _vmf_row("B1", 200, (50, 50), 128, 0.7, _at_least(8, 8)),
        _vmf_row("B2", 100, (40, 160), 128, 0.7, _at_least(3, 6)),
        _vmf_row("B3", 30, (200, 200), 128, 0.7, _at_least(4, 10)),
        _vmf_row("B4", 12, (300, 700), 128, 0.5, _at_least(7, 15)),
        _vmf_row("B4", 12, (300, 700), 128, 0.7, _at_least(7, 15)),
        _vmf_row("B5", 12, (300, 700), 512, 0.9, _at_least(4, 8)),
        _vmf_row("B5", 12, (300, 700), 2048, 0.7, _at_least(3, 4)),
        _vmf_row("B6", 4, (1000, 2000), 128, 0.7, _at_least(8, 18)),
        Row("B7", "digits, 10 classes", _data_row(digit_classes)),
        Row("B7", "digits, K=30 clusters", _data_row(partial(digit_clusters, k=30))),
        Row(
            "B7",
            "Fashion-MNIST, 10,000 images, K=100 clusters",
            _data_row(partial(fashion_clusters, folder=fashion_mnist, k=100, count=10_000)),
        ),
        Row("B8", "K=1000, n=40–60, d=128, r=0.7", thousand),
        Row("B9", "K=25,000, 1.28 million points memory-mapped, d=128, r=0.7", huge),
    )


def _at_least(exact: float, interval: float) -> tuple[Target, ...]:
    return Target("exact", exact), Target("interval", interval)


def _vmf_row(
    name: str,
    count: int,
    sizes: tuple[int, int],
    dim: int,
    resultant: float,
    targets: Sequence[Target],
) -> Row:
    size = f"{sizes[0]}" if sizes[0] == sizes[1] else f"{sizes[0]}–{sizes[1]}"
    clouds = partial(von_mises_fisher, count=count, sizes=sizes, dim=dim, resultant=resultant)
    data = f"K={count}, n={size}, d={dim}, r={resultant}"
    return Row(name, data, partial(compare, clouds=clouds, targets=targets))


def _data_row(clouds: Callable[[int], Any]) -> Callable[[Setting], dict[str, Any]]:
    # "never < 1×": in every repeat, not only in the median
    targets = (Target("exact", 1, "low"), Target("interval", 3))
    return partial(compare, clouds=clouds, targets=targets)


def run(options: argparse.Namespace, table: Sequence[Row]) -> None:
    """Measure rows and write them to transport.json after each."""
    require_device(options.device)
    wanted = set(options.rows.split(",")) if options.rows else {row.id for row in table}
    if unknown := wanted - {row.id for row in table}:
        raise InputError(
            f"rows: expected some of {', '.join(sorted({row.id for row in table}))}, got "
            f"{', '.join(sorted(unknown))}; name rows of the table"
        )
    path = options.out / "transport.json"
    document = read(path) if path.exists() else {}
    machine = this_machine(options.device)
    if document.get("machine", machine) != machine:
        raise InputError(
            f"{path}: expected rows measured on this machine, with these versions, got others; "
            "give another --out or remove the file"
        )
    order = {(row.id, row.data): place for place, row in enumerate(rows())}
    with threadpool_limits(limits=1), TwoProcesses() as two:
        setting = Setting(
            seed=options.seed, repeats=options.repeats, two_processes=two, device=options.device
        )
        for row in (row for row in table if row.id in wanted):
            try:
                record = measured(row, setting)
            except InputError as error:
                print(f"{row.id} {row.data}: not measured: {error}", file=sys.stderr)
                continue
            others = [r for r in document.get("rows", []) if (r["id"], r["data"]) != row[:2]]
            ranked = sorted(
                [*others, record], key=lambda r: (order.get((r["id"], r["data"]), 99), r["id"])
            )
            document = {"schema": SCHEMA, "machine": machine, "baseline": BASELINE, "rows": ranked}
            write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
            print(as_markdown({"rows": [record]}), flush=True)


def measured(row: Row, setting: Setting) -> dict[str, Any]:
    """Measure one row, and add to its record what it was made from."""
    return {
        "id": row.id,
        "data": row.data,
        "seed": setting.seed,
        "repeats": setting.repeats,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        **row.measure(setting),
    }


def require_device(device: str) -> None:
    """Raise InputError for a device that torch does not find."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: expected a CUDA device for --device cuda, got none; use cpu")


def this_machine(device: str) -> dict[str, Any]:
    """Processor, cores, device and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "versions": {"python": platform.python_version()}
        | {name: installed_version(name) for name in VERSIONS},
    }


def commit() -> str | None:
    """Commit of the package under test, with a mark where files of it were changed since."""
    root = Path(__file__).parents[1]
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=root,
            capture_output=True,
            check=True,
            text=True,
        )
        changed = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", "nemd_toolkit"], cwd=root, check=False
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return None
    return found.stdout.strip() + (" with changes" if changed.returncode else "")


def read(path: Path) -> dict[str, Any]:
    """Read a document that `run` or `peers` wrote."""
    if not path.exists():
        raise InputError(f"{path}: expected measurements, got no such file; call `run` first")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def peers(options: argparse.Namespace) -> None:
    """Measure the peers that are installed, and write peers.json."""
    with threadpool_limits(limits=1, user_api="blas"):
        found = measure_peers(options.seed)
    document = {"machine": this_machine("cpu"), "baseline": BASELINE, "date": _now(), **found}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    write_text(options.out / "peers.json", text)
    print(peers_as_markdown(document))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def plot(options: argparse.Namespace) -> None:
    """Draw transport.png from transport.json."""
    with replacing(options.out / "transport.png") as part:
        part.write_bytes(png_bytes(draw(read(options.out / "transport.json")), dpi=130))


def show_table(options: argparse.Namespace) -> None:
    """Print both tables as Markdown."""
    document = read(options.out / "transport.json")
    print(as_markdown(document))
    have = {(row["id"], row["data"]) for row in document["rows"]}
    missing = [f"{row.id} {row.data}" for row in rows() if (row.id, row.data) not in have]
    if missing:
        print(f"\nNot measured: {'; '.join(missing)}.")
    if (options.out / "peers.json").exists():
        print("\n" + peers_as_markdown(read(options.out / "peers.json")))


def main(arguments: Sequence[str] | None = None, table: Sequence[Row] | None = None) -> int:
    """Parse and call; 2 for wrong use. `table` replaces the rows of issue 3 (for tests)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "peers", "plot", "table"):
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, default=OUT)
        if name in ("run", "peers"):
            command.add_argument("--seed", type=int, required=True)
        if name == "run":
            command.add_argument("--repeats", type=int, default=5)
            command.add_argument("--rows", help="ids, separated by commas; without it all")
            command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
            command.add_argument("--fashion-mnist", help="folder of its IDX files")
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            run(options, rows(options.fashion_mnist) if table is None else table)
        else:
            {"peers": peers, "plot": plot, "table": show_table}[options.command](options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
