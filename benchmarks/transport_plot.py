"""The transport benchmark for the eye: a plot and Markdown tables, from the JSON alone."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from nemd_toolkit.figures.style import BLUE, GRID, INK, MUTED, VERMILLION, plain, themed

__all__ = ["as_markdown", "draw", "peers_as_markdown"]

Record = dict[str, Any]
_HEAD = (
    "id",
    "data",
    "loop, ms a pair",
    "exact",
    "interval",
    "2 processes over exact",
    "mean width (largest)",
    "points",
    "above the floor: exact, interval",
    "largest difference",
    "violations",
    "passed",
)
_TWO = "loop on 2 processes"
_TICKS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@themed
def draw(document: Record) -> Figure:
    """Draw, for each row, both ratios with the range of their repeats, and the targets."""
    rows = [row for row in document["rows"] if row["kind"] == "comparison"]
    figure = Figure(figsize=(7.6, 1.5 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    for place, row in enumerate(rows):
        _draw_row(axes, place, row)
    axes.axvline(1, color=MUTED, lw=1)
    axes.set_yticks(range(len(rows)), [f"{row['id']}  {plain(row['data'], 46)}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.tick_params(axis="x", which="minor", bottom=False)
    axes.grid(axis="x", color=GRID)
    machine = document["machine"]
    cpu = plain(machine["cpu"], 60)
    axes.set_xlabel(f"times faster than the loop on one thread\nours on 2 cores, {cpu}")
    figure.legend(*_labels(axes), loc="outside upper center", ncols=4)
    return figure


def _draw_row(axes: Axes, place: int, row: Record) -> None:
    axes.axhline(place + 0.5, color=GRID, lw=0.6)
    for name, offset, colour, marker in (
        ("exact", -0.16, BLUE, "o"),
        ("interval", 0.16, VERMILLION, "s"),
    ):
        at = place + offset
        ratio = row["ratios"][name]
        axes.plot([ratio["low"], ratio["high"]], [at, at], color=colour, lw=2.4, alpha=0.5)
        median = [ratio["median"]]
        axes.plot(median, [at], marker=marker, ms=6, color=colour, ls="none", label=name)
        for check in row["checks"]:
            if check["what"].startswith(f"{name} ratio"):
                least = [check["at_least"]]
                axes.plot(
                    least, [at], marker="|", ms=10, mew=2, color=INK, ls="none", label="target"
                )
    two = [row["ratios"]["two_processes"]["median"]]
    axes.plot(two, [place], marker="D", ms=5, mfc="none", color=MUTED, ls="none", label=_TWO)


def _labels(axes: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    found = dict(zip(labels, handles, strict=True))  # one of each
    order = [name for name in ("exact", "interval", "target", _TWO) if name in found]
    return [found[name] for name in order], order


def as_markdown(document: Record) -> str:
    """Give the comparisons as a table, then what other rows were checked for."""
    rows = document["rows"]
    lines = _table(_HEAD, [_cells(row) for row in rows if row["kind"] == "comparison"])
    others = [
        (
            row["id"],
            row["data"],
            check["what"],
            _limit(check),
            _number(check["measured"]),
            "yes" if check["passed"] else "no",
        )
        for row in rows
        if row["kind"] != "comparison"
        for check in row["checks"]
    ]
    if others:
        lines += ["", *_table(("id", "data", "what", "target", "measured", "passed"), others)]
    return "\n".join(lines)


def _cells(row: Record) -> Sequence[str]:
    ratios, width = row["ratios"], row["width"]
    targets = {check["what"].split(" ")[0]: check for check in row["checks"] if "at_least" in check}
    return (
        row["id"],
        row["data"],
        f"{row['milliseconds']['baseline']['median']:.3g}",
        *(_against(ratios[name], targets.get(name)) for name in ("exact", "interval")),
        _times(ratios["exact_to_two_processes"]),
        f"{100 * width['mean']:.2f} % ({100 * width['largest']:.2f} %)",
        f"{100 * row['solved_share']:.0f} %",
        ", ".join(
            f"{ratios[f'{name}_above_floor']['median']:.3g}×" for name in ("exact", "interval")
        ),
        f"{row['largest_difference']:.0e}",
        str(row["bound_violations"]),
        _passed(row["checks"]),
    )


def _against(ratio: Record, target: Record | None) -> str:
    return _times(ratio) + (f", target {_limit(target)}×" if target else "")


def _times(spread: Record) -> str:
    return f"**{spread['median']:.3g}×** ({spread['low']:.3g}–{spread['high']:.3g})"


def _limit(check: Record) -> str:
    return f"≥ {check['at_least']:g}" if "at_least" in check else f"≤ {check['at_most']:g}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _passed(checks: Sequence[Record]) -> str:
    failed = [check["what"] for check in checks if not check["passed"]]
    return f"no: {', '.join(failed)}" if failed else "yes"


def peers_as_markdown(document: Record) -> str:
    """Give the peers' times and errors as a table, and below it how each was called."""
    head = ("data", "method", "pairs", "ms a pair", "median error", "largest", "certificate")
    cells = [
        (f"{row['id']} {row['data']}", f"{peer['name']}, {peer['settings']}", *_peer_cells(peer))
        for row in document["rows"]
        for peer in row["peers"]
    ]
    how = {
        f"{peer['name']} {peer['version'] or '(not installed)'}: {peer['how']}."
        for row in document["rows"]
        for peer in row["peers"]
        if peer["how"]
    }
    return "\n".join([*_table(head, cells), "", *sorted(how)])


def _peer_cells(peer: Record) -> Sequence[str]:
    if "skipped" in peer:
        return "0", f"skipped: {peer['skipped']}", "", "", ""
    return (
        str(peer["pairs"]),
        f"{peer['milliseconds']['median']:.3g}",
        f"{100 * peer['median_error']:+.2g} %",
        f"{100 * peer['largest_error']:.2g} %",
        peer["certificate"],
    )


def _table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *cells]
    return ["| " + " | ".join(line) + " |" for line in lines]
