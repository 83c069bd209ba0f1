"""How evenly prototypes are used, beside what N samples would show if all shares were equal.

With finite N some prototypes stay empty and shares differ by chance alone: every number has its
null, N balls thrown into K equal boxes.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, expm1, log, log1p, sqrt

import numpy as np
from jaxtyping import Int

from nemd_toolkit.measures.intervals import LEVEL, Interval
from nemd_toolkit.prototypes import Prototypes

__all__ = ["NULL_DRAWS", "Usage", "UsageNull", "measure_usage", "usage_null", "usage_of"]

NULL_DRAWS = 400  # of the multinomial; ten lie beyond each end of the 95 % band


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageNull:
    """What N samples show when K prototypes have equal shares.

    `dead` and `dead_sd` are exact; the others are means over draws with the 2.5…97.5 % of them.
    """

    dead: float  # expected number of prototypes without members
    dead_sd: float  # its standard deviation
    entropy: Interval
    perplexity: Interval
    gini: Interval
    draws: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Shares of the samples that prototypes hold."""

    sizes: Int[np.ndarray, " k"]
    used: int  # prototypes with members
    entropy: float  # H(shares) / log K in [0, 1]; 1 = all equal
    perplexity: float  # exp H, in [1, K]: the number of equally used prototypes that it equals
    largest_share: float  # in [1/K, 1]
    gini: float  # in [0, 1 − 1/K]; 0 = all equal
    null: UsageNull

    @property
    def dead(self) -> int:
        """Prototypes without members, in 0…K−1; compare with `null.dead`."""
        return len(self.sizes) - self.used


def measure_usage(prototypes: Prototypes, *, seed: int = 0) -> Usage:
    """Measure the sizes of all K prototypes, unused ones included; `seed` is that of the null.

    Of shares s_k = N_k/N: entropy H = −Σ s log s over log K, perplexity exp H, and Gini coefficient
    Σ_k,l |s_k − s_l| / (2K), half the relative mean difference. All depend on N and K by chance
    alone, see `usage_null`.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_labels
    >>> e = Embeddings([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], labels=[0, 0, 1, 1])
    >>> usage = measure_usage(prototypes_from_labels(e))
    >>> usage.entropy, usage.perplexity, usage.gini, usage.dead, usage.null.dead
    (1.0, 2.0, 0.0, 0, 0.125)
    """
    return usage_of(prototypes.sizes.numpy(), seed=seed)


def usage_of(sizes: Int[np.ndarray, " k"], *, seed: int = 0) -> Usage:
    """Measure the number of samples of each of K prototypes, as `measure_usage` does.

    >>> usage_of(np.array([2, 2])).perplexity
    2.0
    """
    entropy, perplexity, gini = _evenness(sizes)
    return Usage(
        sizes=sizes,
        used=int((sizes > 0).sum()),
        entropy=entropy,
        perplexity=perplexity,
        largest_share=float(sizes.max() / sizes.sum()),
        gini=gini,
        null=usage_null(int(sizes.sum()), len(sizes), seed=seed),
    )


@lru_cache(maxsize=16)  # runs under comparison share their null
def usage_null(count: int, k: int, *, seed: int) -> UsageNull:
    """Give the null for `count` ≥ 1 samples and `k` ≥ 1 prototypes of equal shares.

    The number of empty boxes (Johnson & Kotz, Urn Models, 1977, §3.2): mean K(1−1/K)^N, variance
    K(1−1/K)^N + K(K−1)(1−2/K)^N − K²(1−1/K)^{2N}. The evenness numbers are drawn.

    >>> null = usage_null(2, 2, seed=0)
    >>> null.dead, null.dead_sd, null.gini.low, null.gini.high
    (0.5, 0.5, 0.0, 0.5)
    """
    generator = np.random.default_rng(seed)
    shares = np.full(k, 1 / k)
    drawn = np.array([_evenness(generator.multinomial(count, shares)) for _ in range(NULL_DRAWS)])
    entropy, perplexity, gini = (_band(column) for column in drawn.T)
    dead, sd = _empty_boxes(count, k)
    return UsageNull(
        dead=dead,
        dead_sd=sd,
        entropy=entropy,
        perplexity=perplexity,
        gini=gini,
        draws=NULL_DRAWS,
    )


def _empty_boxes(count: int, k: int) -> tuple[float, float]:
    """Mean and standard deviation of the number of empty boxes."""
    if k == 1:
        return 0.0, 0.0
    mean = k * exp(count * log1p(-1 / k))
    if k == 2:  # both boxes are never empty together
        return mean, sqrt(max(0.0, mean - mean**2))
    both = exp(count * log1p(-2 / k))
    # K²[(1−2/K)^N − (1−1/K)^{2N}] without the difference of two nearly equal numbers
    covariance = mean**2 * expm1(count * log1p(-1 / (k - 1) ** 2))
    return mean, sqrt(max(0.0, mean - k * both + covariance))


def _evenness(sizes: Int[np.ndarray, " k"]) -> tuple[float, float, float]:
    """Entropy over log K, perplexity and Gini coefficient of the shares."""
    k = len(sizes)
    shares = sizes / sizes.sum()
    present = shares[shares > 0]
    entropy = max(0.0, float(-(present * np.log(present)).sum()))  # a lone share gives −0.0
    ranks = np.arange(1, k + 1)
    gini = float(((2 * ranks - k - 1) * np.sort(shares)).sum() / k)
    return entropy / log(k) if k > 1 else 1.0, exp(entropy), gini


def _band(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=float(values.mean()), low=float(low), high=float(high))
