"""Optimal transport between clouds, exact or in certified intervals; the only code that knows POT.

clouds → kernels (bounds, plans, simplex) → workers (threads) → host, device → many (for callers).
"""

from nemd_toolkit.transport.many import pairwise_wasserstein1, wasserstein1
from nemd_toolkit.transport.results import Pairs, Transport

__all__ = ["Pairs", "Transport", "pairwise_wasserstein1", "wasserstein1"]
