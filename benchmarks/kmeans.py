"""k-means beside FAISS and scikit-learn: seconds until an equal objective.

    python benchmarks/kmeans.py --rows 60000 --prototypes 500 --seeds 3 [--peers DIR]

Data: rows around 1,000 directions (analysis.py), and uniform noise, both unit rows of 128
dimensions. The objective is the mean squared distance of all rows to the nearest unit centroid,
computed alike for all. FAISS (spherical, all rows, its own random start) runs for 5, 10, 15, 25, 50
and 100 iterations; `faiss_seconds` is its least time at an objective not above 1.001 of ours, null
if it never gets there. `--peers` is a folder where faiss-cpu was installed by `pip --target`.
Each run has a process of its own, ours and its peers in turns, with `--threads` each.

`kmeans.json`, schema nemd-kmeans/1: {"schema", "machine", "rows": [{"data", "count", "dim",
"prototypes", "threads", "seed", "ours": run, "faiss": {iterations: run}, "scikit-learn": run,
"faiss_seconds", "ratio": ours over faiss_seconds, "date", "commit"}]}, a run being {"seconds",
"objective", "iterations"}. Rows of another size stay.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEMA = "nemd-kmeans/1"
DIM = 128
FAISS_ITERATIONS = (5, 10, 15, 25, 50, 100)
TOLERANCE = 1e-3


def one_run(who: str, data: str, count: int, k: int, seed: int, threads: int) -> dict[str, Any]:
    """Cluster once, in a fresh process whose threads were set when it began."""
    import time

    import numpy as np
    import torch

    torch.set_num_threads(threads)
    points = rows(data, count, seed)
    name, _, iterations = who.partition(" ")
    if name == "ours":
        from nemd_toolkit.clustering import kmeans

        kmeans(points[:2000], 10)  # what loads once
        start = time.perf_counter()
        found = kmeans(points, k, seed=seed)
        seconds, steps, centroids = time.perf_counter() - start, found.iterations, found.centroids
    elif name == "faiss":
        import faiss

        faiss.omp_set_num_threads(threads)
        model = faiss.Kmeans(
            DIM, k, niter=int(iterations), seed=seed, spherical=True, max_points_per_centroid=count
        )
        x = points.numpy()
        start = time.perf_counter()
        model.train(x)
        seconds, steps = time.perf_counter() - start, int(iterations)
        centroids = torch.from_numpy(model.centroids)
    else:
        from sklearn.cluster import KMeans

        start = time.perf_counter()
        fitted = KMeans(k, n_init=1, max_iter=25, random_state=seed).fit(points.numpy())
        seconds, steps = time.perf_counter() - start, fitted.n_iter_
        centroids = torch.from_numpy(np.asarray(fitted.cluster_centers_, dtype=np.float32))
    return {"seconds": seconds, "objective": objective(points, centroids), "iterations": steps}


def rows(data: str, count: int, seed: int) -> Any:
    """Draw unit rows."""
    import torch
    from analysis import rows as around_directions

    if data == "noise":
        points = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    else:
        points = around_directions(max(count, 100_000), DIM, seed)[:count]  # 1,000 directions
    return torch.nn.functional.normalize(points, dim=1)


def objective(points: Any, centroids: Any) -> float:
    """Mean squared distance to the nearest unit centroid."""
    import torch

    unit = torch.nn.functional.normalize(centroids, dim=1)
    nearest = torch.cat([(part @ unit.T).amax(1) for part in points.split(8192)])
    return float((2 - 2 * nearest.double()).mean())


def compared(data: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run all on the same rows."""
    found = {}
    for who in ("ours", *(f"faiss {n}" for n in FAISS_ITERATIONS), "scikit-learn"):
        found[who] = in_process(
            [who, data, options.rows, options.prototypes, seed, options.threads], options.peers
        )
        print(data, who, {k: round(v, 4) for k, v in found[who].items()}, file=sys.stderr)
    ours = found["ours"]
    faiss = {str(n): found[f"faiss {n}"] for n in FAISS_ITERATIONS}
    enough = (1 + TOLERANCE) * ours["objective"]
    times = [run["seconds"] for run in faiss.values() if run["objective"] <= enough]
    return {
        "data": data,
        "count": options.rows,
        "dim": DIM,
        "prototypes": options.prototypes,
        "threads": options.threads,
        "seed": seed,
        "ours": ours,
        "faiss": faiss,
        "scikit-learn": found["scikit-learn"],
        "faiss_seconds": min(times, default=None),
        "ratio": ours["seconds"] / min(times) if times else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def in_process(task: list[Any], peers: Path | None) -> dict[str, Any]:
    """Run it in a process of its own, for two OpenMP runtimes in one disturb each other."""
    import subprocess

    threads = {f"{name}_NUM_THREADS": str(task[-1]) for name in ("OMP", "OPENBLAS", "MKL")}
    paths = [str(path) for path in (os.environ.get("PYTHONPATH"), peers) if path]
    done = subprocess.run(
        [sys.executable, __file__, "--task", json.dumps(task)],
        env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--prototypes", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--task", help="of one process; not for people")
    parser.add_argument("--out", type=Path, default=Path("reports/kmeans/kmeans.json"))
    options = parser.parse_args()
    if options.task:
        print(json.dumps(one_run(*json.loads(options.task))))
        return
    from transport import commit, this_machine

    from nemd_toolkit.files import write_text

    found = [
        compared(data, options, seed) | {"commit": commit()}
        for data in ("directions", "noise")
        for seed in range(options.seeds)
    ]
    key = ("count", "prototypes", "threads")
    kept = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    kept = [r for r in kept if [r[k] for k in key] != [found[0][k] for k in key]]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, "machine": this_machine("cpu"), "rows": kept + found}
    write_text(options.out, json.dumps(document, indent=1) + "\n")
    for row in found:
        print(row["data"], row["seed"], "ours over faiss at an equal objective:", row["ratio"])


if __name__ == "__main__":
    main()
