"""Small multiples: how far the members of single prototypes lie from its mean direction."""

from matplotlib.figure import Figure

from nemd_toolkit.figures.style import (
    BLUE,
    INK,
    WIDTH,
    plain,
    say_nothing_to_draw,
    themed,
)
from nemd_toolkit.measures.member_distances import MemberDistances

__all__ = ["draw_member_spread"]

_COLUMNS = 4


@themed
def draw_member_spread(found: MemberDistances, names: tuple[str, ...]) -> Figure:
    """Draw one histogram a prototype, tightest first, all on one scale of chords.

    names: of all prototypes, by their numbers.
    """
    count = len(found.which)
    if not count:
        figure = Figure(figsize=(WIDTH, 1.2), layout="constrained")
        figure.add_subplot()
        say_nothing_to_draw(figure, "no prototype holds 8 members or more")
        return figure
    rows = -(-count // _COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.75 + 0.95 * rows), layout="constrained")
    grid = figure.subplots(rows, min(_COLUMNS, count), sharex=True, squeeze=False).ravel()
    for axes, which, resultant, counts in zip(
        grid, found.which, found.resultants, found.counts, strict=False
    ):
        axes.stairs(counts / counts.sum(), found.edges, fill=True, color=BLUE)
        name = plain(names[which], 9)
        axes.set_title(f"{name}: {resultant:.2f}", fontsize=9.5, pad=2, color=INK)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(found.edges[0], found.edges[-1])
    for axes in grid[count:]:
        axes.set_axis_off()
    figure.supxlabel("chord from the mean direction (number: resultant)", fontsize=10)
    return figure
