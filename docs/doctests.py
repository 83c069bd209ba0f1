"""Shows the examples in docstrings as code: a fence around each block of >>> lines."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^>>> .*(?:\n(?!\n)(?!\Z).*)*)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Fences examples when an object's docstring has been read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring (griffe calls this for every object)."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(
                lambda found: f"```pycon\n{found.group()}\n```", obj.docstring.value
            )
