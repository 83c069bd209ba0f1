"""How evenly prototypes are used."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from nemd_toolkit.prototypes import Prototypes

__all__ = ["Usage", "measure_usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Shares of the samples that prototypes hold."""

    sizes: Int[np.ndarray, " k"]
    used: int  # prototypes with members
    entropy: float  # H(shares) / log K in [0, 1]; 1 = all equal
    perplexity: float  # exp H, in [1, K]: the number of equally used prototypes that it equals
    largest_share: float  # in [1/K, 1]
    gini: float  # in [0, 1 − 1/K]; 0 = all equal


def measure_usage(prototypes: Prototypes) -> Usage:
    """Measure the sizes of all K prototypes, unused ones included.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_labels
    >>> e = Embeddings([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], labels=[0, 0, 1, 1])
    >>> usage = measure_usage(prototypes_from_labels(e))
    >>> usage.entropy, usage.perplexity, usage.gini
    (1.0, 2.0, 0.0)
    """
    sizes = prototypes.sizes.numpy()
    shares = sizes / sizes.sum()
    present = shares[shares > 0]
    entropy = float(-(present * np.log(present)).sum())
    k = len(sizes)
    ranks = np.arange(1, k + 1)
    return Usage(
        sizes=sizes,
        used=len(present),
        entropy=entropy / float(np.log(k)) if k > 1 else 1.0,
        perplexity=float(np.exp(entropy)),
        largest_share=float(shares.max()),
        gini=float(((2 * ranks - k - 1) * np.sort(shares)).sum() / k),
    )
