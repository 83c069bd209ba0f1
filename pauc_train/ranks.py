"""The processes that train together, as torchrun starts them; without torchrun there is one.

Every process computes the loss of the whole batch from gathered outputs, and the gradient with
respect to its own share only; summed over processes that is the gradient of one process with the
whole batch. Nothing here is random but the order of shuffled keys, from the caller's generator.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nemd_toolkit.ranks import agreed, count, rank

__all__ = ["add", "agreed", "count", "gather", "gather_shuffled", "mine", "rank", "share"]


def share(rows: int) -> slice:
    """Which of `rows` rows are this process's: equal parts in the order of the processes.

    >>> share(10)
    slice(0, 10, None)
    """
    each = rows // count()
    return slice(rank() * each, (rank() + 1) * each)


def gather(x: Tensor) -> Tensor:
    """Rows of all processes, in their order; the gradient reaches this process's own rows.

    >>> gather(torch.eye(2)).shape
    torch.Size([2, 2])
    """
    if count() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def gather_shuffled(
    function: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator
) -> Tensor:
    """Rows that `function` gives of all processes' x, each process doing a random share of them.

    In the order of `gather`, without gradient. Keys are encoded so in MoCo (section 3.3): batch
    statistics of other images than the query's tell nothing of which key is its own. `generator`
    must be in one state everywhere.

    >>> gather_shuffled(lambda x: 2 * x, torch.arange(3.0), torch.Generator())
    tensor([0., 2., 4.])
    """
    everyone = gather(x.detach())
    order = torch.randperm(len(everyone), generator=generator).to(x.device)
    with torch.no_grad():
        rows = gather(function(everyone[order[share(len(everyone))]]))
    back = torch.empty_like(rows)
    back[order] = rows
    return back


def add(x: Tensor) -> Tensor:
    """Sum over the processes, with gradient: what each makes of the sum counts for all.

    >>> add(torch.ones(2))
    tensor([1., 1.])
    """
    if count() == 1:
        return x
    added: Tensor = _Add.apply(x)  # type: ignore[no-untyped-call]
    return added


def mine(x: Tensor) -> Tensor:
    """Give this process's rows of what `gather` gave."""
    return x[share(len(x))]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(count())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return mine(gradients[0]).contiguous()


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return _added(x)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _added(gradients[0])


def _added(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
