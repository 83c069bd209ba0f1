"""What an analysis costs, stage by stage, and its transport against the loop a user would write.

    python benchmarks/analysis.py --out reports/analysis

Baseline of the transport rows: `ot.emd2(a, b, ot.dist(X, Y, metric="euclidean"))` for each pair,
the same clouds, interleaved with ours in one run, one thread. Medians of 5 repeats.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import ot
import torch

import nemd_toolkit as nt
from nemd_toolkit.files import write_text
from nemd_toolkit.measures import measure

REPEATS = 5
SIZES = ((2_000, 64), (20_000, 128), (60_000, 128))  # N, d
CLOUDS = (8, 24, 64)  # points in each, 20 clouds


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def transport_row(n: int, generator: torch.Generator) -> dict[str, float]:
    """Time all pairs of 20 clouds by the loop and by ours, alternating."""
    clouds = [
        torch.nn.functional.normalize(torch.randn(n, 128, generator=generator), dim=1).double()
        for _ in range(20)
    ]
    pairs = [(p, q) for p in range(20) for q in range(p + 1, 20)]
    weights = np.full(n, 1 / n)

    def loop() -> list[float]:
        return [
            ot.emd2(
                weights,
                weights,
                ot.dist(clouds[p].numpy(), clouds[q].numpy(), metric="euclidean"),
                numItermax=10**7,
            )
            for p, q in pairs
        ]

    error = float(np.abs(np.array(loop()) - nt.pairwise_wasserstein1(clouds).cost).max())
    theirs, ours = [], []
    for _ in range(REPEATS):
        theirs.append(seconds(loop))
        ours.append(seconds(lambda: nt.pairwise_wasserstein1(clouds)))
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {
        "n": n,
        "loop_ms": 1e3 * statistics.median(theirs) / len(pairs),
        "ours_ms": 1e3 * statistics.median(ours) / len(pairs),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "largest_difference": error,
    }


def analysis_row(
    count: int, dim: int, generator: torch.Generator, folder: Path
) -> dict[str, float]:
    """Time each stage of one analysis of `count` rows around 50 directions."""
    centres = torch.nn.functional.normalize(torch.randn(50, dim, generator=generator), dim=1)
    group = torch.randint(0, 50, (count,), generator=generator)
    rows = centres[group] + 0.9 * torch.randn(count, dim, generator=generator) / dim**0.5
    embeddings = nt.Embeddings(rows)
    prototypes: list[nt.Prototypes] = []
    counts = tuple(min(400, count // 50) // divisor for divisor in (1, 2, 4))
    clustering = seconds(
        lambda: prototypes.extend(nt.fit_prototypes(embeddings, k) for k in counts)
    )
    measuring = seconds(lambda: measure(embeddings, prototypes))
    analysis = nt.analyze(embeddings, prototypes=counts)
    writing = seconds(lambda: analysis.write(folder))
    return {
        "N": count,
        "d": dim,
        "K": ", ".join(map(str, counts)),
        "k_means_s": clustering,
        "measures_s": measuring,
        "report_s": writing,
        "page_kB": (folder / "report.html").stat().st_size / 1e3,
    }


def main() -> None:
    """Run both tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/analysis"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    scratch = options.out / "scratch"
    found = {
        "transport": [transport_row(n, generator) for n in CLOUDS],
        "analysis": [analysis_row(n, d, generator, scratch) for n, d in SIZES],
    }
    for path in sorted(scratch.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    scratch.rmdir()
    write_text(options.out / "analysis.json", json.dumps(found, indent=1) + "\n")
    for table in found.values():
        for row in table:
            print(
                "  ".join(
                    f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
                )
            )


if __name__ == "__main__":
    main()
