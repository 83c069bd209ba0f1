"""Singular values of the embeddings on a log scale: how many directions are in use."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from nemd_toolkit.figures.style import (
    NEUTRAL,
    SERIES,
    new_figure,
    plain,
    say_nothing_to_draw,
    themed,
)
from nemd_toolkit.measures.spectrum import Spectrum

__all__ = ["draw_spectra"]

_STYLES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
MOST_LINES = 12


@themed
def draw_spectra(spectra: Sequence[tuple[str, Spectrum]]) -> Figure:
    """Draw centred singular values by rank beside those of as many uniform points.

    Zeros cannot be drawn on a log scale: a line ends where the spectrum does. The uniform points
    are those of the first spectrum.
    """
    shown = spectra[:MOST_LINES]
    figure, [axes] = new_figure(3.2 + 0.22 * max(0, len(shown) - 2))
    lines = 0
    for place, (name, spectrum) in enumerate(shown):
        values = _positive(spectrum.singular_centred)
        lines += len(values) > 0
        axes.plot(
            np.arange(1, len(values) + 1),
            values,
            color=SERIES[place % len(SERIES)],
            ls=_STYLES[place % len(_STYLES)],
            marker="o" if len(values) < 3 else None,
            label=plain(name, 40),
        )
    if not lines:
        reason = "every singular value around the mean is 0:\nno direction varies"
        say_nothing_to_draw(figure, reason)
        return figure
    null = _positive(shown[0][1].null_singular)
    axes.plot(np.arange(1, len(null) + 1), null, color=NEUTRAL, lw=3.2, zorder=1, label="uniform")
    axes.set_yscale("log")
    decades = float(np.ptp(np.log10([*axes.get_ylim()])))
    if decades < 2:  # too few powers of ten to read by
        locator = MaxNLocator(5) if decades < 1 else LogLocator(subs=(1, 2, 5))
        axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("rank of the singular value")
    axes.set_ylabel("singular value / √N")
    axes.grid()
    figure.legend(loc="outside upper left", ncols=2 if len(shown) < 3 else 1)
    return figure


def _positive(values: Float[np.ndarray, " r"]) -> Float[np.ndarray, " s"]:
    return values[values > 0]


def _short(value: float, _place: int | None) -> str:
    return f"{value:g}".replace("-0", "-").replace("-", "−")
