"""Each number written from its formula, slowly: loops and numpy in float64, nothing of ours.

Functions take the unit rows (n, d), or those and an assignment, as float64 and integer arrays.
"""

import math
from itertools import combinations, permutations

import numpy as np
from scipy.stats import entropy

FLOAT32 = 2.0**-23
NO_LENGTH = 1e-12  # a mean shorter than this is no direction: the first row stands in


def alignment(rows, pairs):
    """Wang & Isola: E‖x−y‖² over positive pairs."""
    return np.mean([math.dist(rows[i], rows[j]) ** 2 for i, j in pairs])


def uniformity(rows):
    """Wang & Isola: log E exp(−2‖x−y‖²) over pairs of distinct rows."""
    pairs = list(combinations(rows, 2))
    return math.log1p(sum(math.expm1(-2 * math.dist(x, y) ** 2) for x, y in pairs) / len(pairs))


def correlation(rows, temperature=0.1):
    """The poster's p-corr: E Σ c_p log(c_q / c_p) over ordered pairs, c = softmax(row / T)."""
    logs = [x / temperature - np.logaddexp.reduce(x / temperature) for x in rows]
    return np.mean([(np.exp(p) * (q - p)).sum() for p, q in permutations(logs, 2)])


def koleo(rows):
    """−E log(min ‖x − y‖ + 1e-8)."""
    nearest = [
        min(math.dist(x, y) for j, y in enumerate(rows) if i != j) for i, x in enumerate(rows)
    ]
    return -np.mean([math.log(r + 1e-8) for r in nearest])


def mean_cosine(rows):
    """Over pairs of distinct rows."""
    return np.mean([x @ y for x, y in combinations(rows, 2)])


def resultant(rows):
    """Length of the mean."""
    return min(1.0, np.linalg.norm(rows.mean(0)))


def singular(rows, *, centred):
    """Singular values of the matrix over √n; those whose squares are rounding are 0."""
    n, d = rows.shape
    shifted = rows - rows.mean(0) if centred else rows
    values = np.linalg.svd(shifted / math.sqrt(n), compute_uv=False)
    return np.where(values**2 > max(FLOAT32**2, d * 2.0**-52), values, 0.0)


def rankme(rows):
    """Garrido et al.: exp of the entropy of σ/‖σ‖₁ + ε, uncentred, ε = 1e-7."""
    values = singular(rows, centred=False)
    shares = values / values.sum() + 1e-7
    return math.exp(-sum(p * math.log(p) for p in shares))


def effective_rank(rows, *, centred):
    """Roy & Vetterli: exp of the entropy of σ/‖σ‖₁; 0 where all are 0."""
    values = singular(rows, centred=centred)
    return math.exp(entropy(values)) if values.sum() > 0 else 0.0


def participation_ratio(rows):
    """(Σλ)²/Σλ² of the centred covariance; 0 where all are 0."""
    variances = singular(rows, centred=True) ** 2
    return variances.sum() ** 2 / (variances**2).sum() if variances.sum() > 0 else 0.0


def variance(rows):
    """E‖x − mean‖², less what lies in directions at rounding level."""
    return (singular(rows, centred=True) ** 2).sum()


def w2_uniformity(rows):
    """Fang et al.: √(‖μ‖² + 1 + tr Σ − 2/√d tr Σ^½), Σ over n."""
    mean, covariance = rows.mean(0), np.cov(rows.T, bias=True)
    root = np.linalg.norm(rows - mean, "nuc") / math.sqrt(len(rows))  # sum of singular values
    squared = mean @ mean + 1 + np.trace(covariance) - 2 / math.sqrt(rows.shape[1]) * root
    return math.sqrt(max(0.0, squared))


def power_law(rows):
    """α-ReQ: slope of log λ on log i with weights 1/i, i = 6…100, and its R²; None for few."""
    variances = singular(rows, centred=True) ** 2
    variances = variances[variances > 0][:100]
    if len(variances) < 10:
        return None
    i = np.arange(6, len(variances) + 1)
    x, y, weights = np.log(i), np.log(variances[5:]), 1 / i
    slope, offset = np.polyfit(x, y, 1, w=np.sqrt(weights))
    rest = weights @ (y - slope * x - offset) ** 2
    total = weights @ (y - np.average(y, weights=weights)) ** 2
    return -slope, 1 - rest / total if total > 1e-20 else 0.0  # flat: nothing to explain


def direction(members):
    """Mean direction."""
    mean = members.mean(0)
    chosen = members[0] if np.linalg.norm(mean) <= NO_LENGTH else mean
    return chosen / np.linalg.norm(chosen)


def clouds(rows, assignment):
    """Rows of each prototype that has any."""
    return [rows[assignment == p] for p in np.unique(assignment)]


def directions(rows, assignment):
    """Mean direction of each prototype that has members."""
    return np.array([direction(members) for members in clouds(rows, assignment)])


def members_align(rows, assignment):
    """E‖v − c_s‖² of rows to the direction of their own prototype."""
    total = 0.0
    for members in clouds(rows, assignment):
        total += sum(math.dist(x, direction(members)) ** 2 for x in members)
    return total / len(rows)


def p_uniform(centres):
    """The poster's p-uniform: E exp(−2‖c_p − c_q‖²)."""
    return np.mean([math.exp(-2 * math.dist(p, q) ** 2) for p, q in combinations(centres, 2)])


def resultants(rows, assignment):
    """Length of each prototype's mean."""
    return [resultant(members) for members in clouds(rows, assignment)]


def concentrations(rows, assignment):
    """PCL main_pcl.py: mean distance to the centroid / ln(Z + 10), filled and clipped."""
    found = []
    for members in clouds(rows, assignment):
        away = [math.dist(x, members.mean(0)) for x in members]
        found.append(sum(away) / len(away) / math.log(len(away) + 10) if len(away) > 1 else None)
    largest = max([f for f in found if f is not None], default=0.0)
    filled = np.array([largest if f is None else f for f in found])
    return filled.clip(np.percentile(filled, 10), np.percentile(filled, 90))


def nearest_distances(centres):
    """½‖c_p − c_q‖² = 1 − cos to the nearest other prototype."""
    return [
        min(math.dist(p, q) ** 2 / 2 for j, q in enumerate(centres) if i != j)
        for i, p in enumerate(centres)
    ]


def usage(sizes):
    """Entropy over log K, perplexity, Gini as half the relative mean difference, expected dead."""
    n, k = sum(sizes), len(sizes)
    apart = sum(abs(a - b) for a in sizes for b in sizes)
    even = entropy(sizes) / math.log(k) if k > 1 else 1.0
    return even, math.exp(entropy(sizes)), apart / (2 * k * n), k * (1 - 1 / k) ** n


def two_nn(rows):
    """Facco et al.'s d, the largest tenth of ratios censored; None for few distinct rows."""
    rows = np.unique(rows, axis=0)
    if len(rows) < 20:
        return None
    ratios = []
    for i, x in enumerate(rows):
        first, second = sorted(math.dist(x, y) for j, y in enumerate(rows) if i != j)[:2]
        ratios.append(math.log(second / first))
    kept = sorted(ratios)[: len(ratios) - len(ratios) // 10]
    return len(kept) / (sum(kept) + (len(ratios) - len(kept)) * kept[-1])
