"""How far prototypes agree with labels: purity of each, and their mutual information."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from nemd_toolkit.prototypes import Prototypes

__all__ = ["LabelAgreement", "measure_label_agreement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """Both rise with K by chance alone: compare clusterings of one K."""

    purities: Float[
        np.ndarray, " u"
    ]  # of the used prototypes; share of the commonest label, (0, 1]
    purity: float  # of all rows: share with the commonest label of their prototype
    chance: float  # the least purity can be: share of the largest class
    nmi: float  # I(prototype; label) / mean of their entropies, in [0, 1]; 1 = the same partition


def measure_label_agreement(prototypes: Prototypes) -> LabelAgreement | None:
    """Compare prototypes with the labels of their members (Manning et al. 2008, §16.3).

    None without labels, with a single class, and for prototypes made of the labels themselves.

    >>> import torch
    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_vectors
    >>> rows = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
    >>> e = Embeddings(rows, labels=["a", "b", "b", "b"])
    >>> found = measure_label_agreement(prototypes_from_vectors(e, torch.eye(2)))
    >>> found.purities.tolist(), found.purity, round(found.nmi, 4)
    ([0.5, 1.0], 0.75, 0.3437)
    """
    labels = prototypes.embeddings.labels
    if labels is None or prototypes.source == "labels":
        return None
    _, classes = np.unique(labels, return_inverse=True)
    if classes.max() == 0:
        return None
    members = prototypes.used_assignment().numpy()
    counts = contingency_matrix(members, classes, sparse=True)  # (u, classes)
    most = np.asarray(counts.max(axis=1).todense()).ravel()
    return LabelAgreement(
        purities=most / np.bincount(members),
        purity=float(most.sum() / len(members)),
        chance=float(np.bincount(classes).max() / len(classes)),
        nmi=float(normalized_mutual_info_score(classes, members)),
    )
