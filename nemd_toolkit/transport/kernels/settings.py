"""Numbers that steer the solver; chosen on vMF clouds, see reports/transport/README.md."""

import numpy as np

__all__ = [
    "AGREEMENT",
    "CERTIFIED",
    "EDGES_A_NODE",
    "FIRST",
    "GAVE_UP",
    "LAST",
    "LAST_PASSES",
    "MISSED_A_NODE",
    "PASSES",
    "PIVOTS_A_NODE",
    "PIVOTS_OVER_ALL",
    "ROUNDS",
    "TIGHT",
    "TOLERANCE",
    "UNIT",
    "WAITING",
    "WIDTH",
]

WAITING, CERTIFIED, GAVE_UP = 0, 1, 2  # states of a pair

FIRST, LAST = 0.2, 0.05  # regularisation, in standard deviations of the costs, halved in between
PASSES, LAST_PASSES = 4, 8  # Sinkhorn passes at each, and at the last
WIDTH = 0.25  # reduced cost of likely edges, in the same standard deviations
EDGES_A_NODE = 8  # likely edges, at most
TIGHT = 0.05  # float32 serves while its error stays below this part of the same
TOLERANCE = 1e-12  # of the clouds' extent: reduced costs above −this count as non-negative
AGREEMENT = 1e-10  # of the clouds' extent: between plan and potentials, at the end
ROUNDS = 6  # of looking for missed edges, at most; then all edges are kept
MISSED_A_NODE = 1.2  # or as soon as this many were missed
PIVOTS_A_NODE = 4  # or after this many pivots
PIVOTS_OVER_ALL = 200  # pivots a node over all edges, at most; then the pair is handed to POT
UNIT = np.float32(2.0**-22)  # four roundings of float32
