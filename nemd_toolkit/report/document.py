"""The JSON document of an analysis, schema nemd-report/1 (DESIGN §5)."""

import json
from dataclasses import asdict
from typing import Any

from nemd_toolkit.findings import Baseline, Finding
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.intrinsic import IntrinsicDimension
from nemd_toolkit.measures.label_agreement import LabelAgreement
from nemd_toolkit.measures.lidar import Lidar
from nemd_toolkit.measures.nemd import Nemd
from nemd_toolkit.measures.pair_table import PairTable
from nemd_toolkit.measures.spectrum import Spectrum
from nemd_toolkit.measures.spread import Spread
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures, NemdSummary
from nemd_toolkit.report.analysis import Analysis, Provenance

__all__ = ["SCHEMA", "document", "finding_part", "measures_part", "to_json"]

SCHEMA = "nemd-report/1"


def to_json(analysis: Analysis) -> str:
    """Text of the document; standard JSON, so a number that is not finite raises ValueError."""
    return json.dumps(document(analysis), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def document(analysis: Analysis) -> dict[str, Any]:
    """Give the document as plain dicts, lists, strings and numbers."""
    verdict = analysis.verdict
    return {
        "schema": SCHEMA,
        "verdict": {
            "state": verdict.state,
            "codes": list(verdict.codes),
            "headline": verdict.headline,
        },
        "findings": [finding_part(f) for f in analysis.findings],
        "measures": measures_part(analysis.measures),
        "provenance": _provenance(analysis.provenance) | {"baseline": _baseline(analysis.baseline)},
    }


def finding_part(finding: Finding) -> dict[str, Any]:
    """Give a finding as it stands in a document."""
    return {
        "code": finding.about.code,
        "name": finding.about.name,
        "status": finding.status,
        "would_be": finding.would_be,  # of an ignored finding
        "relative": finding.relative,  # judged against the baseline
        "undecided": finding.undecided,  # a warning that makes the verdict inconclusive
        "message": finding.message,
        "measured": finding.measured,
        "threshold": finding.threshold,
        "remedy": finding.about.remedy,
    }


def measures_part(m: Measures) -> dict[str, Any]:
    """Give what stands under `measures`; an undefined number is null, never NaN or infinite.

    `missing` (`head_missing`, `probe_missing`) beside it says why, unless that is plain:
    - without labels: classes, neural_collapse, quality, and a clustering's labels, which are also
      null for prototypes made of the labels and where all labels are one
    - instance.align without views of one sample; instance.corr and koleo of a single row or sample
    - of one used prototype: nearest_pair, and prototype.uniform, corr and koleo
    - spread.uniform_duplicates of prototypes that are not the model's own
    - nemd.run_deviation of a single run; excess_spectrum, beyond_axes and raw_uniform where their
      anchors could not be measured; permutation_p for k-means and where no prototype holds two rows
    """
    spectrum = m.spectrum
    return {
        "embeddings": {
            "count": m.rows.count,
            "dim": m.rows.dim,
            "norm_low": m.rows.norms[0],
            "norm_high": m.rows.norms[1],
            "were_unit": m.rows.were_unit,
            "duplicates": m.rows.duplicates,
            "negative_share": m.rows.negative_share,
            "classes": m.rows.classes,
        },
        "nemd": _nemd(m.nemd, m.nemd_missing),
        "clusterings": [_clustering(c) for c in m.clusterings],
        "instance": {
            "align": m.instance.align,
            "uniform": m.instance.uniform,
            "uniform_rows": m.instance.uniform_rows,
            "corr": m.instance.corr,
            "w2_uniform": spectrum.w2_uniformity,
            "koleo": m.instance.koleo,
            "koleo_rows": m.instance.koleo_rows,
            "mean_cosine": m.instance.mean_cosine,
            "resultant": m.instance.resultant,
        },
        "spectrum": _spectrum(spectrum),
        "intrinsic_dimension": _intrinsic(m.intrinsic),
        "lidar": _lidar(m.lidar),
        "neural_collapse": None if m.neural_collapse is None else asdict(m.neural_collapse),
        "quality": None if m.quality is None else asdict(m.quality),
    }


def _spectrum(spectrum: Spectrum) -> dict[str, Any]:
    law = spectrum.power_law
    return {
        "rankme": spectrum.rankme,
        "effective_rank": spectrum.effective_rank,
        "effective_rank_centred": spectrum.effective_rank_centred,
        "participation_ratio": spectrum.participation_ratio,
        "alpha_req": {
            "alpha": law.alpha,
            "r_squared": law.r_squared,
            "first": law.first,
            "last": law.last,
            "missing": law.missing,
        },
        "variance": spectrum.variance,
        "cap": spectrum.cap,
        "null_effective_rank": spectrum.null_effective_rank,
        "null_rows": spectrum.null_rows,
        "singular_centred": spectrum.singular_centred.tolist(),
        "null_singular": spectrum.null_singular.tolist(),
        "log10_covariance": spectrum.log10_covariance.tolist(),
    }


def _intrinsic(found: IntrinsicDimension) -> dict[str, Any]:
    return {
        "two_nn": _interval(found.dimension),
        "rows": found.rows,
        "among": found.among,
        "repeats": found.repeats,
        "missing": found.missing,
    }


def _lidar(found: Lidar) -> dict[str, Any]:
    return {
        "rank": found.rank,
        "samples": found.samples,
        "views": found.views,
        "cap": found.cap,
        "delta": found.delta,
        "missing": found.missing,
    }


def _nemd(nemd: NemdSummary | Nemd | None, missing: str | None) -> dict[str, Any]:
    if nemd is None:
        empty = dict.fromkeys(("raw", "excess", "energy", "score", "n", "exact", "certified_width"))
        return {**empty, "pairs": 0, "missing": missing}
    fields = {
        "raw": _interval(nemd.raw),
        "excess": _interval(nemd.excess),
        "energy": _interval(nemd.energy),
        "score": _interval(nemd.score),
        "n": nemd.n,
        "pairs": nemd.pairs,
        "exact": nemd.exact,
        "certified_width": nemd.certified_width,
        "missing": nemd.score_missing,
    }
    if isinstance(nemd, Nemd):
        fields |= {
            "pairs_total": nemd.pairs_total,
            "prototypes": nemd.prototypes,
            "skipped": nemd.skipped,
            "raw_uniform": nemd.raw_uniform,
            "excess_uniform": nemd.excess_uniform,
            "excess_collapsed": nemd.excess_collapsed,
            "excess_spectrum": nemd.excess_spectrum,
            "beyond_axes": nemd.beyond_axes,
            "clumping": nemd.clumping,
            "permutation_p": nemd.permutation_p,
            "runs": nemd.runs,
            "run_deviation": nemd.run_deviation,
            "nearest_pair": _least_excess(nemd.table),
        }
    return fields


def _least_excess(table: PairTable) -> dict[str, Any]:
    """Give the pair whose clouds are most alike, of those measured."""
    (p, q), at = table.pairs[table.nearest].tolist(), table.nearest
    found = {"raw": table.raw[at], "excess": table.excess[at], "energy": table.energy[at]}
    return {"p": p, "q": q, **{name: float(value) for name, value in found.items()}}


def _interval(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _clustering(c: ClusteringMeasures) -> dict[str, Any]:
    return {
        "k": c.k,
        "source": c.source,
        "nemd": _nemd(c.nemd, c.nemd_missing),
        "usage": {
            "used": c.usage.used,
            "entropy": c.usage.entropy,
            "perplexity": c.usage.perplexity,
            "largest_share": c.usage.largest_share,
            "gini": c.usage.gini,
            "dead": c.usage.dead,
            "expected_dead": c.usage.null.dead,
            "expected_dead_sd": c.usage.null.dead_sd,
            "expected": {
                "entropy": _interval(c.usage.null.entropy),
                "perplexity": _interval(c.usage.null.perplexity),
                "gini": _interval(c.usage.null.gini),
                "draws": c.usage.null.draws,
            },
        },
        "spread": {
            "mean_resultant": c.spread.mean_resultant,
            "least_resultant": float(c.spread.resultants.min()),
            "greatest_resultant": float(c.spread.resultants.max()),
            "mean_concentration": float(c.spread.concentrations.mean()),
            "phi": _phi(c.spread),
            "nearest_pair": _nearest_pair(c.spread),
            "duplicates": _curve(c.spread.duplicates),
            "uniform_duplicates": _curve(c.spread.uniform_duplicates),
        },
        "prototype": {
            "align": c.geometry.align,
            "align_positives": c.geometry.align_positives,
            "uniform": c.geometry.uniform,
            "corr": c.geometry.corr,
            "koleo": c.geometry.koleo,
        },
        "labels": _agreement(c.agreement),
    }


def _baseline(baseline: Baseline | None) -> dict[str, str] | None:
    if baseline is None:
        return None
    return {"file": baseline.file, "sha256": baseline.sha256, "source": baseline.source}


def _agreement(a: LabelAgreement | None) -> dict[str, float] | None:
    return None if a is None else {"purity": a.purity, "chance": a.chance, "nmi": a.nmi}


def _curve(shares: tuple[tuple[float, float], ...] | None) -> dict[str, float] | None:
    return None if shares is None else {f"{epsilon:g}": share for epsilon, share in shares}


def _phi(spread: Spread) -> dict[str, Any]:
    """PCL's φ after rescaling; before, it is the concentration."""
    if spread.phi is None:
        return {"mean": None, "low": None, "high": None, "missing": spread.phi_missing}
    low, high = float(spread.phi.min()), float(spread.phi.max())
    return {"mean": float(spread.phi.mean()), "low": low, "high": high, "missing": None}


def _nearest_pair(spread: Spread) -> dict[str, Any] | None:
    if spread.nearest_pair is None:
        return None
    p, q, distance = spread.nearest_pair
    return {"p": p, "q": q, "distance": distance}


def _provenance(p: Provenance) -> dict[str, Any]:
    return {
        "source": p.source,
        "sha256": p.sha256,
        "layout": p.layout,
        "layer": p.layer,
        "branch": p.branch,
        "default_branch": p.default_branch,
        "encoder": p.encoder,
        "data": p.data,
        "seed": p.seed,
        "command": p.command,
        "versions": p.versions,
        "device": p.device,
        "seconds": round(p.seconds, 3),
        "notes": list(p.notes),
    }
