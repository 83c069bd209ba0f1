"""The JSON document of an analysis, schema nemd-report/1 (DESIGN §5)."""

import json
from typing import Any

from nemd_toolkit.findings import Baseline, Finding
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.nemd import Nemd
from nemd_toolkit.measures.summary import ClusteringMeasures, Measures, NemdSummary
from nemd_toolkit.report.analysis import Analysis, Provenance

__all__ = ["SCHEMA", "document", "measures_part", "to_json"]

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
        "findings": [_finding(f) for f in analysis.findings],
        "measures": measures_part(analysis.measures),
        "provenance": _provenance(analysis.provenance) | {"baseline": _baseline(analysis.baseline)},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.about.code,
        "name": finding.about.name,
        "status": finding.status,
        "would_be": finding.would_be,  # of an ignored finding
        "relative": finding.relative,  # judged against the baseline
        "message": finding.message,
        "measured": finding.measured,
        "threshold": finding.threshold,
        "remedy": finding.about.remedy,
    }


def measures_part(m: Measures) -> dict[str, Any]:
    """Give what stands under `measures`."""
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
            "mean_cosine": m.instance.mean_cosine,
            "resultant": m.instance.resultant,
        },
        "spectrum": {
            "rankme": spectrum.rankme,
            "effective_rank": spectrum.effective_rank,
            "effective_rank_centred": spectrum.effective_rank_centred,
            "participation_ratio": spectrum.participation_ratio,
            "variance": spectrum.variance,
            "cap": spectrum.cap,
            "null_effective_rank": spectrum.null_effective_rank,
            "null_rows": spectrum.null_rows,
            "singular_centred": spectrum.singular_centred.tolist(),
        },
        "neural_collapse": None,
        "quality": None,
    }


def _nemd(nemd: NemdSummary | Nemd | None, missing: str | None) -> dict[str, Any]:
    if nemd is None:
        empty = dict.fromkeys(("raw", "excess", "score", "n", "exact", "certified_width"))
        return {**empty, "pairs": 0, "missing": missing}
    fields = {
        "raw": _interval(nemd.raw),
        "excess": _interval(nemd.excess),
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
        }
    return fields


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
            "duplicates": {f"{epsilon:g}": share for epsilon, share in c.spread.duplicates},
        },
        "prototype": {
            "align": c.geometry.align,
            "align_positives": c.geometry.align_positives,
            "uniform": c.geometry.uniform,
            "corr": c.geometry.corr,
        },
    }


def _baseline(baseline: Baseline | None) -> dict[str, str] | None:
    if baseline is None:
        return None
    return {"file": baseline.file, "sha256": baseline.sha256, "source": baseline.source}


def _provenance(p: Provenance) -> dict[str, Any]:
    return {
        "source": p.source,
        "sha256": p.sha256,
        "layout": p.layout,
        "layer": p.layer,
        "data": p.data,
        "seed": p.seed,
        "command": p.command,
        "versions": p.versions,
        "device": p.device,
        "seconds": round(p.seconds, 3),
        "notes": list(p.notes),
    }
