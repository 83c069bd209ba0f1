"""Figures as bytes: the same figure gives the same bytes, without dates or versions."""

import io

import matplotlib
from matplotlib.figure import Figure

from nemd_toolkit.figures.style import PAPER

__all__ = ["png_bytes", "svg_text"]

DPI = 200


def svg_text(figure: Figure, salt: str) -> str:
    """Give the SVG document, transparent, with text kept as text; `salt` seeds its ids."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", facecolor="none", metadata=empty, dpi=DPI)
    return text.getvalue()


def png_bytes(figure: Figure, dpi: int = DPI) -> bytes:
    """Give the PNG file, on paper colour."""
    data = io.BytesIO()
    figure.savefig(data, format="png", facecolor=PAPER, metadata={"Software": None}, dpi=dpi)
    return data.getvalue()
