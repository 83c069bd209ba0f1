"""Predicted costs of all pairs of clouds, summed and counted without a matrix of them."""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import loose_kernel

__all__ = ["predict_rows"]

COLUMNS = 512  # predicted at a time, so that a tile stays in the cache


@loose_kernel
@no_type_check
def predict_rows(spots, squares, spreads, alone, slopes, start, stop, low, step, counts):
    """Predict pairs (i, j) with start ≤ i < stop, i < j; give their sum, count them into bins.

    spots (K, e), squares (K,) their squared norms, spreads, alone (K,) float64. A prediction is
    slopes[0]·product + slopes[1]·Gelbrich + alone[i] + alone[j]; bin b of counts (b,) int64 begins
    at low + b·step, and the outermost hold what lies beyond.
    """
    last = len(counts) - 1
    product, gelbrich = slopes[0], slopes[1]
    total = 0.0
    for at in range(start, len(spots), COLUMNS):
        end = min(at + COLUMNS, len(spots))
        block = np.dot(spots[start:stop], spots[at:end].T)  # (r, c)
        for i in range(start, stop):
            row = block[i - start]
            begin = max(i + 1 - at, 0)
            both, two, shift = squares[i], 2.0 * spreads[i], alone[i]
            for j in range(begin, end - at):
                squared = max(both + squares[at + j] - 2.0 * row[j], 0.0)
                cost = product * math.sqrt(squared + two * spreads[at + j])
                row[j] = cost + gelbrich * math.sqrt(squared) + shift + alone[at + j]
            for j in range(begin, end - at):
                total += row[j]
                place = (row[j] - low) / step
                counts[int(min(max(place, 0.0), float(last)))] += 1
    return total
