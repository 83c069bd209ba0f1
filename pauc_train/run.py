"""A run at work, and its checkpoints: what is saved, and what is accepted to go on from."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError, NemdError
from pauc_train import ranks
from pauc_train.config import Config
from pauc_train.data import Feed, steps_in
from pauc_train.expectation import Clustering
from pauc_train.method import Terms, Training
from pauc_train.run_folder import RunFolder
from pauc_train.saving import FORMAT, with_prefix, without_prefix
from pauc_train.watching import Watch

__all__ = ["Run", "Unread", "read_losses", "restore", "save"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unread:
    """A step's loss and terms, where they were computed: nobody has waited for them yet."""

    epoch: int
    step: int
    values: Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """Everything that a run needs from its first step to its last."""

    identity: dict[str, Any]  # what must agree for a checkpoint to be gone on with
    config: Config
    training: Training
    network: Callable[..., Terms]  # the training, or what shares it among processes
    optimizer: torch.optim.Optimizer
    folder: RunFolder
    feed: Feed
    watch: Watch
    sums: dict[str, float] = field(default_factory=dict)  # of loss and terms, since epoch's start
    unread: list[Unread] = field(default_factory=list)


def restore(run: Run, say: Callable[[str], None]) -> tuple[int, int]:
    """Load the folder's last checkpoint if there is one; epoch and step to go on with.

    Raises InputError, with nothing changed on disk, for one that this run cannot go on from.
    """
    content = run.folder.resume(run.identity)
    if content is None:
        return 0, 0
    try:
        epoch, step = _load(run, content)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise InputError(
            f"{run.folder.last}: expected a checkpoint that this run can go on from, got entries "
            f"that do not fit ({shown(e)}); choose another folder"
        ) from None
    if ranks.rank() == 0:
        run.folder.keep_log_before(epoch)
    place = f"epoch {epoch}" + (f" and {step} steps" if step else "")
    say(
        f"{run.folder.last} is complete with {epoch} epochs; nothing to train"
        if epoch >= run.config.epochs
        else f"resuming after {place} of {run.config.epochs} from {run.folder.last}"
    )
    return epoch, step


def _load(run: Run, content: Mapping[str, Any]) -> tuple[int, int]:
    """Load what `save` wrote; raises all kinds of errors for anything else."""
    about = content["nemd"]
    run.training.load_state_dict(without_prefix(content["state_dict"]))
    own = run.optimizer.state_dict()  # a stranger's rates and momenta stay out
    run.optimizer.load_state_dict({**own, "state": content["optimizer"]["state"]})
    _require_optimizer_state(run)
    unsound = _unsound(run)
    if unsound:
        raise ValueError(f"{unsound} is not finite")
    epoch, step = about["next"]["epoch"], about["next"]["step"]
    last = run.config.epochs
    if type(epoch) is not int or type(step) is not int or not 0 <= epoch <= last:
        raise ValueError(f"epoch {shown(epoch)}, step {shown(step)}")
    if not 0 <= step < steps_in(run.feed.images, run.config.batch_size) or epoch + step == 0:
        raise ValueError(f"step {shown(step)}")
    if step:
        device = run.feed.device
        run.training.clusterings = tuple(
            Clustering.from_plain(entry, device) for entry in about["prototypes"]
        )
    run.sums.update({str(name): float(value) for name, value in about["sums"].items()})
    return epoch, step


def _require_optimizer_state(run: Run) -> None:
    """Raise ValueError unless every parameter has the state that the optimiser keeps of it."""
    if run.config.optimizer != "adamw" and run.config.sgd_momentum == 0:
        return
    wanted = ("exp_avg", "exp_avg_sq") if run.config.optimizer == "adamw" else ("momentum_buffer",)
    for group in run.optimizer.param_groups:
        for parameter in group["params"]:
            state = run.optimizer.state[parameter]
            if not state:  # it never had a gradient
                continue
            if any(state[name].shape != parameter.shape for name in wanted):
                raise ValueError("momentum of another shape")
    if not any(run.optimizer.state.values()):
        raise ValueError("no momentum")


def read_losses(run: Run) -> None:
    """Add what no one has read to the sums. Raises NemdError for a loss that is not finite."""
    waiting, run.unread[:] = list(run.unread), []
    for each in waiting:
        values = {name: float(value) for name, value in each.values.items()}
        loss = values["loss"]
        if not isfinite(loss):
            terms = ", ".join(f"{name} {v:.4g}" for name, v in values.items() if name != "loss")
            raise NemdError(
                f"loss: expected a finite number, got {loss} in epoch {each.epoch}, step "
                f"{each.step} ({terms}); {_advice(run, each.epoch)}"
            )
        for name, value in values.items():
            run.sums[name] = run.sums.get(name, 0.0) + value


def save(run: Run, epoch: int, step: int, *, row: Mapping[str, Any] | None) -> None:
    """Write the checkpoint from which `epoch` and `step` come next; `row`: a whole epoch's line.

    Raises NemdError, with nothing written, for weights that are not finite.
    """
    done = epoch if step else epoch - 1  # the epoch that the last step was of
    read_losses(run)
    _require_sound_weights(run, done)
    if ranks.rank() != 0:
        return
    if row is not None:  # before the checkpoint: resuming drops surplus lines
        run.folder.append_log(json.dumps(row))
    kept = {k: v for k, v in (row or {}).items() if k not in ("seconds", "monitor")}
    content = {
        "epoch": done,
        "arch": run.config.arch,
        "state_dict": with_prefix(run.training.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "nemd": {
            "format": FORMAT,
            **run.identity,
            "branches": {
                name: {"backbone": path.backbone, "projector": path.projector}
                for name, path in run.training.branches.items()
            },
            "vectors": run.training.vectors,
            "prototypes": [clustering.plain() for clustering in run.training.clusterings],
            "next": {"epoch": epoch, "step": step},
            "sums": run.sums if step else {},
            "log": kept,  # no times, no monitor: the same run gives the same bytes
        },
    }
    run.folder.save(content, numbered=row is not None and epoch % run.config.save_every == 0)


def _require_sound_weights(run: Run, epoch: int) -> None:
    """Refuse weights that the last step ruined: no loss has seen them yet."""
    unsound = _unsound(run)
    if unsound:
        raise NemdError(
            f"weights: expected finite numbers, got overflow in {unsound} at the end of epoch "
            f"{epoch}; {_advice(run, epoch)}"
        )


def _unsound(run: Run) -> str | None:
    """Name of a tensor to be saved that is not finite or whose squares are not, if there is one."""
    state: dict[str, Any] = run.training.state_dict()
    for index, kept in enumerate(run.optimizer.state.values()):
        state.update({f"{name} {index}": value for name, value in kept.items()})
    sums = {
        name: float(value.float().square().sum())
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    return next((name for name, value in sums.items() if not isfinite(value)), None)


def _advice(run: Run, epoch: int) -> str:
    """Say which checkpoint is the last good one, and what to try."""
    good = (
        f"the last good checkpoint is {run.folder.last}" if epoch else "no checkpoint was written"
    )
    temperature = getattr(run.config, "temperature", None)
    warmer = f" or a higher temperature than {temperature:g}" if temperature else ""
    return (
        f"{good}; try a lower learning_rate than {run.config.learning_rate:g}{warmer}, "
        "in a new folder"
    )
