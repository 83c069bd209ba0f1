"""One step: the loss of a batch, its gradient, and the optimiser's step."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.parallel import DistributedDataParallel

from pauc_train import ranks
from pauc_train.method import Batch, total
from pauc_train.run import Run, Unread, read_losses

__all__ = ["take_step"]

UNREAD_STEPS = 20


def take_step(run: Run, batch: Batch, step: int, steps: int, draws: torch.Generator) -> None:
    """Add a batch's gradient and, after every `accumulate` of them, move the weights.

    The last batches of an epoch make a step of their own where they are fewer. Raises NemdError
    for a loss that is not finite: on a CPU before it moves anything, else within 20 steps, and
    always before a checkpoint is written.
    """
    every = run.config.accumulate
    first = step - step % every
    share = min(every, steps - first)  # batches of this step
    last = step == first + share - 1
    with _kept_apart(run, last), run.watch.taken():
        terms = run.network(batch, draws)
        loss = total(terms)
        values = {"loss": loss.detach()} | {k: term.value.detach() for k, term in terms.items()}
        run.unread.append(Unread(epoch=batch.epoch, step=step, values=values))
        if len(run.unread) >= _unread_at_most(run):
            read_losses(run)
        # processes' gradients are averaged, and each has that of its own rows of one whole loss
        (loss * (ranks.count() / share)).backward()
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


def _unread_at_most(run: Run) -> int:
    """Give how many losses may wait: to ask a GPU for one at every step would hold it up."""
    return 1 if run.feed.device.type == "cpu" else UNREAD_STEPS
