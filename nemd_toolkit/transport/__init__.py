"""Optimal transport between clouds, exact or in certified intervals; the only code that knows POT.

clouds → kernels (bounds, plans, simplex) → workers (threads) → host, device → many (for callers)
→ moments → all_pairs, nearest (where there are too many pairs to solve).
"""

from nemd_toolkit.transport.all_pairs import AllPairs, all_pairs_wasserstein1
from nemd_toolkit.transport.many import pairwise_wasserstein1, wasserstein1
from nemd_toolkit.transport.moments import MemberClouds
from nemd_toolkit.transport.nearest import Nearest, nearest_clouds
from nemd_toolkit.transport.results import Pairs, Transport, pairs_by_rank

__all__ = [
    "AllPairs",
    "MemberClouds",
    "Nearest",
    "Pairs",
    "Transport",
    "all_pairs_wasserstein1",
    "nearest_clouds",
    "pairs_by_rank",
    "pairwise_wasserstein1",
    "wasserstein1",
]
