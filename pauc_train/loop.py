"""The training loop: epochs, log, checkpoints, and going on exactly where a run stopped.

All randomness comes from (seed, epoch, step), so that a checkpoint holds everything that the next
step needs, wherever in an epoch it was written.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from nemd_toolkit.encoding import device_named
from nemd_toolkit.errors import Collapsed, InputError, NemdError
from nemd_toolkit.images import Images
from nemd_toolkit.progress import bar
from pauc_train import ranks
from pauc_train.config import Config
from pauc_train.data import Feed, Pixels, apply, open_split, pixels_of, steps_in, stream
from pauc_train.expectation import PrototypeConfig
from pauc_train.method import Method, Setup, Training
from pauc_train.methods import method_named
from pauc_train.networks import prepared, shared
from pauc_train.optim import make_optimizer, set_learning_rate
from pauc_train.process import Interrupted, parallel, reproducible, stop_signal
from pauc_train.recipe import load_config, recipe_for
from pauc_train.run import Run, read_losses, restore, save
from pauc_train.run_folder import RunFolder
from pauc_train.step import take_step
from pauc_train.watching import Watch, Watching

__all__ = ["fit"]


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
    monitor: Watching = "off",
) -> Path:
    """Train `method` on `data` and return the path of the last checkpoint, `out`/last.pt.

    Without `recipe` the packaged one for the kind of data is taken. Where `out` holds a run of the
    same settings, training goes on from its last step, with the same result as if it had never
    stopped. SIGTERM and SIGINT end the run after the step at work, with a checkpoint. Under
    torchrun all processes train one model. `say` receives sentences for people; `on_epoch` the
    log's line of each epoch. `monitor` looks at the embeddings every 100 steps: "warn" says a
    collapse that lasts, "stop" ends the run with a checkpoint as well.

    Raises InputError for settings or data that cannot be used and for an `out` of another run,
    NemdError when the loss is not finite, Interrupted after a signal, and Collapsed where the
    monitor stopped it.
    """
    overrides = dict(overrides or {})
    if epochs is not None:
        overrides["epochs"] = epochs
    config = load_config(method, recipe or recipe_for(data), overrides)
    folder = RunFolder(Path(out))
    with reproducible(device, config.threads), parallel(device), stop_signal() as stop:
        # a call of its own: nothing of the run may outlive the processes' group
        _train(
            _prepare(method_named(method), data, config, seed, folder, device, monitor, say),
            stop,
            say,
            on_epoch,
        )
    return folder.last


def _train(
    run: Run,
    stop: Callable[[], bool],
    say: Callable[[str], None],
    on_epoch: Callable[[Mapping[str, Any]], None],
) -> None:
    with run.folder.alone():
        first, epochs = ranks.rank() == 0, run.config.epochs
        epoch, step = restore(run, say if first else lambda _: None)
        if first and epoch < epochs:
            run.folder.require_writable()
        steps = steps_in(run.feed.images, run.feed.batch_size)
        run.watch.begin(epoch * steps + step)
        method = run.identity["method"]
        with bar(f"training {method}", epochs * steps, epoch * steps + step) as advance:
            for number in range(epoch, epochs):
                row = _epoch(run, number, step, stop, advance)
                step = 0
                if first:
                    on_epoch(row)


def _prepare(
    method: Method[Any],
    data: str,
    config: Config,
    seed: int,
    folder: RunFolder,
    device: str,
    monitor: Watching,
    say: Callable[[str], None],
) -> Run:
    place = device_named(device)
    images = open_split(data, "train", config.image_size)
    _require_enough(images, config)
    pixels = pixels_of(images)
    training = _started(method, config, images, pixels, seed)
    training = prepared(training, config, place)
    steps = steps_in(images, config.batch_size)
    return Run(
        identity={
            "method": method.name,
            "data": data,
            "seed": seed,
            "config": config.plain(),
            "images": images.count,
            "image": pixels.plain(),
        },
        config=config,
        training=training,
        network=shared(training, config),
        optimizer=make_optimizer(training, config),
        folder=folder,
        feed=Feed(
            images=images,
            pixels=pixels,
            views=method.views(config),
            batch_size=config.batch_size,
            seed=seed,
            device=place,
            workers=config.workers,
        ),
        watch=Watch(training, config, monitor, steps, say),
    )


def _started(
    method: Method[Any], config: Config, images: Images, pixels: Pixels, seed: int
) -> Training:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "weights").initial_seed())
        training: Training = method.start(
            Setup(
                config=config,
                count=images.count,
                channels=images.channels,
                size=images.size,
                generator=stream(seed, "queue"),
                mean=pixels.mean,
                std=pixels.std,
            )
        )
    return training


def _epoch(
    run: Run, epoch: int, start: int, stop: Callable[[], bool], advance: Callable[[int], None]
) -> dict[str, Any]:
    began = time.perf_counter()
    feed = run.feed
    steps = steps_in(feed.images, feed.batch_size)
    if start == 0:
        run.sums.clear()
        run.training.begin_epoch(
            epoch, lambda function: apply(feed.images, feed.pixels, function, feed.device)
        )
    rate = 0.0
    for step, batch in enumerate(feed.epoch(epoch, run.config.epochs, start), start):
        rate = set_learning_rate(run.optimizer, run.config, epoch + step / steps)
        take_step(run, batch, step, steps, stream(feed.seed, "draws", epoch, step))
        advance(1)
        whole = (step + 1) % run.config.accumulate == 0  # no gradient waits for more
        if step + 1 < steps and whole and (stop() or run.watch.collapse):
            save(run, epoch, step + 1, row=None)
            raise _ended(run, f"step {step + 1} of {steps} in epoch {epoch}")
    read_losses(run)
    row = _row(run, epoch, steps, rate, time.perf_counter() - began)
    save(run, epoch + 1, 0, row=row)
    if (stop() or run.watch.collapse) and epoch + 1 < run.config.epochs:
        raise _ended(run, f"epoch {epoch}")
    return row


def _ended(run: Run, after: str) -> NemdError:
    last = run.folder.last
    if run.watch.collapse:
        return Collapsed(
            f"stopped by its monitor after {after}; {last} holds it, and the same command with "
            f"--monitor warn goes on from there. {run.watch.collapse}"
        )
    return Interrupted(f"stopped by a signal after {after}; the same command goes on from {last}")


def _row(run: Run, epoch: int, steps: int, rate: float, seconds: float) -> dict[str, Any]:
    means = {name: value / steps for name, value in run.sums.items()}
    checked = run.watch.row()
    return {
        "epoch": epoch,
        "steps": steps,
        "loss": means.pop("loss"),
        "terms": means,
        "learning_rate": rate,
        "clusterings": [
            {"k": c.k, "objective": c.objective, "used": c.used} for c in run.training.clusterings
        ],
        "seconds": round(seconds, 3),
        **({} if checked is None else {"monitor": checked}),
    }


def _require_enough(images: Images, config: Config) -> None:
    if images.count < config.batch_size:
        raise InputError(
            f"batch_size: expected at most {images.count} (the number of training images), got "
            f"{config.batch_size}; lower it"
        )
    if config.batch_size % ranks.count():
        raise InputError(
            f"batch_size: expected a multiple of the {ranks.count()} processes, got "
            f"{config.batch_size}; change it"
        )
    if not isinstance(config, PrototypeConfig) or config.epochs <= config.warmup_epochs:
        return
    if images.count < max(config.clusters):
        raise InputError(
            f"clusters: expected at most {images.count} (the number of training images), got "
            f"{max(config.clusters)}; ask for fewer prototypes, for instance --set "
            f"clusters=[{max(2, images.count // 50)}]"
        )
