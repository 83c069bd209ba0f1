"""The processes that work together, as torchrun starts them; without torchrun there is one.

Every process runs the same program on the same inputs. Inside `sharing()` heavy work is divided:
each process does its part, and all of them then hold the whole. What is not divided, all compute
alike. The parts do not depend on what is in them, and are put together in the order of the
processes, so that results do not depend on how many there are.

Outside of `sharing()` nothing is divided, whatever process group a training has: there one process
may call what the others do not.
"""

import hashlib
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float64, Shaped
from torch import Tensor

from nemd_toolkit import errors
from nemd_toolkit.errors import InputError, NemdError
from nemd_toolkit.threads import in_threads

__all__ = [
    "added",
    "agreed",
    "alike",
    "by_blocks",
    "count",
    "cuts",
    "everywhere",
    "first",
    "gathered",
    "rank",
    "sharing",
    "spread",
    "summed",
    "together",
    "workers",
]

T = TypeVar("T")
_RUNS = 64  # of blocks, that are summed apart
_RUN_ENTRIES = 1 << 25  # of their sums together: 256 MB
_shared = False  # of the program, not of a context: autograd's threads would not see it


def count() -> int:
    """Give the number of processes.

    >>> count()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Give this process's number, from 0."""
    return dist.get_rank() if count() > 1 else 0


def agreed(x: Tensor) -> Tensor:
    """Give the first process's value to all: what each computed alike may differ by rounding.

    >>> agreed(torch.ones(2))
    tensor([1., 1.])
    """
    if count() == 1:
        return x
    told = x.detach().clone(memory_format=torch.contiguous_format)
    dist.broadcast(told, src=0)
    return told


@contextmanager
def sharing() -> Iterator[None]:
    """Divide work among the processes inside this block, which all of them must enter."""
    with _set_shared(True):
        yield


@contextmanager
def _set_shared(shared: bool) -> Iterator[None]:
    global _shared
    before, _shared = _shared, shared
    try:
        yield
    finally:
        _shared = before


def workers() -> int:
    """Give the number of processes that work is divided among: 1 outside of `sharing()`.

    >>> workers()
    1
    """
    return count() if _shared else 1


def cuts(parts: int) -> list[int]:
    """Where to cut so many parts: process r does those from number r to number r + 1 of the list.

    >>> cuts(10)
    [0, 10]
    """
    return [parts * r // workers() for r in range(workers() + 1)]


def spread(whole: Tensor, edges: list[int]) -> None:
    """Fill rows of others in: of `whole`, process r has computed rows edges[r]…edges[r + 1] − 1.

    >>> spread(torch.ones(3), [0, 3])
    """
    if workers() == 1:
        return
    for source, (start, stop) in enumerate(pairwise(edges)):
        if stop > start:
            dist.broadcast(whole[start:stop], src=source)


def by_blocks(
    count: int,
    block: int,
    compute: Callable[[slice], Tensor],
    dtype: torch.dtype = torch.long,
    shape: Sequence[int] = (),
    *,
    alone: bool = False,
) -> Shaped[Tensor, "n *shape"]:
    """Give a number, or several of one shape, for each of `count` rows.

    `compute` gives those of a block. Processes share the blocks, and threads those of a process,
    if it is not to be `alone`, as what has threads of its own is; it divides nothing further.

    >>> by_blocks(5, 2, lambda rows: torch.arange(5)[rows] * 2)
    tensor([0, 2, 4, 6, 8])
    """
    edges = [min(count, cut * block) for cut in cuts(-(-count // block))]
    whole = torch.empty(count, *shape, dtype=dtype)
    place = rank() if workers() > 1 else 0
    stop = edges[place + 1]
    parts = [slice(s, min(s + block, stop)) for s in range(edges[place], stop, block)]

    def take(some: Iterable[slice]) -> None:
        for rows in some:
            whole[rows] = compute(rows)

    with _set_shared(False):
        in_threads(parts, take, alone=alone)
    spread(whole, edges)
    return whole


def summed(
    count: int,
    block: int,
    shape: Sequence[int],
    add: Callable[[Tensor, slice], None],
    device: torch.device | None = None,
) -> Float64[Tensor, "..."]:
    """Sum over `count` rows; `add` adds the terms of a block of them to a sum, in place.

    Blocks are summed in runs that depend on the numbers above alone, and the runs' sums in their
    order, so that no bit depends on the processes or threads that share them. The runs' sums take
    256 MB at most, or a process's share of that; of one process, those that its threads are at.

    >>> summed(5, 2, (), lambda total, rows: total.add_(torch.arange(5.0)[rows].sum()))
    tensor(10., dtype=torch.float64)
    """
    blocks = -(-count // block)
    runs = min(blocks, _RUNS, max(1, _RUN_ENTRIES // max(1, math.prod(shape))))
    starts = [min(count, block * (blocks * run // runs)) for run in range(runs + 1)]

    def sum_of(run: int) -> Tensor:
        found = torch.zeros(tuple(shape), dtype=torch.float64, device=device)
        for start in range(starts[run], starts[run + 1], block):
            add(found, slice(start, min(start + block, starts[run + 1])))
        return found

    def sums_of(some: range) -> list[Tensor]:
        found = {}

        def take(own: Iterable[int]) -> None:
            for run in own:
                found[run] = sum_of(run)

        in_threads(some, take, alone=device is not None and device.type != "cpu")
        return [found[run] for run in some]

    total = torch.zeros(tuple(shape), dtype=torch.float64, device=device)
    for sums in _in_order(runs, shape, sums_of):
        for one in sums:
            total += one
    return total


def _in_order(
    runs: int, shape: Sequence[int], sums_of: Callable[[range], list[Tensor]]
) -> Iterator[Iterable[Tensor]]:
    """Give the sums of all runs, first to last: as many at a time as there are threads.

    Of several processes each computes its share, and tells the others when its turn comes.
    """
    if workers() == 1:
        threads = torch.get_num_threads()
        for begin in range(0, runs, threads):
            yield sums_of(range(begin, min(begin + threads, runs)))
        return
    edges = cuts(runs)
    own = sums_of(range(edges[rank()], edges[rank() + 1]))
    for source, (begin, end) in enumerate(pairwise(edges)):
        if end > begin:
            there = torch.empty(end - begin, *shape, dtype=torch.float64)
            sums = torch.stack(own) if source == rank() else there
            dist.broadcast(sums, src=source)
            yield sums


def gathered(rows: Tensor) -> Tensor:
    """Rows of all processes, any number from each, in the order of the processes.

    >>> gathered(torch.eye(2)).shape
    torch.Size([2, 2])
    """
    if workers() == 1:
        return rows
    sizes = torch.zeros(workers() + 1, dtype=torch.long)
    sizes[rank() + 1] = len(rows)
    edges = added(sizes).cumsum(0).tolist()
    whole = rows.new_empty(edges[-1], *rows.shape[1:])
    whole[edges[rank()] : edges[rank() + 1]] = rows
    spread(whole, edges)
    return whole


def added(x: Tensor) -> Tensor:
    """Sum over the processes, in place; exact for integers, and where no sum is rounded.

    >>> added(torch.ones(2))
    tensor([1., 1.])
    """
    if workers() > 1:
        dist.all_reduce(x)
    return x


def everywhere(here: bool) -> bool:
    """Whether it holds in all processes.

    >>> everywhere(True)
    True
    """
    return int(added(torch.tensor(int(here)))) == workers()


def together(what: str, work: Callable[[], T]) -> T:
    """Do `work` in every process; where it fails in one, all raise that error.

    Raises NemdError where another process does something else meanwhile.

    >>> together("addition", lambda: 1 + 1)
    2
    """
    if workers() == 1:
        return work()
    failed: Exception | None = None
    try:
        result = work()
    except Exception as error:  # noqa: BLE001  (all raise it)
        failed = error
    states = torch.zeros(workers(), 2, dtype=torch.long)
    states[rank()] = torch.tensor([zlib.crc32(what.encode()), failed is not None])
    added(states)
    if len(states[:, 0].unique()) > 1:
        raise NemdError(
            f"processes: expected {what} in all, got something else in one; give all of them the "
            "same files and the same versions"
        )
    if bool(states[:, 1].any()):
        _raise(failed, int(states[:, 1].argmax()))
    return result


def first(what: str, work: Callable[[], T]) -> T | None:
    """Do `work` in the first process alone, undivided, while the others wait; None in those.

    >>> first("addition", lambda: 1 + 1)
    2
    """

    def alone() -> T | None:
        if rank() and workers() > 1:
            return None
        with _set_shared(False):
            return work()

    return together(what, alone)


def alike(facts: Mapping[str, str | None]) -> None:
    """Raise InputError in all processes unless each has the same to say.

    >>> alike({"source": "a"})
    """
    if workers() == 1:
        return
    digests = [hashlib.sha256(repr(fact).encode()).digest()[:8] for fact in facts.values()]
    here = torch.tensor([[int.from_bytes(digest, signed=True) for digest in digests]])
    there = gathered(here)
    for place, name in enumerate(facts):
        others = (there[:, place] != there[0, place]).nonzero().flatten().tolist()
        if others:
            raise InputError(
                f"processes: expected the same {name} in all, got another in process {others[0]} "
                "than in the first: ranks with different data; give all of them the same files on "
                "shared storage, and the same versions"
            )


def _raise(failed: Exception | None, source: int) -> None:
    """Raise the error of process `source` in all of them."""
    text = "\0".join([*_names(failed), str(failed)]) if rank() == source else ""
    size = torch.tensor(len(text.encode()))
    dist.broadcast(size, src=source)
    letters = torch.empty(int(size), dtype=torch.uint8)
    if rank() == source:
        letters = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    dist.broadcast(letters, src=source)
    if failed is not None and rank() == source:
        raise failed
    *names, message = bytes(letters.tolist()).decode().split("\0")
    known = next((name for name in names if name in errors.__all__), None)
    if known is None:
        raise NemdError(f"process {source}: {names[0]}: {message}")
    raised: Exception = getattr(errors, known)(message)
    raise raised


def _names(failed: Exception | None) -> list[str]:
    return [kind.__name__ for kind in type(failed).__mro__]
