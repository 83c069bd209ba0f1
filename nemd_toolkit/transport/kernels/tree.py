"""The spanning tree of a network simplex, and one pivot of it.

Nodes 0…n−1 are rows, n…n+m−1 columns, n+m a root. Every edge runs from a row to a column. A tree
edge belongs to its lower end: `edge[v]` joins v to `parent[v]`, −1 where the parent is the root.
Those links to the root never carry flow (nothing leaves the root again), so that their cost does
not matter and each part of the tree may start at whatever potentials suit it. They, and rows'
edges, point up; columns' edges point down. Kept strongly feasible (Cunningham 1976): an edge
without flow points up, which is why degenerate pivots cannot cycle.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel

__all__ = ["Tree", "pivot", "plant", "settle_potentials"]


class Tree(NamedTuple):
    """Arrays over the n + m + 1 nodes, int32; children are doubly linked lists."""

    parent: np.ndarray
    edge: np.ndarray
    depth: np.ndarray
    child: np.ndarray
    after: np.ndarray
    before: np.ndarray
    stack: np.ndarray  # scratch


@kernel
@no_type_check
def _link(tree, node, parent, edge):
    first = tree.child[parent]
    tree.parent[node], tree.edge[node] = parent, edge
    tree.after[node], tree.before[node] = first, -1
    if first >= 0:
        tree.before[first] = node
    tree.child[parent] = node


@kernel
@no_type_check
def _unlink(tree, node):
    before, after = tree.before[node], tree.after[node]
    if before >= 0:
        tree.after[before] = after
    else:
        tree.child[tree.parent[node]] = after
    if after >= 0:
        tree.before[after] = before


@kernel
@no_type_check
def _incident(n, nodes, rows, columns, flow, count):
    """Edges with flow at each node, as (ends, list): node v owns list[ends[v−1]:ends[v]]."""
    ends = np.zeros(nodes + 1, np.int32)
    for e in range(count):
        if flow[e] > 0:
            ends[rows[e] + 1] += 1
            ends[n + columns[e] + 1] += 1
    for v in range(nodes):
        ends[v + 1] += ends[v]
    held = np.empty(ends[nodes], np.int32)
    for e in range(count):
        if flow[e] > 0:
            for side in range(2):
                v = rows[e] if side == 0 else n + columns[e]
                held[ends[v]] = e
                ends[v] += 1
    return ends, held


@kernel
@no_type_check
def plant(n, m, rows, columns, flow, count):
    """Make a tree of the edges with flow (a forest), each part hung from the root."""
    root = n + m
    tree = Tree(
        np.full(root + 1, -1, np.int32),
        np.full(root + 1, -1, np.int32),
        np.zeros(root + 1, np.int32),
        np.full(root + 1, -1, np.int32),
        np.full(root + 1, -1, np.int32),
        np.full(root + 1, -1, np.int32),
        np.empty(root + 1, np.int32),
    )
    ends, held = _incident(n, root, rows, columns, flow, count)
    for start in range(root):
        if tree.parent[start] >= 0:
            continue
        _link(tree, start, root, -1)
        tree.depth[start] = 1
        tree.stack[0], top = start, 1
        while top > 0:
            top -= 1
            v = tree.stack[top]
            for k in range(ends[v - 1] if v > 0 else 0, ends[v]):
                e = held[k]
                other = n + columns[e] if v < n else rows[e]
                if tree.parent[other] < 0:
                    _link(tree, other, v, e)
                    tree.depth[other] = tree.depth[v] + 1
                    tree.stack[top] = other
                    top += 1
    return tree


@kernel
@no_type_check
def settle_potentials(tree, cost, potential):
    """Compute potentials anew from those of the root's children: tree edges cost what they say."""
    root = len(tree.parent) - 1
    top_node = tree.child[root]
    while top_node >= 0:
        tree.stack[0], top = top_node, 1
        while top > 0:
            top -= 1
            v = tree.stack[top]
            node = tree.child[v]
            while node >= 0:
                potential[node] = cost[tree.edge[node]] - potential[v]
                tree.stack[top] = node
                top += 1
                node = tree.after[node]
        top_node = tree.after[top_node]


@kernel
@no_type_check
def _leaving(tree, n, flow, row, column):
    """Find the node whose tree edge leaves, whether it is on the row's side, the flow, the join.

    Flow rises along row → column and returns through the tree. Of several edges that run empty
    first, the last one met from the join along the flow leaves: that keeps the tree strongly
    feasible.
    """
    a, b, least, node, from_row = row, column, np.int64(2**62), -1, False
    while a != b:
        if tree.depth[a] >= tree.depth[b]:
            e = tree.edge[a]
            if a < n or e < 0:
                carried = flow[e] if e >= 0 else np.int64(0)
                if carried < least:
                    least, node, from_row = carried, a, True
            a = tree.parent[a]
        else:
            e = tree.edge[b]
            if b >= n and e >= 0 and flow[e] <= least:
                least, node, from_row = flow[e], b, False
            b = tree.parent[b]
    return node, from_row, least, a


@kernel
@no_type_check
def _push(tree, flow, node, join, rising, amount, n):
    """Change flows from node up to join: edges that point up by ∓amount, those down by ±amount."""
    while node != join:
        e = tree.edge[node]
        if e >= 0:
            flow[e] += amount if (node < n) == rising else -amount
        node = tree.parent[node]


@kernel
@no_type_check
def _hang(tree, node, leaving, parent, edge):
    """Turn the path node … leaving round and hang it from parent by edge."""
    while True:
        old_parent, old_edge = tree.parent[node], tree.edge[node]
        _unlink(tree, node)
        _link(tree, node, parent, edge)
        if node == leaving:
            return
        parent, edge, node = node, old_edge, old_parent


@kernel
@no_type_check
def pivot(tree, n, rows, columns, cost, flow, potential, entering):
    """Let an edge of negative reduced cost enter the tree."""
    row, column = rows[entering], n + columns[entering]
    leaving, from_row, amount, join = _leaving(tree, n, flow, row, column)
    if amount > 0:
        flow[entering] += amount
        _push(tree, flow, row, join, False, amount, n)
        _push(tree, flow, column, join, True, amount, n)
    moved, fixed = (row, column) if from_row else (column, row)
    _hang(tree, moved, leaving, fixed, entering)
    reduced = cost[entering] - potential[row] - potential[column]
    shift = reduced if from_row else -reduced  # of the rows in the moved part
    tree.stack[0], top = moved, 1
    while top > 0:
        top -= 1
        v = tree.stack[top]
        tree.depth[v] = tree.depth[tree.parent[v]] + 1
        potential[v] += shift if v < n else -shift
        node = tree.child[v]
        while node >= 0:
            tree.stack[top] = node
            top += 1
            node = tree.after[node]
