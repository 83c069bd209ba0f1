"""Exact optimal transport between clouds; the only code that knows POT."""

from nemd_toolkit.transport.exact import Transport, wasserstein1
from nemd_toolkit.transport.many import Pairs, pairwise_wasserstein1

__all__ = ["Pairs", "Transport", "pairwise_wasserstein1", "wasserstein1"]
