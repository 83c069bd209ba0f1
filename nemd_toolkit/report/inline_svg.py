"""Figures inside a page: ids that do not clash, colours that follow the page, a text for readers.

matplotlib escapes <, > and quotes in what it writes, so a tag is what stands between < and >; only
tags are changed, never the text between them.
"""

import re

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from nemd_toolkit.figures import style
from nemd_toolkit.figures.saving import svg_text

__all__ = ["inline_svg"]

_VARIABLES = {
    style.INK: "var(--ink)",
    style.MUTED: "var(--muted)",
    style.GRID: "var(--line)",
    style.PAPER: "var(--paper)",
    style.NEUTRAL: "var(--neutral)",
    style.ZONE: "var(--zone)",
    style.ZONE_STRONG: "var(--zone-strong)",
    style.BLUE: "var(--blue)",
    style.VERMILLION: "var(--vermillion)",
    style.GREEN: "var(--green)",
    style.PURPLE: "var(--purple)",
    style.AMBER: "var(--amber)",
}
_COLOUR = re.compile("|".join(_VARIABLES))
_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')
_FONT = re.compile(r"'DejaVu Sans'[^;\"]*")
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL)


def inline_svg(figure: Figure, *, name: str, title: str, description: str) -> Markup:
    """Give an <svg> element for an HTML page, as wide as its place, named for screen readers."""
    text = _DROPPED.sub("", svg_text(figure, salt=name))
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None  # matplotlib writes one
    body = text[text.index(">", view.end()) + 1 :]
    themed = re.sub(r"<[^>]+>", lambda tag: _themed(tag[0], name), body)
    head = (
        f'<svg {view[0]} role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    return Markup(head + themed.strip())  # built from escaped parts


def _themed(tag: str, name: str) -> str:
    tag = _REFERENCE.sub(rf"\g<1>{name}-", tag)
    tag = _FONT.sub("var(--font)", tag)
    return _COLOUR.sub(lambda colour: _VARIABLES[colour[0]], tag)
