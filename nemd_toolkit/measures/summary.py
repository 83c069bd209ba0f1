"""All measures of one set of embeddings under M clusterings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.checkpoints import TrainingLog
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.clouds import common_size
from nemd_toolkit.measures.held_out import TooFewSamples
from nemd_toolkit.measures.instance import (
    Instance,
    PrototypeGeometry,
    measure_instance,
    measure_prototypes,
)
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.intrinsic import IntrinsicDimension, measure_intrinsic_dimension
from nemd_toolkit.measures.label_agreement import LabelAgreement, measure_label_agreement
from nemd_toolkit.measures.label_quality import LabelQuality, measure_label_quality
from nemd_toolkit.measures.lidar import Lidar, measure_lidar
from nemd_toolkit.measures.nemd import Nemd, Trial, measure_nemd, prepare
from nemd_toolkit.measures.neural_collapse import (
    LinearHead,
    NeuralCollapse,
    measure_neural_collapse,
)
from nemd_toolkit.measures.projection import Projection, project
from nemd_toolkit.measures.spectrum import Spectrum, measure_spectrum
from nemd_toolkit.measures.spread import Spread, measure_spread
from nemd_toolkit.measures.usage import Usage, measure_usage
from nemd_toolkit.progress import bar
from nemd_toolkit.prototypes import Prototypes, Source
from nemd_toolkit.row_sums import sum_over_rows
from nemd_toolkit.scratch import block_rows, release

__all__ = ["ClusteringMeasures", "Measures", "NemdSummary", "Rows", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What came in."""

    count: int
    dim: int
    norms: tuple[float, float]  # least and greatest length before normalisation
    were_unit: bool
    duplicates: float  # share of rows that repeat another exactly, in [0, 1)
    negative_share: float  # of the squared length; 0 after a ReLU, 0.5 around the origin
    classes: int | None  # number of distinct labels


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteringMeasures:
    """One clustering: NEMD (or why not), usage, spread, the poster's three terms."""

    prototypes: Prototypes
    nemd: Nemd | None
    nemd_missing: str | None
    usage: Usage
    spread: Spread
    geometry: PrototypeGeometry
    agreement: LabelAgreement | None  # None without labels to compare with

    @property
    def k(self) -> int:
        """Prototypes asked for."""
        return self.prototypes.k

    @property
    def source(self) -> Source:
        """Where the prototypes come from."""
        return self.prototypes.source


@dataclass(frozen=True, slots=True, kw_only=True)
class NemdSummary:
    """NEMD over the clusterings that have one: means of values and of interval ends.

    Clusterings share their samples, so their errors are taken as fully dependent; the intervals do
    not shrink with M.
    """

    raw: Interval
    excess: Interval
    energy: Interval
    score: Interval | None  # over the clusterings that have a score
    score_missing: str | None
    n: int
    pairs: int
    exact: bool
    certified_width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Everything measured; numbers only, no judgement."""

    rows: Rows
    nemd: NemdSummary | None
    nemd_missing: str | None
    clusterings: tuple[ClusteringMeasures, ...]
    instance: Instance
    spectrum: Spectrum
    intrinsic: IntrinsicDimension
    lidar: Lidar
    projection: Projection
    neural_collapse: NeuralCollapse | None  # None without labels
    quality: LabelQuality | None  # None without labels
    seed: int
    log: TrainingLog | None = None  # of the encoder's training, where it is known


def measure(
    embeddings: Embeddings,
    prototypes: Sequence[Prototypes],
    *,
    seed: int = 0,
    log: TrainingLog | None = None,
    head: LinearHead | None = None,
) -> Measures:
    """Measure embeddings under each clustering, all at one cloud size n; `log` is handed on.

    `head`, a classifier of the labels on the rows as they came, gives NC3 and NC4.
    """
    clusterings = []
    with bar("measuring prototypes", 2 * len(prototypes)) as advance:
        trials = []
        for clustering in prototypes:
            trials.append(_prepared(clustering, seed))
            advance(1)
        there = [trial for trial in trials if isinstance(trial, Trial)]
        n = common_size([run for trial in there for run in (*trial.runs, *trial.null)])
        for clustering, trial in zip(prototypes, trials, strict=True):
            clusterings.append(_measure_clustering(clustering, trial, n, seed))
            advance(1)
    found = [c.nemd for c in clusterings if c.nemd is not None]
    missing = [c.nemd_missing for c in clusterings if c.nemd_missing is not None]
    with bar("measuring embeddings", 1):
        return Measures(
            rows=_rows(embeddings),
            nemd=_summarise(found) if found else None,
            nemd_missing=None if found else missing[0],
            clusterings=tuple(clusterings),
            instance=measure_instance(embeddings, seed=seed),
            spectrum=measure_spectrum(embeddings.vectors, seed=seed),
            intrinsic=measure_intrinsic_dimension(embeddings, seed=seed),
            lidar=measure_lidar(embeddings),
            projection=project(embeddings, seed=seed),
            neural_collapse=measure_neural_collapse(embeddings, head),
            quality=measure_label_quality(embeddings, seed=seed),
            seed=seed,
            log=log,
        )


def _prepared(prototypes: Prototypes, seed: int) -> Trial | TooFewSamples:
    try:
        return prepare(prototypes, seed)
    except TooFewSamples as reason:
        return reason


def _measure_clustering(
    prototypes: Prototypes, trial: Trial | TooFewSamples, n: int, seed: int
) -> ClusteringMeasures:
    found: Nemd | TooFewSamples
    try:
        found = measure_nemd(trial, seed, n=n) if isinstance(trial, Trial) else trial
    except TooFewSamples as reason:
        found = reason
    return ClusteringMeasures(
        prototypes=prototypes,
        nemd=found if isinstance(found, Nemd) else None,
        nemd_missing=None if isinstance(found, Nemd) else str(found),
        usage=measure_usage(prototypes, seed=seed),
        spread=measure_spread(prototypes, seed=seed),
        geometry=measure_prototypes(prototypes),
        agreement=measure_label_agreement(prototypes),
    )


def _summarise(found: Sequence[Nemd]) -> NemdSummary:
    scores = [f.score for f in found if f.score is not None]
    missing = [f.score_missing for f in found if f.score_missing is not None]
    return NemdSummary(
        raw=_mean([f.raw for f in found]),
        excess=_mean([f.excess for f in found]),
        energy=_mean([f.energy for f in found]),
        score=_mean(scores) if scores else None,
        score_missing=None if scores else missing[0],
        n=found[0].n,
        pairs=sum(f.pairs for f in found),
        exact=all(f.exact for f in found),
        certified_width=max(f.certified_width for f in found),
    )


def _mean(intervals: Sequence[Interval]) -> Interval:
    ends = np.mean([(i.value, i.low, i.high) for i in intervals], axis=0).tolist()
    return Interval(value=ends[0], low=ends[1], high=ends[2])


def _rows(embeddings: Embeddings) -> Rows:
    points = embeddings.vectors
    n, d = points.shape

    def add(total: Tensor, block: Tensor, _: slice) -> None:
        total += block.clamp_max(0.0).square().double().sum()

    return Rows(
        count=n,
        dim=d,
        norms=embeddings.norms,
        were_unit=embeddings.were_unit,
        duplicates=1 - _distinct(points) / n,
        negative_share=float(sum_over_rows(points, (), add)) / n,
        classes=None if embeddings.labels is None else len(np.unique(embeddings.labels)),
    )


def _distinct(points: Float[Tensor, "n d"]) -> int:
    """Count distinct rows by 64-bit hashes; chance joins two of a million once in 10^7 times."""
    weights = np.random.default_rng(0).integers(2**64, size=points.shape[1], dtype=np.uint64) | 1

    def hashed(places: slice) -> Tensor:
        rows = points[places].numpy()
        bits = np.ascontiguousarray(rows + 0.0).view(f"u{rows.dtype.itemsize}")  # −0.0 is 0.0
        mixed = (bits.astype(np.uint64) + 1) * weights
        found = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
        release(points[places])
        return torch.from_numpy(found.view(np.int64))

    return len(np.unique(ranks.by_blocks(len(points), block_rows(points.shape[1]), hashed).numpy()))
