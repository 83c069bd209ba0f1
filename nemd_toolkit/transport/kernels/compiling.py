"""How kernels are compiled."""

import numba

__all__ = ["kernel", "loose_kernel"]

# IEEE arithmetic, for whatever is compared or certified in float64.
kernel = numba.njit(cache=True, nogil=True)
# Sums may be reordered, so that they fill vector registers; inputs must be finite.
loose_kernel = numba.njit(cache=True, nogil=True, fastmath=True)
