"""The score by energy distances beside NEMD's, on worlds with a known answer and on checkpoints."""

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch

import nemd_toolkit as nt
from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.energy_score import energy_score

sys.path.append(str(Path(__file__).parents[1]))  # for `tests`

from tests.worlds import clusters

__all__ = ["checkpoints", "worlds_ladder"]

Record = dict[str, Any]
ROWS = 1_024  # that a check scores
SPREADS = (0, 0.2, 0.5, 0.9, 1.6, 3, 6)


def worlds_ladder(seed: int) -> Iterator[Record]:
    """Score DESIGN's ladder over dimensions, true groups, prototypes and spreads."""
    for dim, groups, k, spread in product((16, 64, 256, 1024), (10, 30, 90), (10, 32), SPREADS):
        rows = clusters(2 * ROWS, dim, groups, spread, seed=seed)[0]
        yield {
            "source": "world",
            "dim": dim,
            "groups": groups,
            "spread": spread,
            "seed": seed,
            **_both(rows, k),
        }


def checkpoints(work: Path) -> Iterator[Record]:
    """Score the projections of digits under every checkpoint in the folder, at two K."""
    for path in sorted(work.glob("*/last.pt")):
        try:
            embeddings = nt.embed(path, "digits", "projector")
        except InputError:  # nothing that is finite to embed with
            continue
        for k in (16, 32):
            yield {"source": path.parent.name, **_both(embeddings.vectors, k)}


def _both(rows: torch.Tensor, k: int) -> Record:
    """NEMD on all rows, as an analysis has it; energy on as many as a check scores."""
    some = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))[:ROWS]
    found = energy_score(rows[some], k)
    try:
        score = nt.nemd(nt.fit_prototypes(nt.Embeddings(rows), k=k), splits=1).score
    except InputError:
        score = None
    variance = float((rows - rows.mean(0)).square().sum() / len(rows))
    return {
        "k": k,
        "variance": variance,
        "energy": None if found is None else found.value,
        "energy_low": None if found is None else found.low,
        "nemd": None if score is None else score.value,
        "nemd_low": None if score is None else score.low,
    }
