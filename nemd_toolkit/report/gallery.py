"""The figures of an analysis, each with how to read it and what a reader without eyes hears."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure

from nemd_toolkit.figures.duplicates import draw_duplicates
from nemd_toolkit.figures.matrix import draw_matrix
from nemd_toolkit.figures.pairs import draw_pairs
from nemd_toolkit.figures.resultants import draw_resultants
from nemd_toolkit.figures.scale import Row, draw_scale, rows_of
from nemd_toolkit.figures.spectrum import draw_spectra
from nemd_toolkit.figures.sphere_map import MOST_COLOURS, draw_map
from nemd_toolkit.figures.usage import draw_usage
from nemd_toolkit.findings import Finding, Thresholds
from nemd_toolkit.measures import Measures, Nemd
from nemd_toolkit.measures.order import seriate
from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.wording import interval, number

__all__ = ["Picture", "gallery", "limit", "scale_picture"]


MOST_SCALE_ROWS = 9  # beside the verdict; all clusterings are in report.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure with its words."""

    name: str  # of the file and of ids
    title: str
    reading: str  # one sentence: how to read it
    alt: str  # what it shows, in numbers
    figure: Figure


def gallery(analysis: Analysis) -> list[Picture]:
    """All figures that this analysis has something to show in, the scale first."""
    m = analysis.measures
    pictures = [scale_picture(analysis)]
    chosen = _chosen(m.clusterings)
    if chosen.nemd is not None:
        pictures += _pair_pictures(chosen, chosen.nemd)
    pictures += [_duplicates(analysis), _resultants(m), _usage(chosen), _spectrum(m), _map(m)]
    return pictures


def limit(findings: tuple[Finding, ...], code: str, name: str, default: float) -> float:
    """Threshold `name` that finding `code` was judged by; the default where it was not judged."""
    return next((f.threshold.get(name, default) for f in findings if f.about.code == code), default)


def scale_picture(analysis: Analysis) -> Picture:
    """Give the score on its scale, per clustering and combined."""
    found, limits = analysis.findings, Thresholds()
    every = rows_of(analysis.measures)
    baseline = analysis.baseline.numbers.score if analysis.baseline else None
    if analysis.baseline:
        every.insert(1, Row(name="baseline, all clusterings", score=baseline))
    rows = every[:MOST_SCALE_ROWS]
    fires = "would fire without a baseline" if analysis.baseline else "warns and fires"
    told = "; ".join(f"{r.name} {interval(r.score) if r.score else 'no score'}" for r in rows)
    return Picture(
        name="scale",
        title="NEMD score on its scale",
        reading="Left is as spread as uniform noise, right is every prototype shrunk to a point; "
        f"bars are 95 % intervals, shaded is where the check for coagulation {fires}."
        + (
            f" The first {len(rows) - 1 - bool(analysis.baseline)} clusterings."
            if len(rows) < len(every)
            else ""
        ),
        alt=f"NEMD scores: {told}.",
        figure=draw_scale(
            rows,
            warning=limit(found, "NEMD002", "score_warning", limits.coagulation_warning),
            issue=limit(found, "NEMD002", "score_issue", limits.coagulation_issue),
        ),
    )


def _chosen(clusterings: tuple[ClusteringMeasures, ...]) -> ClusteringMeasures:
    """Finest clustering with every pair measured, else the coarsest with NEMD, else the first."""
    found = [(c.nemd, c) for c in clusterings if c.nemd is not None]
    whole = [(n, c) for n, c in found if n.pairs == n.pairs_total]
    if whole:
        return max(whole, key=lambda pair: pair[0].prototypes)[1]
    return min(found, key=lambda pair: pair[0].prototypes)[1] if found else clusterings[0]


def _order(c: ClusteringMeasures) -> Int[np.ndarray, " u"]:
    order: Int[np.ndarray, " u"] = c.spread.which[seriate(c.prototypes.mean_directions().numpy())]
    return order


def _called(c: ClusteringMeasures) -> str:
    return f"K={c.k}, {c.source}"


def _pair_pictures(c: ClusteringMeasures, nemd: Nemd) -> Iterator[Picture]:
    yield Picture(
        name="pairs",
        title=f"Pairs of prototypes between the anchors ({_called(c)})",
        reading="Each pair's distance; excess near the dotted line is as close as in noise, near "
        "the dashed line as far as if both prototypes were points. Raw depends on n.",
        alt=f"{nemd.pairs:,} pairs: raw {interval(nemd.raw)} with uniform anchor "
        f"{number(nemd.raw_uniform)}; excess {interval(nemd.excess)} between anchors "
        f"{nemd.excess_uniform:.2f} (uniform) and {nemd.excess_collapsed:.2f} (collapsed).",
        figure=draw_pairs(nemd),
    )
    order = _order(c)
    compared = order[np.isin(order, nemd.table.pairs)]
    yield Picture(
        name="matrix",
        title=f"Distance between every two prototypes ({_called(c)})",
        reading="Dark cells are pairs whose samples lie close, blocks are families of prototypes; "
        "grey was not measured.",
        alt=f"Excess W1 of {nemd.pairs:,} pairs of {len(compared)} prototypes, from "
        f"{nemd.table.excess.min():.2f} to {nemd.table.excess.max():.2f}.",
        figure=draw_matrix(nemd, compared),
    )


def _duplicates(analysis: Analysis) -> Picture:
    clusterings, limits = analysis.measures.clusterings, Thresholds()
    epsilon = limit(analysis.findings, "NEMD003", "epsilon", limits.duplicate_epsilon)
    share = limit(analysis.findings, "NEMD003", "share", limits.duplicate_share)
    told = "; ".join(
        f"{_called(c)}: {dict(c.spread.duplicates).get(epsilon, 0):.0%}" for c in clusterings[:9]
    )
    return Picture(
        name="duplicates",
        title="Prototypes that repeat another",
        reading="A curve that is high already at small distances means that prototypes coincide; "
        "the short bar is the limit of the check.",
        alt=f"Share of prototypes that repeat another within cosine distance {epsilon:g}: {told}.",
        figure=draw_duplicates(clusterings, epsilon=epsilon, share=share),
    )


def _resultants(m: Measures) -> Picture:
    told = "; ".join(f"{_called(c)}: mean {c.spread.mean_resultant:.2f}" for c in m.clusterings[:9])
    return Picture(
        name="resultants",
        title="How tight each prototype is",
        reading="The resultant is the length of the mean of a prototype's members: 1 is a single "
        "point, near 0 is spread over the whole sphere.",
        alt=f"Sorted resultants. {told}.",
        figure=draw_resultants(m.clusterings),
    )


def _usage(c: ClusteringMeasures) -> Picture:
    return Picture(
        name="usage",
        title=f"How many samples each prototype holds ({_called(c)})",
        reading="Bars level with the dashed line are an even use; a cliff means that a few "
        "prototypes hold most samples.",
        alt=f"{c.usage.used} of {c.k} prototypes are used, perplexity {c.usage.perplexity:.1f}, "
        f"largest share {c.usage.largest_share:.1%}.",
        figure=draw_usage(c.usage),
    )


def _spectrum(m: Measures) -> Picture:
    s = m.spectrum
    return Picture(
        name="spectrum",
        title="How many directions are in use",
        reading="A line that falls off a cliff uses few directions; the broad grey line is what "
        "uniform points of the same N and d have.",
        alt=f"Centred effective rank {s.effective_rank_centred:.1f} of {s.cap} possible; uniform "
        f"points have {s.null_effective_rank:.1f}.",
        figure=draw_spectra([("these embeddings", s)]),
    )


def _map(m: Measures) -> Picture:
    c = min(m.clusterings, key=lambda c: c.k)
    rank = np.zeros(c.k, dtype=np.int64)
    colours = "colour and shape are the prototype"
    if c.k > MOST_COLOURS:
        rank[_order(c)] = np.arange(c.usage.used)
        colours = "near prototypes have near colours"
    shown = m.projection.explained[0] + m.projection.explained[1]
    return Picture(
        name="map",
        title=f"Map of the sphere ({_called(c)})",
        reading=f"To look at; not part of the verdict: two principal axes hold {shown:.0%} of the "
        f"variance, so groups that overlap here may well be apart; {colours}.",
        alt=f"Scatter of {len(m.projection.rows):,} embeddings on two principal axes.",
        figure=draw_map(m.projection, c.prototypes, rank),
    )
