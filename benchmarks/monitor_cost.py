"""What watching costs: single checks by size, and trainings with and without, turn by turn."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from nemd_toolkit.measures.null import uniform_points
from nemd_toolkit.monitor import Monitor
from nemd_toolkit.monitor.numbers import measure_window
from pauc_train.loop import fit
from pauc_train.watching import Watch, Watching

__all__ = ["single_checks", "trainings"]

Record = dict[str, Any]
SIZES = (  # rows, dimensions, own prototypes
    (2048, 64, 0),
    (2048, 128, 0),
    (2048, 128, 1000),
    (2048, 512, 0),
    (2048, 512, 1000),
    (2048, 2048, 0),
    (2048, 2048, 1000),
    (4096, 2048, 0),
    (4096, 2048, 1000),
)
REPEATS = 5


def single_checks() -> Iterator[Record]:
    """Time measuring a window, the anchors cached as from the second check on, and one step."""
    for n, d, own in SIZES:
        rows = uniform_points(n, d, seed=0)
        vectors = uniform_points(own, d, seed=1) if own else None
        seconds = [_seconds(lambda r=rows, v=vectors: _measure(r, v)) for _ in range(1 + REPEATS)]
        yield {
            "rows": n,
            "dim": d,
            "own": own,
            "first_ms": round(1000 * seconds[0], 2),
            "ms": round(1000 * statistics.median(seconds[1:]), 2),
            "step_us": round(1e6 * _step(d), 2),
        }


def _measure(rows: torch.Tensor, vectors: torch.Tensor | None) -> None:
    measure_window(rows, k=32, window=len(rows), prototypes=vectors)


def _seconds(action: Callable[[], None]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def _step(dim: int) -> float:
    """Time taking a batch of 256 rows without looking at it."""
    monitor = Monitor(every=10**9, log=None)
    batch, loss = uniform_points(256, dim, seed=0), torch.tensor(1.0)
    monitor.step(batch, loss=loss)
    began = time.process_time()
    for _ in range(1000):
        monitor.step(batch, loss=loss)
    return (time.process_time() - began) / 1000


def trainings(turns: int, fashion_mnist: Path) -> Iterator[Record]:
    """Train without and with the monitor in turns, and time what it does itself as well."""
    for name, data, overrides in (
        ("resnet8-tiny on digits", "digits", {"epochs": 60}),
        ("resnet8-strided on Fashion-MNIST", f"fashion-mnist:{fashion_mnist}", {"epochs": 1}),
    ):
        sides: dict[Watching, list[Record]] = {"off": [], "warn": []}
        _train("digits", {"epochs": 11}, "warn")  # what is compiled or imported once
        for turn in range(turns):
            order: tuple[Watching, ...] = ("off", "warn") if turn % 2 else ("warn", "off")
            for side in order:
                sides[side].append(_train(data, overrides, side))
        yield {"name": name, "method": "mocov2", "overrides": overrides, **_summary(sides)}


def _summary(sides: dict[Watching, list[Record]]) -> Record:
    def ratio(clock: str) -> list[float]:
        pairs = zip(sides["warn"], sides["off"], strict=True)
        return [round(mine[clock] / other[clock], 4) for mine, other in pairs]

    return {
        "steps": sides["warn"][0]["steps"],
        "cpu_seconds_off": [row["cpu"] for row in sides["off"]],
        "cpu_ratio": ratio("cpu"),
        "wall_ratio": ratio("wall"),
        "own_share": [round(row["own"] / row["cpu"], 5) for row in sides["warn"]],
    }


def _train(data: str, overrides: Record, side: Watching) -> Record:
    own, steps = [0.0], [0]
    plain = Watch.see

    def timed(self: Watch, *given: Any) -> None:
        began = time.process_time()
        plain(self, *given)
        own[0] += time.process_time() - began
        steps[0] += 1

    Watch.see = timed  # type: ignore[method-assign]
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = {**overrides, "threads": 1}
            fit("mocov2", data, seed=0, out=folder, overrides=settings, monitor=side)
    finally:
        Watch.see = plain  # type: ignore[method-assign]
    return {
        "wall": round(time.perf_counter() - wall, 3),
        "cpu": round(time.process_time() - cpu, 3),
        "own": own[0],
        "steps": steps[0],
    }
