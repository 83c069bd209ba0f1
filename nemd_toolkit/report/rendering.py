"""Templates to pages: everything escaped, one file, no request."""

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nemd_toolkit.findings import would_be
from nemd_toolkit.report.wording import STATUSES, state_of

__all__ = ["render"]

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("shared", "sort", "filter", "figures", "charts", "clouds", "matrix", "explorer")
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals |= {"state_of": state_of, "statuses": STATUSES, "would_be": would_be}


def _script() -> str:
    parts = [
        (_TEMPLATES / "scripts" / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS
    ]
    return '"use strict";\n' + "\n".join(part.strip() for part in parts)


def render(template: str, **context: Any) -> str:
    """Fill a page. The policy in it lets only our own script run, known by its hash."""
    script = _script()
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _ENVIRONMENT.get_template(template).render(
        script=Markup(script), script_hash=f"sha256-{digest}", **context
    )
