"""Names beside points, none upon another."""

from collections.abc import Sequence

import matplotlib.patheffects as strokes
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from nemd_toolkit.figures.style import MUTED, PAPER, plain

__all__ = ["name_points"]

_POINT = 5.0  # points of text size around a marker that stay free
# where a name is tried, in that order: beside its point, then farther away with a line to it
_NEAR = [(5, 4, "left"), (5, -10, "left"), (-5, 4, "right"), (-5, -10, "right")]
_NEAR += [(0, 7, "center"), (0, -14, "center")]
_FAR = [(x, y, side) for x, side in ((18, "left"), (-18, "right")) for y in (16, -24, 30, -38)]


def name_points(
    axes: Axes, places: Sequence[tuple[float, float]], names: Sequence[str], size: float = 8.5
) -> list[str]:
    """Write each name where it covers no point and no other name; gives those left out.

    The first names come first. Limits and layout of the figure must be as they will be drawn.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]  # fixes where things are
    shown = axes.transData.transform(places)
    scale = figure.dpi / 72
    reach = _POINT * scale
    taken = [Bbox([[x - reach, y - reach], [x + reach, y + reach]]) for x, y in shown]
    inside = axes.get_window_extent()
    left_out = []
    for place, name in zip(places, names, strict=True):
        for offset in (*_NEAR, *_FAR):
            label = _written(axes, place, name, offset, size)
            box = label.get_window_extent()
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1
            if fits and not box.count_overlaps(taken):
                taken.append(box)
                break
            label.remove()
        else:
            left_out.append(name)
    return left_out


def _written(
    axes: Axes, place: tuple[float, float], name: str, offset: tuple[int, int, str], size: float
) -> Annotation:
    x, y, side = offset
    far = abs(x) > 10
    return axes.annotate(
        plain(name),
        place,
        xytext=(x, y),
        textcoords="offset points",
        ha=side,
        fontsize=size,
        arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkB": 4} if far else None,
        path_effects=[strokes.withStroke(linewidth=2, foreground=PAPER)],
    )
