"""The command `nemd track`: a folder of checkpoints over training."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nemd_toolkit.cli_options import (
    Branch,
    Cache,
    Data,
    Device,
    Encoder,
    FailOn,
    Ignore,
    Json,
    Labels,
    Layer,
    Layout,
    Memory,
    Out,
    Prototypes,
    Quiet,
    Seed,
    Split,
)
from nemd_toolkit.progress import show_progress

__all__ = ["track_command"]


def track_command(
    sources: Annotated[
        list[Path], typer.Argument(help="A folder of checkpoints or embeddings, or such files.")
    ],
    data: Data = None,
    labels: Labels = None,
    prototypes: Prototypes = None,
    layer: Layer = None,
    layout: Layout = None,
    branch: Branch = None,
    encoder: Encoder = None,
    split: Split = "train",
    out: Out = None,
    seed: Seed = 0,
    device: Device = "cpu",
    cache: Cache = None,
    ignore: Ignore = None,
    fail_on: FailOn = None,
    memory: Memory = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Follow a training run: say when a collapse begins, and which epoch is the best.

    Example: nemd track runs/pcl --data digits --out track

    The same command again analyses new checkpoints only. Order: by the epochs stored in the
    checkpoints, else by the numbers in their names. --fail-on judges the last checkpoint.

    Exit code: 0 tracked (or gate passed), 1 gate failed, 2 no checkpoint could be analysed or wrong
    use, 3 gate inconclusive, or a checkpoint after the last one that was analysed could not be.
    One that cannot be analysed is named on stderr and in the page, and stops nothing.
    """
    from nemd_toolkit.findings import parse_codes
    from nemd_toolkit.gate import INCONCLUSIVE, PASSED, exit_code, parse_gate, require_counted
    from nemd_toolkit.memory import memory_limit
    from nemd_toolkit.pipeline import parse_prototypes
    from nemd_toolkit.tracking import track

    gate = parse_gate(fail_on)
    ignored = () if ignore is None else parse_codes(ignore, "--ignore")
    require_counted(gate, ignored)
    folder = out or Path("nemd-track")
    options: dict[str, Any] = {"layer": layer, "layout": layout, "branch": branch}
    options |= {"encoder": encoder, "split": split, "device": device, "cache": cache}
    with show_progress(not quiet), memory_limit(memory):
        found = track(
            sources,
            data,
            parse_prototypes(prototypes),
            seed,
            records=folder,
            labels=labels,
            ignore=ignored,
            **options,
        )
        page = found.write(folder)
    for failure in found.failures:
        typer.echo(f"nemd: not analysed: {failure.name}: {failure.reason}", err=True)
    if as_json:
        typer.echo(found.to_json(), nl=False)
    elif not quiet:
        _print(found, page)
    code = exit_code([found.course.stops[-1].point], gate)
    if gate and code == PASSED and found.ends_unread:
        code = INCONCLUSIVE
    raise typer.Exit(code)


def _print(found: Any, page: Path) -> None:
    from nemd_toolkit.tracking.text import track_lines

    typer.echo("\n".join([*track_lines(found), f"Page: {page}"]))
