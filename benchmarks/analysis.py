"""What an analysis costs, stage by stage: seconds and peak memory on this machine's cores.

    python benchmarks/analysis.py                    # up to 60,000 rows
    python benchmarks/analysis.py --rows 1280000 --prototypes 1000,10000

Rows lie around 1,000 directions (50 where there are fewer than 100,000) with DESIGN's spread .9.
Each size runs in a process of its own. `analysis.json`, schema nemd-analysis/2: {"schema", "seed",
"rows": [{"count", "dim", "prototypes", "seconds": {"k-means", "measures", "report"},
"parts": {…}, "total_seconds", "processor_seconds", "peak_gigabytes", "runs", "fitted_rows",
"cloud_points", "pairs", "pairs_total", "page_kilobytes", "threads", "load", "date", "commit"}]};
rows of another size stay. `seconds` and `parts` (of "measures") are {"wall", "processor"}: where
other jobs hold the cores, the processor's time over the threads is what it would have taken.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import nemd_toolkit as nt
from nemd_toolkit.files import write_text
from nemd_toolkit.findings import decide, judge
from nemd_toolkit.measures import Measures, measure
from nemd_toolkit.report.analysis import Analysis, Provenance

SCHEMA = "nemd-analysis/2"
_SUMMARY, _NEMD = "nemd_toolkit.measures.summary", "nemd_toolkit.measures.nemd"
PARTS = {  # of "measures": where a function is called, and the part that its time belongs to
    (_NEMD, "uniform_null"): "uniform null's k-means",
    (_NEMD, "spectrum_null"): "spectrum null's k-means",
    (_NEMD, "cross_fitted"): "k-means of halves",
    (_NEMD, "draw_clouds"): "clouds",
    (_NEMD, "measure_pairs"): "transport and pairs",
    (_SUMMARY, "measure_usage"): "usage",
    (_SUMMARY, "measure_spread"): "spread",
    (_SUMMARY, "measure_prototypes"): "prototypes' geometry",
    (_SUMMARY, "measure_instance"): "instance",
    (_SUMMARY, "measure_spectrum"): "spectrum",
    (_SUMMARY, "measure_intrinsic_dimension"): "neighbours",
}
SIZES = ((2_000, 64, (40, 20, 10)), (20_000, 128, (400, 200, 100)), (60_000, 128, (400, 200, 100)))


def rows(count: int, dim: int, seed: int) -> torch.Tensor:
    """Draw them around common directions."""
    generator = torch.Generator().manual_seed(seed)
    groups = 50 if count < 100_000 else 1_000
    centres = torch.nn.functional.normalize(torch.randn(groups, dim, generator=generator), dim=1)
    group = torch.randint(0, groups, (count,), generator=generator)
    noise = torch.randn(count, dim, generator=generator)
    return noise.mul_(0.9 / dim**0.5).add_(centres[group])


def written(measures: Measures, folder: Path) -> None:
    """Judge and write the whole folder."""
    findings = judge(measures)
    provenance = Provenance(
        source="benchmark", sha256=None, layout="array", layer=None, data=None,
        seed=measures.seed, command="benchmark", versions={}, device="cpu", seconds=0.0, notes=(),
    )  # fmt: skip
    analysis = Analysis(
        measures=measures, findings=findings, verdict=decide(findings), provenance=provenance
    )
    analysis.write(folder)


class Clock:
    """Wall and processor seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}

    def timed(self, name: str, action: Callable[..., Any]) -> Callable[..., Any]:
        """Give the action with its time added to `name`."""

        def run(*args: Any, **options: Any) -> Any:
            wall, processor = time.perf_counter(), time.process_time()
            done = action(*args, **options)
            self.add(name, time.perf_counter() - wall, time.process_time() - processor)
            print(f"{name} {self.seconds[name]['wall']:.1f} s", file=sys.stderr)  # so far
            return done

        return run

    def add(self, name: str, wall: float, processor: float) -> None:
        """Add to what `name` has taken so far."""
        spent = self.seconds.setdefault(name, {"wall": 0.0, "processor": 0.0})
        spent["wall"] += wall
        spent["processor"] += processor

    def total(self, kind: str) -> float:
        """Sum over names of "wall" or "processor"."""
        return sum(spent[kind] for spent in self.seconds.values())


def time_calls(clock: Clock, calls: Mapping[tuple[str, str], str]) -> None:
    """Time functions where they are called, for the rest of this process."""
    for (module, function), name in calls.items():
        where = importlib.import_module(module)
        setattr(where, function, clock.timed(name, getattr(where, function)))


def one_size(count: int, dim: int, counts: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Time the stages of one analysis, and the parts of its measures."""
    stages, parts, ran = Clock(), Clock(), commit()
    time_calls(parts, PARTS)  # this process is for one size alone
    embeddings = nt.Embeddings(rows(count, dim, seed))
    fit = stages.timed("k-means", nt.fit_prototypes)
    prototypes = [fit(embeddings, k, seed) for k in counts]
    measures = stages.timed("measures", measure)(embeddings, prototypes, seed=seed)
    spent = stages.seconds["measures"]
    parts.add(
        "rest",
        spent["wall"] - parts.total("wall"),
        spent["processor"] - parts.total("processor"),
    )
    with tempfile.TemporaryDirectory() as folder:
        stages.timed("report", written)(measures, Path(folder))
        page = (Path(folder) / "report.html").stat().st_size / 1e3
    found = [c.nemd for c in measures.clusterings]
    return {
        "count": count,
        "dim": dim,
        "prototypes": list(counts),
        "seconds": stages.seconds,
        "parts": parts.seconds,
        "total_seconds": stages.total("wall"),
        "processor_seconds": stages.total("processor"),
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "runs": [n.runs if n else 0 for n in found],
        "fitted_rows": [p.fitted_rows for p in prototypes],
        "cloud_points": measures.nemd.n if measures.nemd else None,
        "pairs": [n.pairs if n else 0 for n in found],
        "pairs_total": [n.pairs_total if n else None for n in found],
        "page_kilobytes": page,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[1],  # of the last five minutes; this process's own included
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": ran,
    }


def commit() -> str:
    """Name what ran."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Run the sizes and write the document."""
    parser = argparse.ArgumentParser(description="Cost of an analysis, stage by stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--prototypes", default="400,200,100")
    parser.add_argument("--out", type=Path, default=Path("reports/analysis/analysis.json"))
    options = parser.parse_args()
    counts = tuple(int(k) for k in options.prototypes.split(","))
    sizes = SIZES if options.rows is None else ((options.rows, options.dim, counts),)
    kept = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    for count, dim, asked in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(one_size, (count, dim, asked, options.seed))
        key = ("count", "dim", "prototypes")
        kept = [r for r in kept if [r[k] for k in key] != [row[k] for k in key]] + [row]
        print(json.dumps(row))
        document = {"schema": SCHEMA, "seed": options.seed, "rows": kept}
        write_text(options.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
