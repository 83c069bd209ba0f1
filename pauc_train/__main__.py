"""The command `pauc-train`: results on stdout, the rest on stderr, exit code 2 for misuse."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from nemd_toolkit.errors import Collapsed, NemdError
from nemd_toolkit.progress import show_progress
from pauc_train.evaluate import evaluate
from pauc_train.loggers import to_tensorboard, to_wandb, together
from pauc_train.loop import fit
from pauc_train.methods import METHODS
from pauc_train.process import Interrupted
from pauc_train.recipe import parse_setting
from pauc_train.watching import Watching

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train encoders with prototypes, and without for comparison.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("fit")
def fit_command(
    method: Annotated[str, typer.Argument(help="moco, pcl, pauc: see `pauc-train methods`")],
    data: Annotated[
        str, typer.Option(help="digits, cifar10:DIR, folder:DIR and others, as in nemd")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; a stopped run there goes on.")],
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    recipe: Annotated[
        Path | None, typer.Option(help="TOML file. Default: by kind of data.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value; as often as needed")
    ] = None,
    device: str = "cpu",
    tensorboard: Annotated[bool, typer.Option(help="Write OUT/tensorboard, too (extra).")] = False,
    wandb: Annotated[str | None, typer.Option(help="Log to this project, too (extra).")] = None,
    monitor: Annotated[
        Watching, typer.Option(help="On a collapse: say it, or stop with exit code 1; or off.")
    ] = "warn",
    quiet: bool = False,
) -> None:
    """Train METHOD and print the path of the last checkpoint."""
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one speaks
    loggers = [to_tensorboard(out / "tensorboard")] if tensorboard and first else []
    if wandb is not None and first:
        loggers.append(to_wandb(wandb, {"method": method, "data": data, "seed": seed}))
    with show_progress(first and not quiet):
        last = fit(
            method,
            data,
            epochs=epochs,
            seed=seed,
            out=out,
            recipe=recipe,
            overrides=dict(parse_setting(text) for text in settings or []),
            device=device,
            say=lambda text: None if quiet else typer.echo(text, err=True),
            on_epoch=together(loggers),
            monitor=monitor,
        )
    if first:
        typer.echo(str(last))


@app.command("methods")
def methods_command() -> None:
    """Print the methods: year, accuracies that the PAUC poster states, needs, paper."""
    typer.echo(f"{'method':<18}  year  ImageNet-100  ImageNet-1K  needs")
    typer.echo(f"{'':<18}        top-1  top-5        top-1")
    for method in METHODS.values():
        first, fifth = method.poster.imagenet100 or (None, None)
        stated = f"{_stated(first)}  {_stated(fifth)}  {_stated(method.poster.imagenet1k):>11}"
        typer.echo(f"{method.name:<18}  {method.year}  {stated}  {method.needs}")
        typer.echo(f"{'':<18}  {method.paper}")


def _stated(accuracy: float | None) -> str:
    return "    –" if accuracy is None else f"{accuracy:5.2f}"


@app.command("compare")
def compare_command(
    methods: Annotated[list[str], typer.Argument(help="Names: see `pauc-train methods`")],
    data: Annotated[str, typer.Option(help="As in fit; with labels and held-out images.")],
    out: Annotated[Path, typer.Option(help="Folder; what is in it is not done again.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each method.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="The first; the others follow.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for all methods")
    ] = None,
    layer: Annotated[str, typer.Option(help="Where NEMD is measured: projector, backbone.")] = (
        "projector"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    quiet: bool = False,
) -> None:
    """Train METHODS over seeds, evaluate and analyse them, and print the path of the page."""
    from pauc_train.compare import compare  # reports take a second to import

    with show_progress(not quiet):
        page = compare(
            methods,
            data,
            seeds=range(first_seed, first_seed + seeds),
            out=out,
            epochs=epochs,
            overrides=dict(parse_setting(text) for text in settings or []),
            layer=layer,
            workers=workers,
            say=lambda text: None if quiet else typer.echo(text, err=True),
        )
    typer.echo(str(page))


@app.command("evaluate")
def evaluate_command(
    checkpoint: Path,
    data: Annotated[str | None, typer.Option(help="Default: what it was trained on.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: str = "cpu",
) -> None:
    """Print kNN and linear-probe accuracy of the backbone on held-out images."""
    found = evaluate(checkpoint, data, device=device)
    if as_json:
        typer.echo(json.dumps(found.plain()))
        return
    typer.echo(f"kNN           {found.knn:.4f}   (k=20, backbone of the query encoder)")
    top5 = found.linear_probe_top5
    beside = "" if top5 is None else f"   (top-5 {top5:.4f})"
    typer.echo(f"linear probe  {found.linear_probe:.4f}{beside}")
    shots = ", ".join(f"{share:.4f} from {number}" for number, share in found.few_shot.items())
    typer.echo(f"few labels    {shots} images per class (mean of 5 draws)")
    typer.echo(f"raw pixels    {found.pixels_knn:.4f}   (the same kNN, without any training)")
    typer.echo(f"images        {found.train_count} for reference, {found.test_count} held out")


def main() -> None:
    """Run the command line; an error of ours is one sentence on stderr and exit code 2."""
    try:
        app(prog_name="pauc-train")
    except Interrupted as error:
        typer.echo(f"pauc-train: {error}", err=True)
        sys.exit(128 + signal.SIGTERM)  # as shells say of it: the run is not done
    except Collapsed as error:
        typer.echo(f"pauc-train: {error}", err=True)
        sys.exit(1)  # what was asked for was found, as of `nemd analyze --fail-on`
    except NemdError as error:
        typer.echo(f"pauc-train: {error}", err=True)
        sys.exit(2)
    except OSError as error:  # disk full, no permission; the last checkpoint is whole
        typer.echo(f"pauc-train: could not read or write: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
