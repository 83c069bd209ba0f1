"""How often the intervals over all pairs hold the truth, against full matrices of exact costs.

    python benchmarks/transport_coverage.py --seed 1 --repeats 1000     # about a minute

For each family of clouds all pairs are solved once; then `estimate_all_pairs` runs `repeats` times
with seeds 0, 1, …, looking costs up in the table. Writes coverage.json: for each family and each
relative_error, the share of repeats whose 95 % interval holds the mean and the quartiles of all
pairs, the mean number of pairs solved, and the mean half-width in per cent of the mean.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transport_data import Clouds, digit_clusters, von_mises_fisher

from nemd_toolkit.files import write_text
from nemd_toolkit.transport import Pairs, pairwise_wasserstein1
from nemd_toolkit.transport.all_pairs import estimate_all_pairs
from nemd_toolkit.transport.moments import cloud_moments

LEVELS = (0.25, 0.5, 0.75)
AIMS = (0.01, 0.0003)  # the first is met by the first 200 pairs, the second takes a second sample


def mixed(seed: int) -> Clouds:
    """Draw 200 clouds of spreads r ~ U(.3, .95) in 64 dimensions, 20–80 points each."""
    spreads = np.random.default_rng(seed).uniform(0.3, 0.95, 200)
    return [
        von_mises_fisher(1000 * seed + k, count=1, sizes=(20, 80), dim=64, resultant=float(r))[0]
        for k, r in enumerate(spreads)
    ]


FAMILIES = {
    "vMF r=.7, n=50, d=128": lambda seed: von_mises_fisher(
        seed, count=200, sizes=(50, 50), dim=128, resultant=0.7
    ),
    "vMF r=.4, n 5–150, d=32": lambda seed: von_mises_fisher(
        seed, count=200, sizes=(5, 150), dim=32, resultant=0.4
    ),
    "mixed r=.3–.95, n 20–80, d=64": mixed,
    "digits, k-means K=200": lambda seed: digit_clusters(seed, k=200),
}


def coverage(clouds: Clouds, aim: float, repeats: int) -> dict[str, Any]:
    """Shares of repeats that hold the truth, at one relative_error."""
    every = pairwise_wasserstein1(clouds)
    table = np.zeros((len(clouds), len(clouds)))
    table[every.pairs[:, 0], every.pairs[:, 1]] = every.cost
    truth = [float(every.cost.mean())]
    truth += np.quantile(every.cost, LEVELS, method="inverted_cdf").tolist()
    moments = cloud_moments(clouds)

    def look_up(pairs: NDArray[np.int64]) -> Pairs:
        p, q = pairs.min(axis=1), pairs.max(axis=1)
        cost = table[p, q]
        return Pairs(pairs=pairs, cost=cost, lower=cost, upper=cost)

    held, solved, widths = np.zeros(1 + len(LEVELS)), 0, 0.0
    for seed in range(repeats):
        found = estimate_all_pairs(
            moments, look_up, relative_error=aim, quantiles=LEVELS, seed=seed
        )
        intervals = (found.mean, *found.quantiles)
        held += [i.low <= true <= i.high for i, true in zip(intervals, truth, strict=True)]
        solved += found.pairs_solved
        widths += (found.mean.high - found.mean.low) / 2 / found.mean.value
    return {
        "relative_error": aim,
        "repeats": repeats,
        "clouds": len(clouds),
        "pairs_total": len(every.cost),
        "pairs_solved": solved / repeats,
        "half_width_percent": 100 * widths / repeats,
        "mean_held": float(held[0] / repeats),
        "quartiles_held": (held[1:] / repeats).tolist(),
    }


def main() -> int:
    """Measure all families and write coverage.json; 1 where a mean's coverage leaves 95 ± 2 %."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("reports/transport"))
    options = parser.parse_args()
    rows = []
    for name, draw in FAMILIES.items():
        clouds = draw(options.seed)
        for aim in AIMS:
            row = {"data": name, **coverage(clouds, aim, options.repeats)}
            rows.append(row)
            print(row, flush=True)
    text = json.dumps({"seed": options.seed, "rows": rows}, indent=1, ensure_ascii=False)
    write_text(options.out / "coverage.json", text + "\n")
    return int(any(abs(row["mean_held"] - 0.95) > 0.02 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
