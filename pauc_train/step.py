"""One step: the loss of a batch, its gradient, and the optimiser's step."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.parallel import DistributedDataParallel

from nemd_toolkit.errors import NemdError
from pauc_train import ranks
from pauc_train.method import Batch, Term, Terms, total
from pauc_train.run import Run, advice

__all__ = ["take_step"]


def take_step(run: Run, batch: Batch, step: int, steps: int, draws: torch.Generator) -> None:
    """Add a batch's gradient and, after every `accumulate` of them, move the weights.

    The last batches of an epoch make a step of their own where they are fewer. Raises NemdError
    for a loss that is not finite.
    """
    every = run.config.accumulate
    first = step - step % every
    share = min(every, steps - first)  # batches of this step
    last = step == first + share - 1
    with _kept_apart(run, last), run.watch.taken():
        terms = run.network(batch, draws)
        loss = total(terms)
        _require_finite(run, batch.epoch, step, loss, terms)
        # processes' gradients are averaged, and each has that of its own rows of one whole loss
        (loss * (ranks.count() / share)).backward()
    for name, term in {"loss": Term(value=loss), **terms}.items():
        run.sums[name] = run.sums.get(name, 0.0) + float(term.value.detach())
    if last:
        run.training.before_step(batch.epoch)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        run.training.after_step(batch.progress)
    run.watch.see(len(batch.indices), terms)


def _kept_apart(run: Run, last: bool) -> AbstractContextManager[None]:
    """Leave gradients unshared among processes until the last batch of a step."""
    if isinstance(run.network, DistributedDataParallel) and not last:
        apart: AbstractContextManager[None] = run.network.no_sync()
        return apart
    return nullcontext()


def _require_finite(run: Run, epoch: int, step: int, loss: torch.Tensor, terms: Terms) -> None:
    if bool(torch.isfinite(loss)):
        return
    values = ", ".join(f"{name} {float(term.value.detach()):.4g}" for name, term in terms.items())
    raise NemdError(
        f"loss: expected a finite number, got {float(loss.detach())} in epoch {epoch}, step {step} "
        f"({values}); {advice(run, epoch)}"
    )
