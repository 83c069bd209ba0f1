"""From a folder of checkpoints to a course: analyse what is new, take the rest from records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemd_toolkit.checkpoints import sha256
from nemd_toolkit.errors import InputError, NemdError
from nemd_toolkit.findings import Thresholds, parse_codes
from nemd_toolkit.measures.row_influence import uniformity_error
from nemd_toolkit.pipeline import Prototyping, analyze
from nemd_toolkit.progress import bar
from nemd_toolkit.report.analysis import Analysis
from nemd_toolkit.tracking.branches import trained_branch
from nemd_toolkit.tracking.course import Course, Stop, course_of
from nemd_toolkit.tracking.files import Candidate, find_sources
from nemd_toolkit.tracking.points import point_from
from nemd_toolkit.tracking.positions import natural_key, order_of, stored_position
from nemd_toolkit.tracking.records import Record, keep, kept, log_digest, settings_digest

__all__ = ["Failure", "Tracked", "track"]

_EPSILON = Thresholds().duplicate_epsilon
_LONGEST_REASON = 500  # characters
_DEFAULTS: dict[str, Any] = {"split": "train", "device": "cpu"}
_DEFAULTS |= dict.fromkeys(("layer", "layout", "branch", "encoder"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A checkpoint that could not be analysed, and the sentence why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A course, and what was done for it."""

    course: Course
    failures: tuple[Failure, ...]
    ignored: int  # files that are no checkpoints
    repeated: tuple[str, ...]  # names of files with the bytes of another one
    analysed: int  # now; all others were taken from records
    settings: Mapping[str, Any]

    @property
    def ends_unread(self) -> bool:
        """Whether a checkpoint that could not be read may be the last of the run, by its name."""
        last = natural_key(self.course.stops[-1].file)
        return any(natural_key(failure.name) > last for failure in self.failures)

    def to_json(self) -> str:
        """Give the document of schema nemd-track/1 as text."""
        from nemd_toolkit.tracking.document import to_json

        return to_json(self)

    def write(self, folder: Path | str) -> Path:
        """Write track.html, track.json, track.csv and figures; returns the path of the page."""
        from nemd_toolkit.tracking.page import write

        return write(self, Path(folder))


def track(
    sources: Sequence[Path | str] | Path | str,
    data: str | None = None,
    prototypes: Prototyping | Sequence[Prototyping] | None = None,
    seed: int = 0,
    *,
    records: Path | str,
    labels: Path | str | None = None,
    ignore: str | Sequence[str] = (),
    **options: Any,
) -> Tracked:
    """Analyse the checkpoints (or embeddings) in a folder, or those named, in training order.

    records: a folder of analyses made before; a checkpoint in it under the same settings, data and
    versions is not analysed again, and each new one is added as soon as it is done. data,
    prototypes, seed, labels, ignore and options (layer, split, device, cache, layout, branch,
    encoder) as in `analyze`, but that of several encoders the trained one is read by default, not
    its slow mean. A checkpoint that cannot be analysed is a failure, and stops nothing.

    Raises InputError where there is no checkpoint, where none could be analysed, and for records
    that cannot be written.

    >>> import tempfile, torch
    >>> folder = Path(tempfile.mkdtemp())
    >>> for epoch in range(2):
    ...     torch.save(torch.randn(200, 8), folder / f"epoch_{epoch}.pt")
    >>> found = track(folder, records=folder / "records")
    >>> found.analysed, [stop.label for stop in found.course.stops]
    (2, ['epoch 0', 'epoch 1'])
    >>> track(folder, records=folder / "records").analysed
    0
    """
    named = [sources] if isinstance(sources, (str, Path)) else list(sources)
    found = find_sources([Path(source) for source in named], images=data is not None)
    ignored = parse_codes(ignore, "--ignore") if ignore else ()
    if isinstance(prototypes, (int, str)):
        prototypes = (prototypes,)
    asked: dict[str, Any] = {"data": data, "prototypes": prototypes, "seed": seed}
    asked |= {"ignore": ignored} | _DEFAULTS | options
    asked["labels"] = None if labels is None else sha256(_file(labels))
    images = None if data is None else (data, options.get("split", "train"))
    work = _Work(
        folder=Path(records),
        settings=settings_digest({k: v for k, v in asked.items() if k != "cache"}, images=images),
        options={"data": data, "prototypes": prototypes, "seed": seed, "labels": labels}
        | {"ignore": ignored}
        | options,
    )
    taken, failures, repeated = _records(found.candidates, work)
    if not taken:
        first = failures[0]
        many = (
            f"none of {len(failures)} checkpoints could be" if failures[1:] else "it could not be"
        )
        raise InputError(f"track: {many} analysed; {first.name}: {first.reason}")
    return Tracked(
        course=_course(taken),
        failures=tuple(failures),
        ignored=found.ignored,
        repeated=tuple(repeated),
        analysed=sum(each.new for each in taken),
        settings={**asked, "labels": None if labels is None else str(labels)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Where records are, and how a checkpoint is analysed."""

    folder: Path
    settings: str  # digest
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A checkpoint and its analysis."""

    name: str
    sha256: str
    record: Record
    new: bool


def _records(
    candidates: Sequence[Candidate], work: _Work
) -> tuple[list[_Taken], list[Failure], list[str]]:
    """Give records of all that can be read, what failed, and what repeats another."""
    taken: list[_Taken] = []
    failures: list[Failure] = []
    repeated: list[str] = []
    ordered = sorted(candidates, key=lambda candidate: natural_key(candidate.name))
    with bar("checkpoints", len(ordered)) as advance:
        for candidate in ordered:
            found = _taken(candidate, {each.sha256 for each in taken}, work)
            advance(1)
            if found is None:
                repeated.append(candidate.name)
            elif isinstance(found, Failure):
                failures.append(found)
            else:
                taken.append(found)
                if found.new:  # at once: what is done is kept, whatever comes next
                    keep(work.folder, found.sha256, work.settings, found.record)
    return taken, failures, repeated


def _taken(candidate: Candidate, seen: set[str], work: _Work) -> _Taken | Failure | None:
    """Take the kept record, or analyse; None for another copy of one and the same checkpoint.

    A file that states its epoch and has the bytes of another is the same checkpoint, such as
    last.pt. Embeddings state none: equal ones of two epochs are a run that stands still.
    """
    try:
        digest = sha256(candidate.path)
        record = kept(work.folder, digest, work.settings, epsilon=_EPSILON)
        if record is None or record.log != log_digest(candidate.path, record.position):
            record = _analysed(candidate.path, work.options)
            return _Taken(name=candidate.name, sha256=digest, record=record, new=True)
        if digest in seen and record.position is not None:
            return None
        return _Taken(name=candidate.name, sha256=digest, record=record, new=False)
    except (NemdError, OSError) as error:
        reason = "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split()))
        return Failure(name=candidate.name, reason=reason[:_LONGEST_REASON])


def _analysed(path: Path, options: Mapping[str, Any]) -> Record:
    position = stored_position(path)
    chosen = any(options.get(name) is not None for name in ("branch", "layout", "encoder"))
    found = analyze(path, **(options if chosen else {**options, "branch": _trained(path, options)}))
    report = json.loads(found.to_json())
    error = _uniform_error(found)
    return Record(
        position=position,
        log=log_digest(path, position),
        report=report,
        uniform_error=error,
        point=point_from(report, error, epsilon=_EPSILON),
    )


def _trained(path: Path, options: Mapping[str, Any]) -> str | None:
    return None if options.get("data") is None else trained_branch(path)


def _uniform_error(analysis: Analysis) -> float:
    m = analysis.measures
    return uniformity_error(m.clusterings[0].prototypes.embeddings, m.instance.uniform_rows)


def _course(taken: Sequence[_Taken]) -> Course:
    order = order_of([each.name for each in taken], [each.record.position for each in taken])
    stops = [
        Stop(
            label=label,
            at=at,
            file=taken[place].name,
            sha256=taken[place].sha256,
            point=taken[place].record.point,
        )
        for place, label, at in zip(order.places, order.labels, order.at, strict=True)
    ]
    return course_of(stops, unit=order.unit, ordered_by=order.by)


def _file(path: Path | str) -> Path:
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a file of labels, got none; check the path")
    return Path(path)
