"""Plans of several pairs in flat arrays, for pairs whose bounds come from a device."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from nemd_toolkit.transport.clouds import Packed
from nemd_toolkit.transport.kernels.batch import improve_plans, reduced_costs, start_plans
from nemd_toolkit.transport.kernels.settings import TOLERANCE, WAITING

__all__ = ["Edges", "Plans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Edges of several pairs, in the order of the pairs."""

    pair: Int64[np.ndarray, " e"]
    row: Int64[np.ndarray, " e"]
    column: Int64[np.ndarray, " e"]


class Plans:
    """One plan and its potentials for each of some pairs; all arrays are indexed by pair or flat.

    upper (p,) holds the plans' costs, state (p,) what became of them.
    """

    def __init__(
        self,
        packed: Packed,
        pairs: Int64[np.ndarray, "p 2"],
        potential: Float64[np.ndarray, " nodes"],
        extent: Float64[np.ndarray, " p"],
    ) -> None:
        self.packed, self.pairs, self.potential, self.extent = packed, pairs, potential, extent
        self.nodes = packed.sizes[pairs].sum(axis=1)
        self.node = np.cumsum([0, *self.nodes[:-1]]).astype(np.int64)
        self.upper, self.state = np.empty(len(pairs)), np.full(len(pairs), WAITING)
        self._hold(np.zeros(len(pairs), np.int64))

    def _hold(self, room: Int64[np.ndarray, " p"]) -> None:
        self.first = np.concatenate([[0], np.cumsum(room)]).astype(np.int64)
        self.held = np.zeros(len(room), np.int64)
        self.rows = np.empty(self.first[-1], np.int32)
        self.columns = np.empty(self.first[-1], np.int32)
        self.cost = np.empty(self.first[-1])
        self.flow = np.zeros(self.first[-1], np.int64)

    def _append(
        self, edges: Edges, cost: Float64[np.ndarray, " e"] | float
    ) -> Int64[np.ndarray, "e"]:
        count = np.bincount(edges.pair, minlength=len(self.pairs))
        rank = np.arange(len(edges.pair)) - np.repeat(np.cumsum(count) - count, count)
        places: Int64[np.ndarray, " e"] = (self.first[:-1] + self.held)[edges.pair] + rank
        self.rows[places], self.columns[places] = edges.row, edges.column
        self.cost[places] = cost
        self.held += count
        return places

    def start(
        self, edges: Edges, slack: Float32[np.ndarray, " e"], width: Float32[np.ndarray, " p"]
    ) -> None:
        """Find greedy plans over the likely edges, given with their reduced costs below width."""
        self._hold(np.bincount(edges.pair, minlength=len(self.pairs)) + self.nodes)
        places = self._append(edges, 0.0)
        flat_slack = np.zeros(len(self.rows), np.float32)
        flat_slack[places] = slack
        start_plans(
            self.packed.points,
            self.packed.starts,
            self.pairs,
            self.first,
            self.held,
            self.node,
            self.potential,
            width,
            self.rows,
            self.columns,
            flat_slack,
            self.cost,
            self.flow,
            self.upper,
        )

    def improve(self) -> None:
        """Make each plan optimal over its edges."""
        improve_plans(
            self.packed.points,
            self.packed.starts,
            self.pairs,
            self.first,
            self.held,
            self.node,
            self.potential,
            self.extent,
            self.rows,
            self.columns,
            self.cost,
            self.flow,
            self.upper,
            self.state,
        )

    def missing(self, near: Edges) -> tuple[Edges, Float64[np.ndarray, " e"]]:
        """Those of the edges whose reduced cost is negative, and their costs, in float64."""
        cost, reduced = np.empty(len(near.pair)), np.empty(len(near.pair))
        reduced_costs(
            self.packed.points,
            self.packed.starts,
            self.pairs,
            self.node,
            self.potential,
            near.pair,
            near.row,
            near.column,
            cost,
            reduced,
        )
        bad = reduced < -TOLERANCE * self.extent[near.pair]
        return Edges(pair=near.pair[bad], row=near.row[bad], column=near.column[bad]), cost[bad]

    def only(self, which: Int64[np.ndarray, " q"], more: Int64[np.ndarray, " q"]) -> "Plans":
        """Plans of some of the pairs, each with room for so many more edges."""
        nodes = _spans(self.node[which], self.nodes[which])
        kept = Plans(self.packed, self.pairs[which], self.potential[nodes], self.extent[which])
        kept._hold(self.held[which] + more)
        old = _spans(self.first[which], self.held[which])
        new = _spans(kept.first[:-1], self.held[which])
        kept.rows[new], kept.columns[new] = self.rows[old], self.columns[old]
        kept.cost[new], kept.flow[new] = self.cost[old], self.flow[old]
        kept.held[:] = self.held[which]
        kept.upper[:], kept.state[:] = self.upper[which], self.state[which]
        return kept

    def with_edges(self, edges: Edges, cost: Float64[np.ndarray, " e"]) -> "Plans":
        """Plans of the pairs that these edges belong to, with the edges added."""
        which, pair, count = np.unique(edges.pair, return_inverse=True, return_counts=True)
        kept = self.only(which, count)
        kept._append(Edges(pair=pair, row=edges.row, column=edges.column), cost)
        return kept


def _spans(
    starts: Int64[np.ndarray, " p"], lengths: Int64[np.ndarray, " p"]
) -> Int64[np.ndarray, " s"]:
    """Every index of start … start + length − 1, span after span."""
    ends = np.cumsum(lengths)
    count = int(ends[-1]) if len(ends) else 0
    spans: Int64[np.ndarray, " s"] = np.arange(count) + np.repeat(starts - ends + lengths, lengths)
    return spans
