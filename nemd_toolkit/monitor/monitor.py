"""The monitor itself: takes every batch, looks at intervals, and acts on what lasts."""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from nemd_toolkit.errors import Collapsed, InputError
from nemd_toolkit.findings import Thresholds, parse_codes
from nemd_toolkit.findings.finding import Finding
from nemd_toolkit.loggers import Logger, to_json_lines
from nemd_toolkit.monitor.check import Check
from nemd_toolkit.monitor.judging import Judged, judge_window
from nemd_toolkit.monitor.losses import Losses, LossNumbers
from nemd_toolkit.monitor.numbers import WindowNumbers, measure_window
from nemd_toolkit.monitor.patience import Patience
from nemd_toolkit.monitor.window import Window
from nemd_toolkit.progress import show_progress

__all__ = ["Action", "CollapseWarning", "Monitor", "sentence"]

Action = Literal["warn", "raise", "stop"]
_LEAST_ROWS = 256  # to check: with fewer, ranks and scores are mostly chance


class CollapseWarning(UserWarning):
    """A monitor found an issue that lasts."""


def _warn(text: str) -> None:
    warnings.warn(text, CollapseWarning, stacklevel=2)


class _Seen(NamedTuple):
    numbers: WindowNumbers | None
    invalid: int
    loss: LossNumbers | None
    judged: tuple[Judged, ...]


class Monitor:
    """Watches embeddings while they are trained.

    every: steps between checks. on_finding: what a collapse that lasts leads to: "warn" says it
    once, "stop" also sets `should_stop`, "raise" raises `Collapsed`. A doubt that lasts, such as
    rows of NaN, is said and no more. patience: checks in a row that have to show an issue without
    getting better. warmup: steps before which an issue counts only where it was better once, since
    random networks often look collapsed. log: file that gets a JSON line a check; None for none.
    loggers: get each check's numbers by name and its step, see `nemd_toolkit.loggers`.
    window: embeddings that are kept, window · d · 4 bytes on their device. k: prototypes of the
    score, by k-means; fewer than there are groups make it too low. ignore: codes that never count.
    say: gets the sentences; by default they are warnings.

    `should_stop` is the same in every process of torch.distributed: call `step` in all of them,
    the first measures. Nothing here draws from global randomness or changes what is trained.
    Raises InputError for settings that cannot be used.

    >>> monitor = Monitor(every=2, log=None)
    >>> print(monitor.step(torch.eye(8).repeat(32, 1)))
    None
    >>> check = monitor.step(torch.eye(8).repeat(32, 1), loss=1.5)
    >>> check.step, check.numbers.rows, round(check.numbers.variance, 3), check.loss.mean
    (2, 512, 0.875, 1.5)
    """

    def __init__(
        self,
        *,
        every: int = 100,
        on_finding: Action = "warn",
        patience: int = 3,
        warmup: int = 5_000,
        log: Path | str | None = "monitor.jsonl",
        loggers: Sequence[Logger] = (),
        prototypes: Tensor | Callable[[], Tensor] | None = None,
        window: int = 2_048,
        k: int = 32,
        ignore: str | Sequence[str] = (),
        thresholds: Thresholds | None = None,
        say: Callable[[str], None] = _warn,
    ) -> None:
        for name, value, least in (
            ("every", every, 1),
            ("patience", patience, 1),
            ("warmup", warmup, 0),
            ("window", window, _LEAST_ROWS),
            ("k", k, 4),
        ):
            if value < least:
                raise InputError(f"monitor: expected {name} of at least {least}, got {value}")
        if on_finding not in get_args(Action):
            raise InputError(
                f"monitor: expected on_finding to be one of {', '.join(get_args(Action))}, got "
                f"{on_finding!r}"
            )
        self.steps = 0  # seen; set it where a training goes on
        self.should_stop = False
        self.last: Check | None = None
        self._every, self._on_finding, self._warmup = every, on_finding, warmup
        self._prototypes, self._k = prototypes, k
        self._ignored = parse_codes(ignore, "ignore") if ignore else ()
        self._limits = thresholds or Thresholds()
        self._window, self._losses, self._patience = Window(window), Losses(), Patience(patience)
        self._log = None if log is None else to_json_lines(log)
        self._loggers, self._say = tuple(loggers), say
        self._began = False
        self._said: frozenset[str] = frozenset()

    def step(
        self,
        embeddings: Tensor,
        *,
        loss: Tensor | float | None = None,
        classes: int | None = None,
    ) -> Check | None:
        """Take a batch's embeddings as the network gives them; a record every `every` steps.

        embeddings: (b, d), of any floating type and length; no gradient is kept. loss: of this
        batch; classes: how many it chooses among, where that is to be compared with ln K
        (NEMD011): K prototypes, or negatives + 1. None between checks, while there are fewer than
        256 rows, and in every process but the first. Raises InputError for embeddings that are no
        (b, d) rows or of another d than before, and Collapsed where it was asked to.
        """
        if embeddings.ndim != 2 or embeddings.shape[0] < 1:
            raise InputError(
                "monitor: expected embeddings of shape (batch, dimensions), got "
                f"{tuple(embeddings.shape)}; give the rows that the loss compares"
            )
        self.steps += 1
        first = _rank() == 0
        if first:
            self._window.add(embeddings)
            if loss is not None:
                self._losses.add(loss, classes)
            if not self._began and len(self._window) >= min(_LEAST_ROWS, self._window.size):
                self._began = True
                self._patience.begin(self._look().judged)
        if self.steps % self._every:
            return None
        check = self._check() if first and self._began else None
        self._act(check, embeddings.device)
        return check

    def _look(self) -> _Seen:
        rows = self._window.rows()
        vectors = self._prototypes() if callable(self._prototypes) else self._prototypes
        with torch.no_grad(), show_progress(False):
            numbers, invalid = measure_window(
                rows, k=self._k, window=self._window.size, prototypes=vectors
            )
        loss = self._losses.read()
        found = judge_window(numbers, loss, invalid, self._limits)
        judged = tuple(j for j in found if j.code not in self._ignored)
        return _Seen(numbers=numbers, invalid=invalid, loss=loss, judged=judged)

    def _check(self) -> Check:
        began = time.perf_counter()
        seen = self._look()
        lasting = self._patience.update(seen.judged, warm=self.steps >= self._warmup)
        check = Check(
            step=self.steps,
            numbers=seen.numbers,
            invalid=seen.invalid,
            loss=seen.loss,
            findings=tuple(each.finding for each in seen.judged),
            lasting=lasting,
            seconds=time.perf_counter() - began,
        )
        self.last = check
        if self._log is not None:
            self._log(check.plain())
        for write in self._loggers:
            write({f"monitor/{name}": value for name, value in check.values().items()}, check.step)
        for finding in lasting:
            if finding.about.code not in self._said:
                self._say(sentence(finding, check.step))
        self._said = frozenset(f.about.code for f in lasting)
        return check

    def _act(self, check: Check | None, device: torch.device) -> None:
        """Stop or raise in all processes alike."""
        if self._on_finding == "warn":
            return
        collapse = check.collapse if check is not None else None
        if not _agreed(collapse is not None, device):
            return
        self.should_stop = True
        if self._on_finding == "raise":
            words = "the first process found a collapse"
            raise Collapsed(sentence(collapse, self.steps) if collapse else words)


def sentence(finding: Finding, step: int) -> str:
    """Say a finding, with what to do."""
    about = finding.about
    return (
        f"monitor: {about.code} {about.name} at step {step:,}: {finding.message}. {about.remedy} "
        f"(`nemd explain {about.code}`)"
    )


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _agreed(here: bool, device: torch.device) -> bool:
    """Give the first process's answer in all of them."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return here
    place = device if dist.get_backend() == "nccl" else torch.device("cpu")
    flag = torch.tensor([int(here)], device=place)
    dist.broadcast(flag, src=0)
    return bool(flag.item())
