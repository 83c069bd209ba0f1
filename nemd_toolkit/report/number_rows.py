"""The key numbers of an analysis as rows: each with its name, its meaning and its range."""

from collections.abc import Callable
from dataclasses import dataclass

from nemd_toolkit.measures import Interval, Measures
from nemd_toolkit.measures.nemd import Nemd
from nemd_toolkit.measures.spectrum import Spectrum
from nemd_toolkit.measures.spread import Spread
from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.report.wording import interval, number, percent

__all__ = ["NumberRow", "embedding_numbers", "prototype_numbers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRow:
    """One number under each column."""

    name: str
    meaning: str
    values: tuple[str, ...]


def prototype_numbers(
    clusterings: tuple[ClusteringMeasures, ...], epsilon: float
) -> list[NumberRow]:
    """Give the numbers of each clustering; `epsilon` is the distance that duplicates count at."""
    return [
        NumberRow(name=name, meaning=meaning, values=tuple(value(c) for c in clusterings))
        for name, meaning, value in (
            *_DISTANCES,
            *_duplicates(epsilon),
            *_TERMS,
            *(_LABELS if any(c.agreement is not None for c in clusterings) else ()),
        )
    ]


_NONE = "none"
_Row = tuple[str, str, Callable[[ClusteringMeasures], str]]

_DISTANCES: tuple[_Row, ...] = (
    (
        "NEMD score",
        "0 = as close as the same pipeline finds in uniform noise, 1 = every prototype a point. "
        "Compare by this one.",
        lambda c: interval(c.nemd.score if c.nemd else None),
    ),
    (
        "NEMD excess",
        "W1 between two prototypes less W1 between halves of each; 0 for equal clouds.",
        lambda c: interval(c.nemd.excess if c.nemd else None),
    ),
    (
        "energy distance",
        "Half of Székely & Rizzo's, on the scale of the excess, which it follows without "
        "transport.",
        lambda c: interval(c.nemd.energy if c.nemd else None),
    ),
    (
        "NEMD raw",
        "Mean W1 between two prototypes, the poster's number. Depends on n and d.",
        lambda c: interval(c.nemd.raw if c.nemd else None),
    ),
    (
        "excess without groups",
        "The same k-means on points with this mean and these axes, but no groups; the excess "
        "above it is what groups add.",
        lambda c: number(c.nemd.excess_spectrum if c.nemd else None),
    ),
    (
        "beyond axes",
        "Place of the excess between that and collapse, 0 … 1: few axes bring clouds together "
        "without any group. NEMD002 asks for 0.65.",
        lambda c: number(c.nemd.beyond_axes if c.nemd else None),
    ),
    (
        "clumping",
        "Nearest over mean distance of members of one prototype (16 of each): near 0 where it "
        "holds several tight clumps, so that there are more groups than prototypes.",
        lambda c: number(c.nemd.clumping if c.nemd else None),
    ),
    (
        "runs of k-means",
        "That the values are means of, and the excess's standard deviation over them.",
        lambda c: _runs(c.nemd),
    ),
    (
        "compared",
        "Prototypes with members for two halves of n points, of those in use.",
        lambda c: f"{c.nemd.prototypes if c.nemd else 0:,} of {c.usage.used:,}",
    ),
    (
        "pairs",
        "Measured, of all that exist, and the points in each cloud.",
        lambda c: f"{c.nemd.pairs:,} of {c.nemd.pairs_total:,}, n={c.nemd.n}" if c.nemd else "none",
    ),
    ("used", "Prototypes that hold any sample.", lambda c: f"{c.usage.used:,} of {c.k:,}"),
    (
        "dead",
        "Prototypes without any sample, and how many N samples leave empty by chance where all "
        "shares are equal, with the standard deviation.",
        lambda c: f"{c.usage.dead:,} ({c.usage.null.dead:,.1f} ± {c.usage.null.dead_sd:,.1f})",
    ),
    (
        "usage entropy",
        "Of the prototypes' shares, over ln K: 1 = all equal. In brackets here and below: what "
        "equal shares show at this N.",
        lambda c: f"{number(c.usage.entropy)} {_band(c.usage.null.entropy, 3)}",
    ),
    (
        "perplexity",
        "As many equally used prototypes would be used as evenly, 1 … K.",
        lambda c: f"{number(c.usage.perplexity, 1)} {_band(c.usage.null.perplexity, 1)}",
    ),
    (
        "Gini",
        "Of the shares: 0 = all equal, towards 1 = one prototype holds all.",
        lambda c: f"{number(c.usage.gini)} {_band(c.usage.null.gini, 3)}",
    ),
    (
        "mean resultant",
        "0 = members spread over the sphere, 1 = every prototype a single point.",
        lambda c: number(c.spread.mean_resultant),
    ),
    (
        "concentration",
        "Mean over prototypes of PCL's φ before rescaling: distance of members to their centroid, "
        "over ln(size + 10). 0 = members coincide.",
        lambda c: number(float(c.spread.concentrations.mean())),
    ),
    (
        "φ, rescaled",
        "Least and greatest after PCL's scaling to a mean of 0.2, which looks normal even where "
        "prototypes have all but shrunk to points.",
        lambda c: _phi(c.spread),
    ),
)


def _runs(nemd: Nemd | None) -> str:
    if nemd is None or nemd.run_deviation is None:
        return "1" if nemd is not None else "none"
    return f"{nemd.runs}, {nemd.run_deviation:.2g}"


def _band(found: Interval, digits: int) -> str:
    return f"({number(found.low, digits)} … {number(found.high, digits)})"


def _duplicates(epsilon: float) -> tuple[_Row, ...]:
    return (
        (
            "duplicates",
            f"Prototypes that repeat another within cosine distance {epsilon:g}.",
            lambda c: percent(dict(c.spread.duplicates).get(epsilon)),
        ),
        (
            "nearest pair",
            "The two prototypes that lie closest, and 1 − their cosine; 0 = they coincide.",
            lambda c: _nearest_pair(c.spread),
        ),
        (
            "most alike",
            "The two measured prototypes of least NEMD excess, and that; about 0 = equal clouds.",
            lambda c: _least_excess(c.nemd),
        ),
    )


_TERMS: tuple[_Row, ...] = (
    (
        "p-align",
        "Mean squared distance of a prototype to itself in other views, or, without views, of "
        "members to their prototype. 0 = aligned, at most 4.",
        lambda c: f"{number(c.geometry.align)} ({c.geometry.align_positives})",
    ),
    (
        "p-uniform",
        "E exp(−2‖cp−cq‖²) over distinct prototypes; lower is more uniform, at most 1.",
        lambda c: number(c.geometry.uniform),
    ),
    (
        "p-corr",
        "−E KL(cp‖cq) at softmax temperature 0.1; 0 = alike, lower is more different.",
        lambda c: number(c.geometry.corr),
    ),
    (
        "KoLeo of prototypes",
        "−E log of the distance to the nearest other; lower is more spread, 18.4 = all repeat.",
        lambda c: number(c.geometry.koleo),
    ),
)


_LABELS: tuple[_Row, ...] = (
    (
        "purity",
        "Share of rows with the commonest label of their prototype; by chance at least the share "
        "of the largest class, and more with more prototypes.",
        lambda c: percent(c.agreement.purity if c.agreement else None),
    ),
    (
        "NMI with labels",
        "Information that prototypes and labels share, 0 = none, 1 = the same partition.",
        lambda c: number(c.agreement.nmi if c.agreement else None),
    ),
)


def _phi(spread: Spread) -> str:
    if spread.phi is None:
        return "undefined"
    return f"{number(float(spread.phi.min()))} … {number(float(spread.phi.max()))}"


def _nearest_pair(spread: Spread) -> str:
    if spread.nearest_pair is None:
        return number(None)
    p, q, distance = spread.nearest_pair
    return f"{number(distance)} (no. {p}, {q})"


def _least_excess(nemd: Nemd | None) -> str:
    if nemd is None:
        return _NONE
    p, q = nemd.table.pairs[nemd.table.nearest].tolist()
    return f"{number(float(nemd.table.excess.min()))} (no. {p}, {q})"


def embedding_numbers(m: Measures) -> list[NumberRow]:
    """Give the numbers of the embeddings themselves."""
    found = (
        *_row_numbers(m),
        *_pair_numbers(m),
        *_rank_numbers(m.spectrum),
        *_dimension_numbers(m),
    )
    return [NumberRow(name=name, meaning=meaning, values=(v,)) for name, meaning, v in found]


def _row_numbers(m: Measures) -> tuple[tuple[str, str, str], ...]:
    r = m.rows
    return (
        (
            "lengths before normalising",
            "Rows are set to length 1 before measuring.",
            f"{number(r.norms[0])} … {number(r.norms[1])}",
        ),
        ("repeated rows", "Share of rows that repeat another exactly.", percent(r.duplicates)),
    )


def _pair_numbers(m: Measures) -> tuple[tuple[str, str, str], ...]:
    i = m.instance
    return (
        (
            "alignment",
            "Wang & Isola: mean squared distance of two views, 0 … 4; needs view groups.",
            number(i.align) if i.align is not None else "no groups given",
        ),
        (
            "uniformity",
            f"Wang & Isola: log E exp(−2‖x−y‖²), −8 … 0, lower is more uniform; over "
            f"{i.uniform_rows:,} rows.",
            number(i.uniform),
        ),
        (
            "correlation",
            "The poster's p-corr with single rows in place of prototypes (ours): −E KL of "
            "softmax(x/0.1) over distinct rows; 0 = alike, lower is more different. Uniform rows "
            "have about −100/d.",
            number(i.corr),
        ),
        (
            "W2 uniformity",
            "Fang et al.: distance to the Gaussian of uniform points, 0 … 1.414, lower is more "
            "uniform. Sees dimensional collapse, which the one above hardly does.",
            number(m.spectrum.w2_uniformity),
        ),
        (
            "KoLeo",
            "−E log of the distance to the nearest other sample, lower is more spread, 18.4 = all "
            f"repeat; over {i.koleo_rows:,} rows. Depends on their number.",
            number(i.koleo),
        ),
        ("mean cosine", "Between two different rows.", number(i.mean_cosine)),
        (
            "cone share",
            "Share of the squared length that all rows have in common: squared resultant.",
            percent(i.resultant**2),
        ),
    )


def _rank_numbers(s: Spectrum) -> tuple[tuple[str, str, str], ...]:
    return (
        (
            "variance around the mean",
            "The other share; 0 = all rows are one point.",
            f"{s.variance:.3g}",
        ),
        (
            "effective rank, centred",
            f"Roy & Vetterli: exp of the entropy of singular values after subtracting the mean; "
            f"at most {s.cap:,}. Uniform points have {s.null_effective_rank:.1f}.",
            number(s.effective_rank_centred, 1),
        ),
        ("effective rank, uncentred", "The same on the rows as they are.", _rank(s.effective_rank)),
        (
            "RankMe",
            "Garrido et al.: uncentred singular values, ε = 1e-7. Other codes define it otherwise.",
            _rank(s.rankme),
        ),
        (
            "participation ratio",
            "(Σλ)²/Σλ² of the centred covariance.",
            _rank(s.participation_ratio),
        ),
    )


def _dimension_numbers(m: Measures) -> tuple[tuple[str, str, str], ...]:
    law, local, lidar = m.spectrum.power_law, m.intrinsic, m.lidar
    return (
        (
            "α-ReQ",
            "Agrawal et al.: exponent of the decay of variances with their rank. Their best is "
            "near 1; 0 = all alike, large = few directions hold all. Read it where R² is high."
            + _why_none(law.missing),
            f"{number(law.alpha, 2)} (R² {number(law.r_squared, 2)}, ranks {law.first}–{law.last})"
            if law.alpha is not None
            else _NONE,
        ),
        (
            "intrinsic dimension",
            f"2NN (Facco et al.): coordinates needed locally, from the two nearest neighbours of "
            f"{local.rows:,} samples among {local.among:,}. Low = a thin set; an underestimate "
            "where above 5 or so." + _why_none(local.missing),
            interval(local.dimension, 1) if local.dimension else _NONE,
        ),
        (
            "LiDAR",
            "Thilak et al.: effective rank of what tells samples apart beyond their views (δ = "
            f"{lidar.delta:g}); higher is better, at least 1." + _why_none(lidar.missing),
            f"{number(lidar.rank, 1)} of {lidar.cap:,} (n={lidar.samples:,}, q={lidar.views})"
            if lidar.cap is not None
            else _NONE,
        ),
    )


def _why_none(missing: str | None) -> str:
    return "" if missing is None else f" None here: {missing}."


def _rank(value: float) -> str:
    return number(value, 1)
