"""Is my representation collapsing, in which way, how surely? Diagnostics with NEMD.

import nemd_toolkit as nt
nt.analyze("checkpoint.pt", data="digits").verdict
"""

from nemd_toolkit.checkpoints import Checkpoint, read_checkpoint
from nemd_toolkit.embedding_files import load_embeddings, save_embeddings
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.encoding import embed
from nemd_toolkit.errors import InputError, NemdError, NotOptimal, UnknownLayout, UnsafeFile
from nemd_toolkit.findings import Thresholds
from nemd_toolkit.measures import Nemd, nemd
from nemd_toolkit.pipeline import analyze
from nemd_toolkit.prototypes import (
    Prototypes,
    fit_prototypes,
    prototypes_from_checkpoint,
    prototypes_from_labels,
    prototypes_from_vectors,
)
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.tracking import Tracked, track
from nemd_toolkit.transport import (
    AllPairs,
    MemberClouds,
    Nearest,
    Pairs,
    Transport,
    all_pairs_wasserstein1,
    nearest_clouds,
    pairwise_wasserstein1,
    wasserstein1,
)

__all__ = [
    "AllPairs",
    "Analysis",
    "Checkpoint",
    "Embeddings",
    "InputError",
    "MemberClouds",
    "Nearest",
    "Nemd",
    "NemdError",
    "NotOptimal",
    "Pairs",
    "Prototypes",
    "Thresholds",
    "Tracked",
    "Transport",
    "UnknownLayout",
    "UnsafeFile",
    "all_pairs_wasserstein1",
    "analyze",
    "embed",
    "fit_prototypes",
    "load_embeddings",
    "nearest_clouds",
    "nemd",
    "pairwise_wasserstein1",
    "prototypes_from_checkpoint",
    "prototypes_from_labels",
    "prototypes_from_vectors",
    "read_checkpoint",
    "save_embeddings",
    "track",
    "wasserstein1",
]
