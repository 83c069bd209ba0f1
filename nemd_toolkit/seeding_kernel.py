"""What each of a few candidates for a seed would leave of the distances: one pass, no copies."""

from typing import no_type_check

from nemd_toolkit.transport.kernels.compiling import loose_kernel

__all__ = ["RUN", "totals_if_taken"]

RUN = 512  # rows whose squared distances are summed in their own precision; blocks are whole runs


@loose_kernel
@no_type_check
def totals_if_taken(products, squares, closest, own, totals, first):
    """Set totals (blocks, c) to sums of min(closest, squared distance) over a block's rows.

    products: (blocks, candidates, rows), of which c from `first` on count; squares, closest:
    (blocks, rows), the rows' squared norms and distances to the nearest seed; own: (c,), the
    candidates' squared norms.
    """
    blocks, count = totals.shape
    for b in range(blocks):
        for c in range(count):
            total = 0.0
            for start in range(0, squares.shape[1], RUN):
                run = slice(start, start + RUN)
                total += _sum_of_run(
                    products[b, first + c, run], squares[b, run], closest[b, run], own[c]
                )
            totals[b, c] = total


@loose_kernel
@no_type_check
def _sum_of_run(products, squares, closest, own):
    zero = squares.dtype.type(0)
    total = zero
    for r in range(len(products)):
        apart = squares[r] + own - (products[r] + products[r])
        total += min(max(apart, zero), closest[r])
    return total
