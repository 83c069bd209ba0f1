"""An order of prototypes in which neighbours are near: for matrices and colours only."""

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist

__all__ = ["seriate"]

MOST = 2_000
MOST_OPTIMAL = 500  # optimal leaf order takes time as the square to cube of the count


def seriate(directions: Float[np.ndarray, "u d"]) -> Int[np.ndarray, " u"]:
    """Leaf order of average linkage on the chords between directions.

    Beyond 2,000 directions they stay as they come: the chords would fill the memory.

    >>> seriate(np.array([[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1], [-0.9, 0.1]])).tolist()
    [0, 2, 3, 1]
    """
    if not 3 <= len(directions) <= MOST:
        return np.arange(len(directions))
    chords = pdist(directions)
    tree = linkage(chords, "average")
    if len(directions) <= MOST_OPTIMAL:
        tree = optimal_leaf_ordering(tree, chords)
    return leaves_list(tree).astype(np.int64)
