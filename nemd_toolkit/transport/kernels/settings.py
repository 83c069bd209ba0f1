"""Numbers that steer the solver; chosen on vMF clouds, see reports/transport/README.md."""

import numpy as np

__all__ = [
    "AGREEMENT",
    "ALIKE",
    "CERTIFIED",
    "EDGES_A_NODE",
    "FIRST",
    "GAP",
    "GAVE_UP",
    "HIDDEN",
    "LAST",
    "LAST_PASSES",
    "LISTED",
    "LOOKED_UP_A_NODE",
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
ALIKE, HIDDEN = 0.02, 0.2  # exchanges below ALIKE standard deviations, at most this part of all
GAP = 0.12  # between plan and potentials, in the same: where wider, likely edges are guessed badly
ROUNDS = 6  # of looking for missed edges, at most; then all edges are kept
MISSED_A_NODE = 1.2  # or as soon as this many were missed
LOOKED_UP_A_NODE = 8  # or this many were too close to call in float32
PIVOTS_A_NODE = 4  # or after this many pivots
PIVOTS_OVER_ALL = 200  # pivots a node over all edges, at most; then the pair is handed to POT
LISTED = np.float32(1e30)  # in place of a cost that need not be looked at
UNIT = np.float32(2.0**-22)  # four roundings of float32
