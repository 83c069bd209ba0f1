"""Whether several runs are alike enough for their numbers to be set side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.report.wording import shortened

__all__ = ["Setting", "unlike", "warnings"]

Run = tuple[str, Analysis]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What has to be alike for numbers of two runs to be comparable."""

    count: int
    dim: int
    clusterings: tuple[tuple[int, str], ...]  # K and source of each
    n: int | None  # points in a cloud
    data: str | None
    layer: str | None
    branch: str | None = None  # if another than the layout's default one


def warnings(runs: Sequence[Run]) -> list[str]:
    """One sentence for each thing that makes runs unlike, and what that spoils."""
    settings = [_setting(analysis) for _, analysis in runs]
    return [
        f"Runs differ in {what} ({'; '.join(sorted(values))}): {spoils}"
        for what, read, spoils in (_POINTS, *_ALIKE)
        if len(values := {shortened(read(setting), 100) for setting in settings}) > 1
    ]


def unlike(first: Setting, second: Setting) -> list[tuple[str, str, str]]:
    """Say what differs between two runs, with both values; not n, which moves raw NEMD alone."""
    return [
        (what, read(first), read(second)) for what, read, _ in _ALIKE if read(first) != read(second)
    ]


def _setting(analysis: Analysis) -> Setting:
    m, provenance = analysis.measures, analysis.provenance
    return Setting(
        count=m.rows.count,
        dim=m.rows.dim,
        clusterings=tuple((c.k, c.source) for c in m.clusterings),
        n=m.nemd.n if m.nemd else None,
        data=provenance.data,
        layer=provenance.layer,
        branch=None if provenance.default_branch else provenance.branch,
    )


_RAW = "raw NEMD is not comparable, read the score."
_ALL = "no column is a fair comparison of encoders."
_Alike = tuple[str, Callable[[Setting], str], str]
_POINTS: _Alike = ("points per cloud, n", lambda s: str(s.n or "none"), _RAW)
_ALIKE: tuple[_Alike, ...] = (
    ("embeddings, N", lambda s: f"{s.count:,}", _RAW),
    ("dimension, d", lambda s: f"{s.dim:,}", _RAW),
    (
        "prototypes, K",
        lambda s: ", ".join(f"{k} {source}" for k, source in s.clusterings),
        "raw NEMD is not comparable, and the score is lower where a prototype holds several "
        "groups.",
    ),
    ("data", lambda s: s.data or "none", _ALL),
    ("layer", lambda s: s.layer or "none", _ALL),
    ("branch", lambda s: s.branch or "the default one", _ALL),
)
