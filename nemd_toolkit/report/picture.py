"""A figure with its words, its data, and where in it each row of the data stands."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

__all__ = ["Hover", "Picture", "places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hover:
    """Which columns of a picture's data are the coordinates of its marks."""

    x: str
    y: str
    hidden: tuple[str, ...] = ()  # columns that only place a mark: not told, not downloaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure with its words and the numbers that it shows."""

    name: str  # of the file and of ids
    title: str
    reading: str  # one sentence: how to read it
    alt: str  # what it shows, in numbers
    figure: Figure
    data: pd.DataFrame
    hover: Hover | None = None  # None: its values are not to be pointed at one by one


def places(picture: Picture) -> Float[np.ndarray, "r 2"] | None:
    """Where each row of the data stands in the drawn figure, as shares of its width and height.

    From the upper left; NaN for a row outside. None where nothing can be pointed at. The figure
    must have been drawn, for its layout is settled then.
    """
    if picture.hover is None or not picture.figure.axes or not len(picture.data):
        return None
    axes = picture.figure.axes[0]
    if not axes.axison:  # a sentence stands in place of the picture
        return None
    columns = picture.data[[picture.hover.x, picture.hover.y]].to_numpy(dtype=np.float64)
    with np.errstate(all="ignore"):  # zeros on a log scale
        at = axes.transData.transform(columns) / picture.figure.bbox.size
    at[:, 1] = 1 - at[:, 1]
    at[~((at >= 0) & (at <= 1)).all(axis=1)] = np.nan
    return at
