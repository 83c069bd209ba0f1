"""The spanning tree of a network simplex, and one pivot of it.

Nodes 0…n−1 are rows, n…n+m−1 columns, n+m a root. Every edge runs from a row to a column. A tree
edge belongs to its lower end: `edge[v]` joins v to `parent[v]`, −1 where the parent is the root.
Those links to the root never carry flow (nothing leaves the root again), so that their cost does
not matter and each part of the tree may start at whatever potentials suit it. They, and rows'
edges, point up; columns' edges point down. Kept strongly feasible (Cunningham 1976): an edge
without flow points up, which is why degenerate pivots cannot cycle.

Nodes are linked in preorder: a node's part is itself and the size[v] − 1 nodes after it. (As in
the network simplex codes since Glover & Klingman; LEMON's notes, Kovács 2015, explain it well.)
"""

from typing import NamedTuple, no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, part

__all__ = ["Tree", "pivot", "plant", "settle_potentials"]


class Tree(NamedTuple):
    """Arrays over the n + m + 1 nodes, int32."""

    parent: np.ndarray
    edge: np.ndarray
    after: np.ndarray  # next node in preorder, a ring that begins at the root
    before: np.ndarray  # and the one before it
    last: np.ndarray  # of the node's descendants in preorder, or itself
    size: np.ndarray  # of the node's part of the tree, itself included


@part
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
        np.empty(root + 1, np.int32),
        np.empty(root + 1, np.int32),
        np.arange(root + 1).astype(np.int32),
        np.ones(root + 1, np.int32),
    )
    ends, held = _incident(n, root, rows, columns, flow, count)
    waiting = np.empty(root + 1, np.int32)
    behind = root
    for start in range(root):
        if tree.parent[start] >= 0:
            continue
        tree.parent[start] = root
        waiting[0], top = start, 1
        while top > 0:
            top -= 1
            v = waiting[top]
            _follow(tree, behind, v)
            behind = v
            for k in range(ends[v - 1] if v > 0 else 0, ends[v]):
                e = held[k]
                other = n + columns[e] if v < n else rows[e]
                if tree.parent[other] < 0:
                    tree.parent[other], tree.edge[other] = v, e
                    waiting[top] = other
                    top += 1
    _follow(tree, behind, root)
    v = behind
    while v != root:  # backwards: descendants before their ancestors
        above = tree.parent[v]
        tree.size[above] += tree.size[v]
        if tree.last[above] == above:
            tree.last[above] = tree.last[v]
        v = tree.before[v]
    return tree


@part
@no_type_check
def _follow(tree, first, second):
    tree.after[first], tree.before[second] = second, first


@kernel
@no_type_check
def settle_potentials(tree, cost, potential):
    """Compute potentials anew from those of the root's children: tree edges cost what they say."""
    root = len(tree.parent) - 1
    v = tree.after[root]
    while v != root:
        if tree.parent[v] != root:
            potential[v] = cost[tree.edge[v]] - potential[tree.parent[v]]
        v = tree.after[v]


@part
@no_type_check
def _leaving(tree, n, flow, row, column):
    """Find the node whose tree edge leaves, whether it is on the row's side, the flow, the join.

    Flow rises along row → column and returns through the tree. Of several edges that run empty
    first, the last one met from the join along the flow leaves: that keeps the tree strongly
    feasible.
    """
    a, b, least, node, from_row = row, column, np.int64(2**62), -1, False
    while a != b:
        if tree.size[a] < tree.size[b]:  # so a is not above b
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


@part
@no_type_check
def _push(tree, flow, node, join, rising, amount, n):
    """Change flows from node up to join: edges that point up by ∓amount, those down by ±amount."""
    while node != join:
        e = tree.edge[node]
        if e >= 0:
            flow[e] += amount if (node < n) == rising else -amount
        node = tree.parent[node]


@part
@no_type_check
def _cut(tree, leaving):
    """Take the part below `leaving` out of the preorder of the rest."""
    end, behind = tree.last[leaving], tree.before[leaving]
    _follow(tree, behind, tree.after[end])
    above = tree.parent[leaving]
    while above >= 0 and tree.last[above] == end:
        tree.last[above] = behind
        above = tree.parent[above]


@part
@no_type_check
def _turn(tree, node, leaving, parent, edge):
    """Turn the path node … leaving round, to hang from parent; give the part's new last node.

    In the new preorder the node's own part comes first. Then, for each node further on, what was
    below it but not below the node before: a piece from itself on, and a piece at its end.
    """
    whole, end, beyond = tree.size[leaving], tree.last[node], tree.after[tree.last[node]]
    old_size, old_last, old_before = 0, end, -1
    while True:
        size, last, before = tree.size[node], tree.last[node], tree.before[node]
        old_parent, old_edge = tree.parent[node], tree.edge[node]
        if old_size > 0:
            rest, ends_alike = beyond, last == old_last
            if not ends_alike:
                beyond = tree.after[last]  # read before it changes
            _follow(tree, end, node)
            end = old_before
            if not ends_alike:
                _follow(tree, end, rest)
                end = last
        tree.parent[node], tree.edge[node] = parent, edge
        tree.size[node] = whole - old_size
        if node == leaving:
            return end
        old_size, old_last, old_before = size, last, before
        parent, edge, node = node, old_edge, old_parent


@part
@no_type_check
def _hang(tree, top, bottom, end, parent):
    """Put the turned part, from top to its last node `end`, behind parent; bottom ends its path."""
    v = bottom
    while True:
        tree.last[v] = end
        if v == top:
            break
        v = tree.parent[v]
    _follow(tree, end, tree.after[parent])
    _follow(tree, parent, top)
    above = parent
    while above >= 0 and tree.last[above] == parent:
        tree.last[above] = end
        above = tree.parent[above]


@kernel
@no_type_check
def pivot(tree, n, rows, columns, cost, flow, potential, entering):
    """Let an edge of negative reduced cost enter the tree; give the one that leaves, or −1."""
    row, column = rows[entering], n + columns[entering]
    leaving, from_row, amount, join = _leaving(tree, n, flow, row, column)
    if amount > 0:
        flow[entering] += amount
        _push(tree, flow, row, join, False, amount, n)
        _push(tree, flow, column, join, True, amount, n)
    left, above, length = tree.edge[leaving], tree.parent[leaving], tree.size[leaving]
    moved, fixed = (row, column) if from_row else (column, row)
    reduced = cost[entering] - potential[row] - potential[column]
    _cut(tree, leaving)
    end = _turn(tree, moved, leaving, fixed, entering)
    _hang(tree, moved, leaving, end, fixed)
    while above != join:
        tree.size[above] -= length
        above = tree.parent[above]
    while fixed != join:
        tree.size[fixed] += length
        fixed = tree.parent[fixed]
    shift = reduced if from_row else -reduced  # of the rows in the moved part
    v = moved
    for _ in range(length):
        potential[v] += shift if v < n else -shift
        v = tree.after[v]
    return left
