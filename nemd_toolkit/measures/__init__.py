"""Numbers about embeddings and their prototypes."""

from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.nemd import Nemd, nemd
from nemd_toolkit.measures.summary import Measures, measure

__all__ = ["Interval", "Measures", "Nemd", "measure", "nemd"]
