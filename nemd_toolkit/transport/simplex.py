"""POT's network simplex on a full cost matrix: what the kernels fall back on."""

import warnings

import numpy as np
from jaxtyping import Float

from nemd_toolkit.errors import NotOptimal

__all__ = ["full_simplex"]

_ITERATIONS = 10**7  # POT's default 10^5 runs out at 2000 x 2000 points
_OPTIMAL = 1  # POT's result code


def full_simplex(costs: Float[np.ndarray, "n m"], name: str) -> float:
    """Optimal mean cost between uniform weights, or NotOptimal with `name` in its message.

    POT returns 0.0 for a matrix with NaN and a non-optimal cost when its iterations run out, both
    with only a warning: costs must be finite, and anything but result code 1 raises.
    """
    import ot  # half a second to import, needed only here

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the result code says it, and is not ignored
        cost, log = ot.emd2([], [], costs, numItermax=_ITERATIONS, log=True)
    if log["result_code"] != _OPTIMAL or not np.isfinite(cost):
        raise NotOptimal(
            f"{name}: expected an optimal transport plan, but the solver stopped early "
            f"({costs.shape[0]} x {costs.shape[1]} points, code {log['result_code']}: "
            f"{log['warning']}); its number is withheld, give smaller clouds"
        )
    return float(cost)
