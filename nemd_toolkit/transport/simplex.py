"""POT's network simplex on a full cost matrix: what the kernels fall back on."""

import numpy as np
from jaxtyping import Float

from nemd_toolkit.errors import NotOptimal

__all__ = ["full_simplex"]

_ITERATIONS = 10**7  # POT's default 10^5 runs out at 2000 x 2000 points
_OPTIMAL = 1  # POT's result code


def full_simplex(costs: Float[np.ndarray, "n m"], name: str) -> float:
    """Optimal mean cost between uniform weights, or NotOptimal with `name` in its message.

    POT returns 0.0 for a matrix with NaN and a non-optimal cost when its iterations run out, both
    with only a warning: costs must be finite, and anything but result code 1 raises. Its tolerances
    are absolute: costs should be of the order of 1.
    """
    import ot  # half a second to import, needed only here

    try:
        cost, log = ot.emd2([], [], costs, numItermax=_ITERATIONS, log=True)
    except Warning as stopped:  # where the caller has made warnings errors
        raise NotOptimal(_stopped(costs, name, str(stopped))) from stopped
    if log["result_code"] != _OPTIMAL or not np.isfinite(cost):
        raise NotOptimal(_stopped(costs, name, f"code {log['result_code']}: {log['warning']}"))
    return float(cost)


def _stopped(costs: Float[np.ndarray, "n m"], name: str, why: str) -> str:
    return (
        f"{name}: expected an optimal transport plan, but the solver stopped early "
        f"({costs.shape[0]} x {costs.shape[1]} points, {why}); its number is withheld, "
        "give smaller clouds"
    )
