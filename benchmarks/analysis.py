"""What an analysis costs, stage by stage: seconds and peak memory on this machine's cores.

    python benchmarks/analysis.py                    # up to 60,000 rows
    python benchmarks/analysis.py --rows 1280000 --prototypes 1000,10000

Rows lie around 1,000 directions (50 where there are fewer than 100,000) with DESIGN's spread .9.
Each size runs in a process of its own. `analysis.json`, schema nemd-analysis/1: {"schema", "seed",
"date", "commit", "threads", "rows": [{"count", "dim", "prototypes", "seconds": {"k-means",
"measures", "report"}, "total_seconds", "peak_gigabytes", "runs", "page_kilobytes"}]};
rows of another size stay.
"""

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import nemd_toolkit as nt
from nemd_toolkit.files import write_text
from nemd_toolkit.findings import decide, judge
from nemd_toolkit.measures import Measures, measure
from nemd_toolkit.report.analysis import Analysis, Provenance

SCHEMA = "nemd-analysis/1"
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


def one_size(count: int, dim: int, counts: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Time the stages of one analysis."""
    seconds: dict[str, float] = {}

    def timed(stage: str, action: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        done = action()
        seconds[stage] = time.perf_counter() - start
        print(f"{count:,} x {dim}: {stage} {seconds[stage]:.1f} s", file=sys.stderr)
        return done

    embeddings = nt.Embeddings(rows(count, dim, seed))
    prototypes = timed("k-means", lambda: [nt.fit_prototypes(embeddings, k) for k in counts])
    measures = timed("measures", lambda: measure(embeddings, prototypes, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        timed("report", lambda: written(measures, Path(folder)))
        page = (Path(folder) / "report.html").stat().st_size / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "count": count,
        "dim": dim,
        "prototypes": list(counts),
        "seconds": seconds,
        "total_seconds": sum(seconds.values()),
        "peak_gigabytes": peak,
        "runs": [c.nemd.runs if c.nemd else 0 for c in measures.clusterings],
        "page_kilobytes": page,
    }


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
    command = ["git", "describe", "--always", "--dirty"]
    document = {
        "schema": SCHEMA,
        "seed": options.seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": subprocess.run(
            command, capture_output=True, text=True, check=False
        ).stdout.strip(),
        "threads": torch.get_num_threads(),
        "rows": kept,
    }
    write_text(options.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
