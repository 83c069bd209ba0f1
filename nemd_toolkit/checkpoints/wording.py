"""Quoting what a file says about itself, which may be anything."""

__all__ = ["shown"]

_LONGEST = 160


def shown(text: object) -> str:
    r"""Text on one line, without control characters, cut to 160 characters.

    >>> shown("two\nlines, a \x1b[31mcolour")
    'two lines, a ?[31mcolour'
    """
    line = " ".join(str(text).split())[:_LONGEST]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
