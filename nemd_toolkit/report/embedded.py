"""Numbers inside a page: tables as JSON that a script reads, small, and never taken for markup."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from nemd_toolkit.report.picture import Picture, places
from nemd_toolkit.report.wording import shortened

__all__ = ["MOST_ROWS", "as_script_data", "columns_of", "picture_data"]

MOST_ROWS = 5_000  # of a table inside a page; what has more is taken at even steps, and says so
LONGEST_TEXT = 200  # characters
DIGITS = 6  # significant ones; the files beside the page have all
_GRID = 10_000  # steps across a figure
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def as_script_data(content: Any) -> Markup:
    r"""JSON that may stand within a <script>: it cannot end it, whatever its strings hold.

    >>> print(as_script_data({"a": "</script>"}))
    {"a":"\u003c/script\u003e"}
    """
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(_ESCAPES))


def picture_data(picture: Picture) -> Markup:
    """Give a picture's table, with the place of each row in the figure where it can be pointed at.

    {"name", "title", "rows": in all, "columns": see `columns_of`, "x", "y": in ten thousandths of
    the figure's width and height, null where a row is outside}.
    """
    data, at = picture.data, places(picture)
    chosen = _spaced(len(data))
    hidden = picture.hover.hidden if picture.hover else ()
    content = {
        "name": picture.name,
        "title": picture.title,
        "rows": len(data),
        "columns": columns_of(data.iloc[chosen].drop(columns=list(hidden))),
    }
    if at is not None:
        for axis, values in zip("xy", at[chosen].T, strict=True):
            content[axis] = [None if math.isnan(v) else round(_GRID * v) for v in values.tolist()]
    return as_script_data(content)


def columns_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns as lists: {"name", "values"}; of few different texts {"name", "words", "codes"}."""
    return [{"name": str(name), **_column(table[name])} for name in table.columns]


def _column(column: "pd.Series[Any]") -> dict[str, Any]:
    if pd.api.types.is_integer_dtype(column):
        return {"values": [None if pd.isna(v) else int(v) for v in column]}
    if pd.api.types.is_numeric_dtype(column):
        return {"values": [_rounded(float(v)) for v in column]}
    texts = [shortened(str(value), LONGEST_TEXT) for value in column]
    words, codes = np.unique(np.array(texts, dtype=object), return_inverse=True)
    if 2 * len(words) > len(texts):
        return {"values": texts}
    return {"words": words.tolist(), "codes": codes.tolist()}


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _spaced(count: int) -> Any:
    return np.linspace(0, count - 1, min(count, MOST_ROWS)).round().astype(np.int64)
