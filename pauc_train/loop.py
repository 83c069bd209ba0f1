"""The training loop: epochs, log, checkpoints, and going on exactly where a run stopped.

All randomness of an epoch comes from (seed, epoch), so that a checkpoint at the end of an epoch
holds everything that the next one needs.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.encoders import build_resnet
from nemd_toolkit.encoding import device_named
from nemd_toolkit.errors import InputError, NemdError
from nemd_toolkit.images import Images
from nemd_toolkit.progress import bar
from pauc_train.config import Config, load_config, recipe_for
from pauc_train.data import Pixels, apply, batches, open_split, pixels_of
from pauc_train.method import Method, Term, Training, total
from pauc_train.methods import method_named
from pauc_train.optim import make_optimizer, set_learning_rate
from pauc_train.run_folder import RunFolder
from pauc_train.saving import FORMAT, with_prefix, without_prefix
from pauc_train.views import VIEWS

__all__ = ["fit"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    identity: dict[str, Any]  # what must agree for a checkpoint to be gone on with
    config: Config
    seed: int
    images: Images
    pixels: Pixels
    training: Training
    optimizer: torch.optim.SGD
    folder: RunFolder
    device: torch.device


def fit(
    method: str,
    data: str,
    *,
    epochs: int | None = None,
    seed: int = 0,
    out: Path | str,
    recipe: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
    on_epoch: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Path:
    """Train `method` on `data` and return the path of the last checkpoint, `out`/last.pt.

    Without `recipe` the packaged one for the kind of data is taken. Where `out` holds a run of the
    same settings, training goes on from its last epoch, with the same result as if it had never
    stopped. `say` receives sentences for people; `on_epoch` the log's line of each epoch.

    Raises InputError for settings or data that cannot be used and for an `out` of another run, and
    NemdError when the loss is not finite.
    """
    overrides = dict(overrides or {})
    if epochs is not None:
        overrides["epochs"] = epochs
    found = method_named(method)
    config = load_config(method, recipe or recipe_for(data), overrides)
    folder = RunFolder(Path(out))
    with _reproducible(device, config.threads):
        run = _prepare(found, data, config, seed, folder, device)
        start = _restore(run, say)
        if start < config.epochs:
            folder.require_writable()
        with bar(f"training {method}", config.epochs) as advance:
            advance(start)
            for epoch in range(start, config.epochs):
                on_epoch(_epoch(run, epoch))
                advance(1)
    return folder.last


def _prepare(
    method: Method, data: str, config: Config, seed: int, folder: RunFolder, device: str
) -> _Run:
    place = device_named(device)
    images = open_split(data, "train", config.image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_stream(seed, 0, "weights").initial_seed())
        encoder = build_resnet(
            config.arch, channels=images.channels, head=config.head, dim=config.embedding_dim
        )
    training = method.start(config, encoder, _stream(seed, 0, "queue"))
    _require_enough(images, config, training)
    training.model.to(place).train()
    pixels = pixels_of(images)
    return _Run(
        identity={
            "method": method.name,
            "data": data,
            "seed": seed,
            "config": config.plain(),
            "images": images.count,
            "image": pixels.plain(),
        },
        config=config,
        seed=seed,
        images=images,
        pixels=pixels,
        training=training,
        optimizer=make_optimizer(training.model, config),
        folder=folder,
        device=place,
    )


def _restore(run: _Run, say: Callable[[str], None]) -> int:
    """Load the folder's last checkpoint if there is one; the number of the epoch to go on with."""
    content = run.folder.resume(run.identity)
    if content is None:
        return 0
    try:
        start = _load(run, content)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise InputError(
            f"{run.folder.last}: expected a checkpoint that this run can go on from, got entries "
            f"that do not fit ({shown(e)}); choose another folder"
        ) from None
    run.folder.keep_log_before(start)
    done = start >= run.config.epochs
    say(
        f"{run.folder.last} is complete with {start} epochs; nothing to train"
        if done
        else f"resuming after epoch {start} of {run.config.epochs} from {run.folder.last}"
    )
    return start


def _load(run: _Run, content: Mapping[str, Any]) -> int:
    """Load what `_save` wrote; raises all kinds of errors for anything else."""
    run.training.model.load_state_dict(without_prefix(content["state_dict"]))
    own = run.optimizer.state_dict()  # a stranger's rates and momenta stay out
    run.optimizer.load_state_dict({**own, "state": content["optimizer"]["state"]})
    if run.config.sgd_momentum > 0:
        for parameter in run.optimizer.param_groups[0]["params"]:
            if run.optimizer.state[parameter]["momentum_buffer"].shape != parameter.shape:
                raise ValueError("momentum of another shape")
    unsound = _unsound(run)
    if unsound:
        raise ValueError(f"{unsound} is not finite")
    epoch = content["epoch"]
    if type(epoch) is not int or not 0 <= epoch < run.config.epochs:
        raise ValueError(f"epoch {shown(epoch)}")
    return epoch + 1


def _epoch(run: _Run, epoch: int) -> dict[str, Any]:
    began = time.perf_counter()
    rate = set_learning_rate(run.optimizer, epoch, run.config)
    run.training.begin_epoch(
        epoch, lambda function: apply(run.images, run.pixels, function, run.device)
    )
    draws = _stream(run.seed, epoch, "negatives")
    seen = batches(
        run.images,
        run.pixels,
        VIEWS[run.config.views],
        batch_size=run.config.batch_size,
        generator=_stream(run.seed, epoch, "views"),
        device=run.device,
    )
    sums: dict[str, float] = {}
    steps = 0
    for batch in seen:
        terms = run.training.loss(batch, draws)
        loss = total(terms)
        _require_finite(run, epoch, steps, loss, terms)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        for name, term in {"loss": Term(value=loss), **terms}.items():
            sums[name] = sums.get(name, 0.0) + float(term.value.detach())
        steps += 1
    means = {name: value / steps for name, value in sums.items()}
    row = {
        "epoch": epoch,
        "steps": steps,
        "loss": means.pop("loss"),
        "terms": means,
        "learning_rate": rate,
        "clusterings": [
            {"k": c.k, "objective": c.objective, "used": c.used} for c in run.training.clusterings
        ],
        "seconds": round(time.perf_counter() - began, 3),
    }
    _save(run, epoch, row)
    return row


def _save(run: _Run, epoch: int, row: dict[str, Any]) -> None:
    _require_sound_weights(run, epoch)
    run.folder.append_log(json.dumps(row))  # before the checkpoint: resuming drops surplus lines
    content = {
        "epoch": epoch,
        "arch": run.config.arch,
        "state_dict": with_prefix(run.training.model.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "nemd": {
            "format": FORMAT,
            **run.identity,
            "prototypes": [clustering.plain() for clustering in run.training.clusterings],
            "rng": {"seed": run.seed, "next_epoch": epoch + 1},
            # no times: the same run gives the same bytes
            "log": {key: value for key, value in row.items() if key != "seconds"},
        },
    }
    run.folder.save(content, numbered=(epoch + 1) % run.config.save_every == 0)


def _require_finite(
    run: _Run, epoch: int, step: int, loss: torch.Tensor, terms: Mapping[str, Term]
) -> None:
    if bool(torch.isfinite(loss)):
        return
    values = ", ".join(f"{name} {float(term.value.detach()):.4g}" for name, term in terms.items())
    raise NemdError(
        f"loss: expected a finite number, got {float(loss.detach())} in epoch {epoch}, step {step} "
        f"({values}); {_advice(run, epoch)}"
    )


def _require_sound_weights(run: _Run, epoch: int) -> None:
    """Refuse weights that the last step ruined: no loss of this epoch has seen them."""
    unsound = _unsound(run)
    if unsound:
        raise NemdError(
            f"weights: expected finite numbers, got overflow in {unsound} at the end of epoch "
            f"{epoch}; {_advice(run, epoch)}"
        )


def _unsound(run: _Run) -> str | None:
    """Name of a tensor to be saved that is not finite or whose squares are not, if there is one."""
    state = run.training.model.state_dict()
    for index, kept in enumerate(run.optimizer.state.values()):
        state.update({f"{name} {index}": value for name, value in kept.items()})
    sums = {
        name: float(value.float().square().sum())
        for name, value in state.items()
        if value is not None
    }
    return next((name for name, value in sums.items() if not isfinite(value)), None)


def _advice(run: _Run, epoch: int) -> str:
    good = (
        f"the last good checkpoint is {run.folder.last}" if epoch else "no checkpoint was written"
    )
    return (
        f"{good}; try a lower learning_rate than {run.config.learning_rate:g} or a higher "
        f"temperature than {run.config.temperature:g}, in a new folder"
    )


def _require_enough(images: Images, config: Config, training: Training) -> None:
    if images.count < config.batch_size:
        raise InputError(
            f"batch_size: expected at most {images.count} (the number of training images), got "
            f"{config.batch_size}; lower it"
        )
    clusters = training.prototypes and config.epochs > config.warmup_epochs
    if clusters and images.count < max(config.clusters):
        raise InputError(
            f"clusters: expected at most {images.count} (the number of training images), got "
            f"{max(config.clusters)}; ask for fewer prototypes, for instance --set "
            f"clusters=[{max(2, images.count // 50)}]"
        )


def _stream(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Make a generator of its own for each seed, epoch and purpose."""
    words = np.random.SeedSequence([seed, epoch, *purpose.encode()]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


@contextmanager
def _reproducible(device: str, threads: int) -> Iterator[None]:
    """Deterministic algorithms inside; the settings found are put back after."""
    if device.startswith("cuda"):  # without it torch refuses deterministic matrix products
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    threads_before = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads or threads_before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.set_num_threads(threads_before)
