"""Reading the report.json of a reference run. It may come from anyone, so nothing is believed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import Baseline, Numbers
from nemd_toolkit.measures import Interval, Measures
from nemd_toolkit.report.comparability import Setting, unlike
from nemd_toolkit.report.document import SCHEMA, measures_part
from nemd_toolkit.report.wording import STATES

__all__ = ["numbers_of", "read_baseline", "require_comparable"]

_LARGEST = 64 << 20  # bytes; a report.json has some 100 kB
_MANY = float(1 << 53)
_ONE = 1 + 1e-6  # and rounding


def read_baseline(path: Path | str, *, epsilon: float) -> tuple[Baseline, Setting]:
    """Read a report.json, with the duplicates at cosine distance `epsilon`, and its setting.

    Raises InputError, in one sentence, for anything that is no report of this schema.
    """
    path = Path(path)
    if not path.is_file():
        got = "a folder; name the report.json in it" if path.is_dir() else "none; check the path"
        raise InputError(f"{path}: expected the report.json of a reference run, got {got}")
    if path.stat().st_size > _LARGEST:
        raise InputError(
            f"{path}: expected a report.json of at most {_LARGEST >> 20} MB, got "
            f"{path.stat().st_size:,} bytes; name the report.json of a reference run"
        )
    data = path.read_bytes()
    try:
        content = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
        return _interpreted(content, str(path), hashlib.sha256(data).hexdigest(), epsilon)
    # ValueError: not UTF-8, no JSON, a number of thousands of digits, or nothing that fits
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else shown(error)
        raise InputError(
            f"{path}: expected a report.json of schema {SCHEMA}, got something else ({reason}); "
            "write the baseline anew with `nemd analyze`"
        ) from None


def numbers_of(measures: Measures, *, epsilon: float) -> Numbers:
    """Give the numbers of this run just as those of a baseline are read."""
    return _numbers(measures_part(measures), epsilon)


def require_comparable(baseline: Baseline, theirs: Setting, ours: Setting) -> None:
    """Raise InputError, naming all that differs, unless a change would be the encoder's."""
    different = "; ".join(
        f"{what} ({shown(there)} there, {here} here)" for what, there, here in unlike(theirs, ours)
    )
    if different:
        raise InputError(
            f"{baseline.file}: expected a baseline with the data, layer, branch, size and "
            f"prototypes of this run, got another {different}; analyse both alike"
        )


def _interpreted(content: Any, file: str, digest: str, epsilon: float) -> tuple[Baseline, Setting]:
    schema = content.get("schema") if isinstance(content, Mapping) else None
    if schema != SCHEMA:
        raise ValueError(f"schema {shown(schema)}")
    measures, provenance = _table(content, "measures"), _table(content, "provenance")
    state = _text(_table(content, "verdict"), "state")
    if state not in STATES:
        raise ValueError(f"state {shown(state)}")
    baseline = Baseline(
        file=file,
        sha256=digest,
        source=shown(_text(provenance, "source")),
        state=str(state),
        numbers=_numbers(measures, epsilon),
    )
    return baseline, _setting(measures, provenance)


def _setting(measures: Mapping[str, Any], provenance: Mapping[str, Any]) -> Setting:
    rows, nemd = _table(measures, "embeddings"), _table(measures, "nemd")
    return Setting(
        count=int(_number(rows, "count", 1.0, _MANY)),
        dim=int(_number(rows, "dim", 1.0, _MANY)),
        clusterings=tuple(
            (int(_number(c, "k", 1.0, _MANY)), shown(_text(c, "source")))
            for c in _clusterings(measures)
        ),
        n=None if nemd.get("n") is None else int(_number(nemd, "n", 1.0, _MANY)),
        data=_text(provenance, "data"),
        layer=_text(provenance, "layer"),
        # reports of old have neither entry
        branch=_text(provenance, "branch") if provenance.get("default_branch") is False else None,
    )


def _numbers(measures: Mapping[str, Any], epsilon: float) -> Numbers:
    nemd, spectrum = _table(measures, "nemd"), _table(measures, "spectrum")
    null = _number(spectrum, "null_effective_rank", 0.0, _MANY)
    rank = _number(spectrum, "effective_rank_centred", 0.0, _MANY)
    clusterings = _clusterings(measures)
    return Numbers(
        score=_interval(nemd, "score"),
        excess=_interval(nemd, "excess"),
        rank_share=rank / null if null > 0 else 0.0,
        mean_share=_number(_table(measures, "instance"), "resultant", 0.0, _ONE) ** 2,
        duplicates=tuple(
            _number(_table(_table(c, "spread"), "duplicates"), f"{epsilon:g}", 0.0, 1.0)
            for c in clusterings
        ),
        entropy=tuple(_number(_table(c, "usage"), "entropy", 0.0, _ONE) for c in clusterings),
        knn=_accuracy(measures.get("quality")),
    )


def _accuracy(quality: Any) -> Interval | float | None:
    knn = quality.get("knn") if isinstance(quality, Mapping) else None
    if isinstance(knn, Mapping):
        return _interval(quality, "knn")
    return None if knn is None else _number(quality, "knn", 0.0, 1.0)


def _interval(table: Mapping[str, Any], key: str) -> Interval | None:
    if table.get(key) is None:
        return None
    inside = _table(table, key)
    low, value, high = (_number(inside, end, -_MANY, _MANY) for end in ("low", "value", "high"))
    if not low <= value <= high:
        raise ValueError(f"{key} {value} outside its interval {low}…{high}")
    return Interval(value=value, low=low, high=high)


def _clusterings(measures: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found = measures.get("clusterings")
    if not isinstance(found, list) or not found or not all(isinstance(c, Mapping) for c in found):
        raise ValueError("clusterings are missing")
    return found


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key)
    if not isinstance(found, Mapping):
        raise ValueError(f"{key} is missing")  # noqa: TRY004  caught above, as all that is wrong
    return found


def _number(table: Mapping[str, Any], key: str, low: float, high: float) -> float:
    value: Any = table.get(key)
    if type(value) not in (int, float) or not low <= value <= high:  # NaN is not, either
        raise ValueError(f"{key} is {shown(value)}")
    return float(value)


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is {shown(value)}")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
