"""How often 95 % intervals of a difference between two encoders hold the true difference.

    python benchmarks/compare_coverage.py [--repeats 200] [--out reports/track]

Two encoders see the same 600 rows in 12 groups, d = 32. For score and excess every repeat draws new
directions of groups; for the effective rank's and the mean row's share, whose intervals speak of
new rows alone, groups keep their directions. The truth is the mean over all repeats (bias that both
share, as that of k-means on few rows, is not the intervals' to know). "independent" is what adding
the two intervals in squares gives, as for runs that share nothing.
"""

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import typer

import nemd_toolkit as nt
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.nemd import Nemd
from nemd_toolkit.measures.paired import (
    Change,
    change_of_nemd,
    change_of_rows,
    independent_change,
)
from nemd_toolkit.measures.row_influence import row_influence
from nemd_toolkit.measures.spectrum import measure_spectrum
from nemd_toolkit.progress import bar, show_progress

COUNT, DIM, GROUPS, POINTS = 600, 32, 12, 12
COLUMNS = ("score", "excess")


class Law(NamedTuple):
    """How the second encoder differs from the first."""

    name: str
    source: str  # of the prototypes
    spreads: tuple[float, float]
    same_groups: bool = True  # else directions of its own for the same members
    same_noise: bool = True


LAWS = tuple(
    Law(f"{source}, {name}", source, *rest)
    for source in ("labels", "k-means")
    for name, *rest in (
        ("tighter", (0.9, 0.7), True, True),
        ("much tighter", (0.9, 0.3), True, True),
        ("alike, other noise", (0.9, 0.9), True, False),
        ("other directions", (0.9, 0.7), False, False),
        ("wide groups", (1.6, 1.3), True, True),
    )
)


def two_encoders(law: Law, seed: int, *, fixed: bool = False) -> list[nt.Embeddings]:
    """Embeddings of the same rows by both."""
    g = torch.Generator().manual_seed(seed)
    where = torch.Generator().manual_seed(0) if fixed else g
    centres = F.normalize(torch.randn(2, GROUPS, DIM, generator=where), dim=2)
    noise = torch.randn(2, COUNT, DIM, generator=g) / DIM**0.5
    group = torch.randint(0, GROUPS, (COUNT,), generator=g)
    return [
        nt.Embeddings(
            centres[0 if law.same_groups else i][group]
            + spread * noise[0 if law.same_noise else i],
            labels=group.numpy(),
        )
        for i, spread in enumerate(law.spreads)
    ]


def _nemd(embeddings: nt.Embeddings, law: Law) -> Nemd:
    if law.source == "labels":
        return nt.nemd(nt.prototypes_from_labels(embeddings), n=POINTS)
    return nt.nemd(nt.fit_prototypes(embeddings, GROUPS), n=POINTS)


def one_repeat(law: Law, seed: int) -> dict[str, tuple[Change, Change]]:
    """Differences by column: paired, and as if independent."""
    a, b = (_nemd(e, law) for e in two_encoders(law, seed))
    found = {}
    for column in COLUMNS:
        paired = change_of_nemd([a], [b], column, same_rows=True)
        alone = independent_change(getattr(a, column), getattr(b, column))
        found[column] = (paired or alone, alone)
    if law.source == "labels":
        found |= _of_rows(two_encoders(law, seed, fixed=True))
    return found


def _of_rows(both: list[nt.Embeddings]) -> dict[str, tuple[Change, Change]]:
    influences = [row_influence(e) for e in both]
    ranks = [measure_spectrum(e.vectors).effective_rank_centred for e in both]
    means = [float(e.vectors.mean(0).square().sum()) for e in both]
    found = {}
    for name, values in (("rank", ranks), ("mean_share", means)):
        parts = (getattr(influences[0], name), getattr(influences[1], name))
        found[name] = (
            change_of_rows(tuple(values), parts, (COUNT, COUNT), same_rows=True),
            change_of_rows(tuple(values), parts, (COUNT, COUNT), same_rows=False),
        )
    return found


def sum_up(law: Law, repeats: list[dict[str, tuple[Change, Change]]]) -> list[dict[str, Any]]:
    """Coverage and mean half-width of both intervals, a row for each column."""
    rows = []
    for column in repeats[0]:
        paired, alone = zip(*(repeat[column] for repeat in repeats), strict=True)
        truth = float(np.mean([change.value for change in paired]))
        rows.append(
            {
                "law": law.name,
                "number": column,
                "difference": truth,
                "deviation": float(np.std([change.value for change in paired], ddof=1)),
                "paired_share": float(np.mean([change.paired for change in paired])),
                "covered": _covered(paired, truth),
                "half_width": _half_width(paired),
                "independent_covered": _covered(alone, truth),
                "independent_half_width": _half_width(alone),
            }
        )
    return rows


def _covered(changes: tuple[Change, ...], truth: float) -> float:
    return float(np.mean([change.low <= truth <= change.high for change in changes]))


def _half_width(changes: tuple[Change, ...] | tuple[Interval, ...]) -> float:
    return float(np.mean([(change.high - change.low) / 2 for change in changes]))


def main(
    repeats: Annotated[int, typer.Option(min=2)] = 200,
    seed: int = 0,
    out: Path = Path("reports/track"),
) -> None:
    """Measure all laws and write compare_coverage.json."""
    rows = []
    with show_progress(), bar("repeats", repeats * len(LAWS)) as advance:
        for law in LAWS:
            found = []
            for repeat in range(repeats):
                found.append(one_repeat(law, seed + repeat))
                advance(1)
            rows += sum_up(law, found)
            print(*(f"{row}" for row in rows[-4:] if row["law"] == law.name), sep="\n", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    content = {"repeats": repeats, "seed": seed, "rows": rows}
    (out / "compare_coverage.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
