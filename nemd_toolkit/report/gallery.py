"""The figures of an analysis, each with how to read it and what a reader without eyes hears."""

from collections.abc import Iterator
from math import exp, log

import numpy as np
from jaxtyping import Int

from nemd_toolkit.figures.duplicates import draw_duplicates
from nemd_toolkit.figures.matrix import draw_matrix
from nemd_toolkit.figures.member_spread import draw_member_spread
from nemd_toolkit.figures.pairs import draw_pairs
from nemd_toolkit.figures.plane import PlanePoint, draw_plane
from nemd_toolkit.figures.resultants import draw_resultants
from nemd_toolkit.figures.scale import Row, draw_scale, rows_of
from nemd_toolkit.figures.spectrum import draw_spectra
from nemd_toolkit.figures.sphere_map import MOST_COLOURS, draw_map, draw_places
from nemd_toolkit.figures.usage import draw_usage
from nemd_toolkit.findings import Finding, Thresholds
from nemd_toolkit.measures import Measures, Nemd
from nemd_toolkit.measures.instance import uniformity_of_noise
from nemd_toolkit.measures.member_distances import measure_member_distances
from nemd_toolkit.measures.order import seriate
from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.report import figure_data
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.figure_data import called
from nemd_toolkit.report.neighbour_map import NeighbourMap
from nemd_toolkit.report.picture import Hover, Picture
from nemd_toolkit.report.tables import pair_table
from nemd_toolkit.report.wording import interval, number, shortened

__all__ = ["chosen_clustering", "gallery", "limit", "order_of", "scale_picture"]


MOST_PLANE_POINTS = 11  # beside that of the embeddings
TINY = exp(-8.0)  # least uniformity of prototypes there is
MOST_SCALE_ROWS = 9  # beside the verdict; all clusterings are in report.json


def gallery(analysis: Analysis) -> list[Picture]:
    """All figures that this analysis has something to show in, the scale first."""
    m = analysis.measures
    pictures = [scale_picture(analysis)]
    chosen = chosen_clustering(m.clusterings)
    if chosen.nemd is not None:
        pictures += _pair_pictures(chosen, chosen.nemd)
    pictures += [_duplicates(analysis), _resultants(m), _member_spread(chosen), _usage(chosen)]
    pictures += [_spectrum(m), _plane(m), _map(m)]
    if analysis.neighbour_map is not None:
        pictures.append(_neighbours(m, analysis.neighbour_map))
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
        data=figure_data.scale_data(rows),
        hover=Hover(x="score", y="place", hidden=("place",)),
    )


def chosen_clustering(clusterings: tuple[ClusteringMeasures, ...]) -> ClusteringMeasures:
    """Finest clustering with every pair measured, else the coarsest with NEMD, else the first."""
    found = [(c.nemd, c) for c in clusterings if c.nemd is not None]
    whole = [(n, c) for n, c in found if n.pairs == n.pairs_total]
    if whole:
        return max(whole, key=lambda pair: pair[0].prototypes)[1]
    return min(found, key=lambda pair: pair[0].prototypes)[1] if found else clusterings[0]


def order_of(c: ClusteringMeasures) -> Int[np.ndarray, " u"]:
    """Give the used prototypes, near ones side by side."""
    order: Int[np.ndarray, " u"] = c.spread.which[seriate(c.prototypes.mean_directions().numpy())]
    return order


def _pair_pictures(c: ClusteringMeasures, nemd: Nemd) -> Iterator[Picture]:
    yield Picture(
        name="pairs",
        title=f"Pairs of prototypes between the anchors ({called(c)})",
        reading="Each pair's distance; excess near the dotted line is as close as in noise, near "
        "the dashed line as far as if both prototypes were points. Raw depends on n.",
        alt=f"{nemd.pairs:,} pairs: raw {interval(nemd.raw)} with uniform anchor "
        f"{number(nemd.raw_uniform)}; excess {interval(nemd.excess)} between anchors "
        f"{nemd.excess_uniform:.2f} (uniform) and {nemd.excess_collapsed:.2f} (collapsed).",
        figure=draw_pairs(nemd),
        data=pair_table(c).drop(columns=["k", "source"]),
    )
    order = order_of(c)
    compared = order[np.isin(order, nemd.table.pairs)]
    yield Picture(
        name="matrix",
        title=f"Distance between every two prototypes ({called(c)})",
        reading="Dark cells are pairs whose samples lie close, blocks are families of prototypes; "
        "grey was not measured.",
        alt=f"Excess W1 of {nemd.pairs:,} pairs of {len(compared)} prototypes, from "
        f"{nemd.table.excess.min():.2f} to {nemd.table.excess.max():.2f}.",
        figure=draw_matrix(nemd, compared),
        data=pair_table(c)[["p", "q", "excess"]],
    )


def _duplicates(analysis: Analysis) -> Picture:
    clusterings, limits = analysis.measures.clusterings, Thresholds()
    epsilon = limit(analysis.findings, "NEMD003", "epsilon", limits.duplicate_epsilon)
    share = limit(analysis.findings, "NEMD003", "share", limits.duplicate_share)
    told = "; ".join(
        f"{called(c)}: {dict(c.spread.duplicates).get(epsilon, 0):.0%}" for c in clusterings[:9]
    )
    return Picture(
        name="duplicates",
        title="Prototypes that repeat another",
        reading="A curve that is high already at small distances means that prototypes coincide; "
        "the short bar is the limit of the check.",
        alt=f"Share of prototypes that repeat another within cosine distance {epsilon:g}: {told}.",
        figure=draw_duplicates(clusterings, epsilon=epsilon, share=share),
        data=figure_data.duplicate_data(clusterings),
        hover=Hover(x="cosine distance", y="share that repeats"),
    )


def _resultants(m: Measures) -> Picture:
    told = "; ".join(f"{called(c)}: mean {c.spread.mean_resultant:.2f}" for c in m.clusterings[:9])
    return Picture(
        name="resultants",
        title="How tight each prototype is",
        reading="The resultant is the length of the mean of a prototype's members: 1 is a single "
        "point, near 0 is spread over the whole sphere.",
        alt=f"Sorted resultants. {told}.",
        figure=draw_resultants(m.clusterings),
        data=figure_data.resultant_data(m.clusterings),
        hover=Hover(x="percent", y="resultant", hidden=("percent",)),
    )


def _usage(c: ClusteringMeasures) -> Picture:
    return Picture(
        name="usage",
        title=f"How many samples each prototype holds ({called(c)})",
        reading="Bars level with the dashed line are an even use; a cliff means that a few "
        "prototypes hold most samples.",
        alt=f"{c.usage.used} of {c.k} prototypes are used, perplexity {c.usage.perplexity:.1f}, "
        f"largest share {c.usage.largest_share:.1%}.",
        figure=draw_usage(c.usage),
        data=figure_data.usage_data(c),
        hover=Hover(x="rank", y="members"),
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
        data=figure_data.spectrum_data([("these embeddings", s)]),
        hover=Hover(x="rank", y="singular value"),
    )


def _member_spread(c: ClusteringMeasures) -> Picture:
    found = measure_member_distances(c.prototypes, c.spread.resultants)
    names = c.prototypes.names
    some = "all" if len(found.which) == found.of else f"{len(found.which)} of"
    told = "; ".join(
        f"{shortened(names[p], 30)} resultant {r:.2f}"
        for p, r in zip(found.which, found.resultants, strict=True)
    )
    return Picture(
        name="members",
        title=f"Members of single prototypes ({called(c)})",
        reading=f"How far members lie from the middle of their prototype, {some} {found.of:,} "
        "prototypes from the tightest to the loosest: a spike at the left edge is a prototype that "
        "has become a point, a hump near √2 one as wide as the sphere.",
        alt=f"Histograms of chords, prototypes by resultant. {told}.",
        figure=draw_member_spread(found, names),
        data=figure_data.member_data(found, names),
    )


def _plane(m: Measures) -> Picture:
    noise = PlanePoint(name="noise", uniform=uniformity_of_noise(m.rows.dim), align=2.0)
    points = list(_plane_points(m))
    told = "; ".join(f"{p.name} {number(p.uniform, 2)}, {number(p.align, 2)}" for p in points)
    views = (
        ""
        if m.instance.align is not None
        else (
            "; views of one sample are not known here, so that single embeddings have no alignment"
        )
    )
    return Picture(
        name="plane",
        title="Alignment and uniformity",
        reading="Low and left is good: positives lie close, and everything else is spread. Noise "
        "is spread but aligns nothing, one point aligns everything and is spread over nothing"
        f"{views}.",
        alt=f"Uniformity and alignment: {told or 'none'}.",
        figure=draw_plane(points, noise),
        data=figure_data.plane_data([*points, noise]),
        hover=Hover(x="uniformity", y="alignment"),
    )


def _plane_points(m: Measures) -> Iterator[PlanePoint]:
    if m.instance.align is not None:
        yield PlanePoint(
            name="embeddings, views", uniform=m.instance.uniform, align=m.instance.align
        )
    for c in m.clusterings[:MOST_PLANE_POINTS]:
        if c.geometry.uniform is not None:
            name = f"{called(c)}: {c.geometry.align_positives}"
            yield PlanePoint(
                name=name, uniform=log(max(c.geometry.uniform, TINY)), align=c.geometry.align
            )


def _map(m: Measures) -> Picture:
    c, rank, colours = _coloured(m)
    first, second = m.projection.explained[:2]
    return Picture(
        name="map",
        title=f"Map of the sphere ({called(c)})",
        reading="To look at; not part of the verdict: two principal axes hold "
        f"{first + second:.0%} of the variance, so groups that overlap here may well be apart; "
        f"{colours}.",
        alt=f"Scatter of {len(m.projection.rows):,} embeddings on two principal axes.",
        figure=draw_map(m.projection, c.prototypes, rank),
        data=figure_data.map_data(c, m.projection.rows, m.projection.points),
        hover=Hover(x="first axis", y="second axis"),
    )


def _neighbours(m: Measures, found: NeighbourMap) -> Picture:
    c, rank, colours = _coloured(m)
    return Picture(
        name="neighbours",
        title=f"Map of neighbours ({found.library}, {called(c)})",
        reading="To look at; not part of the verdict, and another seed or version gives another "
        "map: who lies beside whom means something, gaps and sizes of groups do not; "
        f"{colours}.",
        alt=f"Scatter of {len(found.rows):,} embeddings, neighbours side by side.",
        figure=draw_places(found.points, found.rows, c.prototypes, rank),
        data=figure_data.map_data(c, found.rows, found.points),
        hover=Hover(x="first axis", y="second axis"),
    )


def _coloured(m: Measures) -> tuple[ClusteringMeasures, Int[np.ndarray, " k"], str]:
    """Give the coarsest clustering, the place of each prototype in its colours, and their words."""
    c = min(m.clusterings, key=lambda c: c.k)
    rank = np.zeros(c.k, dtype=np.int64)
    if c.k <= MOST_COLOURS:
        return c, rank, "colour and shape are the prototype"
    rank[order_of(c)] = np.arange(c.usage.used)
    return c, rank, "near prototypes have near colours"
