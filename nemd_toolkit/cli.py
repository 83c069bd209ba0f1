"""The command `nemd`: parse, call, print, exit code. Results on stdout, the rest on stderr."""

import io
import os
import shutil
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nemd_toolkit.cli_embed import embed_command
from nemd_toolkit.cli_options import (
    Against,
    Branch,
    Cache,
    Data,
    Device,
    Encoder,
    FailOn,
    Fresh,
    Ignore,
    Json,
    JUnit,
    Labels,
    Layer,
    Layout,
    Map,
    Markdown,
    Memory,
    Out,
    Prototypes,
    Quiet,
    Seed,
    Split,
)
from nemd_toolkit.cli_track import track_command
from nemd_toolkit.errors import InputError, NemdError, PartlyLoaded
from nemd_toolkit.progress import show_progress

__all__ = ["app", "main"]

app = typer.Typer(
    help="Is my representation collapsing, in which way, how surely, and what to do about it?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SHARED = ("analyze", "embed")  # commands that torchrun's processes can share
_COLOURS = {
    "issue": "red",
    "warning": "yellow",
    "passed": "green",
    "not_applicable": None,
    "ignored": "cyan",
}


@app.command("analyze")
def analyze_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint, or embeddings (.npy .npz .parquet …, or a folder of them)"
        ),
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
    baseline: Against = None,
    fail_on: FailOn = None,
    junit: JUnit = None,
    markdown: Markdown = None,
    neighbour_map: Map = None,
    memory: Memory = None,
    fresh: Fresh = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Analyse a checkpoint or embeddings, and write a report.

    A checkpoint needs images:  nemd analyze last.pt --data digits

    Embeddings do not:  nemd analyze embeddings.npz --prototypes 50,100,labels --fail-on issue

    Weights of a network that nemd has not:  nemd analyze a.pt --data digits --encoder timm:NAME

    Against a reference run:  nemd analyze last.pt --data digits --baseline reference/report.json

    More than memory holds:  nemd analyze shards/ --prototypes 1000 --memory 4GB

    On several processes:  torchrun --nproc-per-node 4 -m nemd_toolkit analyze …

    A run that was killed goes on, given again, after the last stage that it finished (--fresh
    starts over).

    Exit code: 0 analysed (or gate passed), 1 gate failed, 2 unusable input, 3 gate inconclusive.
    """
    from nemd_toolkit.findings import parse_codes
    from nemd_toolkit.gate import exit_code, parse_gate, require_counted
    from nemd_toolkit.gate_files import require_places, write_gate_files
    from nemd_toolkit.ranks import first
    from nemd_toolkit.stages import keeping

    gate = parse_gate(fail_on)
    ignored = () if ignore is None else parse_codes(ignore, "--ignore")
    require_counted(gate, ignored)
    require_places(junit, markdown)
    options: dict[str, Any] = {"layout": layout, "branch": branch, "encoder": encoder}
    options |= {"cache": cache, "ignore": ignored, "baseline": baseline}
    options |= {"neighbour_map": neighbour_map, "memory": memory}
    folder = out or Path(f"nemd-{source.stem}")
    with show_progress(not quiet), keeping(folder, fresh=fresh):
        found = _analyze(source, data, labels, prototypes, layer, split, seed, device, **options)
        page = first("the report", lambda: found.write(folder))
    first(
        "the gate's files", partial(write_gate_files, [(source.name, found)], gate, junit, markdown)
    )
    if as_json:
        typer.echo(found.to_json(), nl=False)
    elif not quiet:
        _print_analysis(found, page)
    raise typer.Exit(exit_code([found], gate))


@app.command("compare")
def compare_command(
    sources: Annotated[list[Path], typer.Argument(help="Two or more checkpoints or embeddings.")],
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
    fail_on: FailOn = None,
    junit: JUnit = None,
    markdown: Markdown = None,
    memory: Memory = None,
    quiet: Quiet = False,
) -> None:
    """Analyse several runs and set them side by side in one page and one table.

    Example: nemd compare moco/last.pt pcl/last.pt --data digits
    """
    from nemd_toolkit.gate import exit_code, parse_gate
    from nemd_toolkit.gate_files import require_places, write_gate_files
    from nemd_toolkit.memory import memory_limit
    from nemd_toolkit.report.comparison import write_comparison
    from nemd_toolkit.report.naming import run_names
    from nemd_toolkit.report.text import comparison_lines

    if len(sources) < 2:
        raise InputError("compare: expected at least two runs, got one; use `nemd analyze` for it")
    gate = parse_gate(fail_on)
    require_places(junit, markdown)
    folder = out or Path("nemd-comparison")
    names = run_names(sources)
    options = {"layout": layout, "branch": branch, "encoder": encoder, "cache": cache}
    with show_progress(not quiet), memory_limit(memory):
        runs = [
            (
                name,
                _analyze(source, data, labels, prototypes, layer, split, seed, device, **options),
            )
            for name, source in zip(names, sources, strict=True)
        ]  # all of them before anything is written
        links = {
            name: found.write(folder / name).relative_to(folder).as_posix() for name, found in runs
        }
        page = write_comparison(runs, folder, links=links)
    write_gate_files(runs, gate, junit, markdown)
    if not quiet:
        _print_lines([*comparison_lines(runs), "", f"Comparison: {page}"])
    raise typer.Exit(exit_code([found for _, found in runs], gate))


app.command("track")(track_command)


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and reports.")] = Path(
        "nemd-demo"
    ),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train MoCo, PCL and PAUC on scikit-learn's digits, analyse and compare them (2–3 minutes)."""
    from nemd_toolkit.demo import run_demo
    from nemd_toolkit.report.text import comparison_lines

    say = (lambda _: None) if quiet else (lambda text: typer.echo(text, err=True))
    with show_progress(not quiet):
        analyses, accuracies, page = run_demo(out, seed, say)
    if not quiet:
        heads = [f"{name}: {found.verdict.headline}" for name, found in analyses]
        table = comparison_lines(analyses, accuracies)
        _print_lines(["", *table, "", *heads, "", f"Comparison: {page}"])


app.command("embed")(embed_command)


@app.command("explain")
def explain_command(code: Annotated[str, typer.Argument(help="NEMD001 … NEMD011")]) -> None:
    """Say what a finding means, when it fires, and what to do."""
    from nemd_toolkit.findings import about

    entry = about(code)
    _print_lines(
        [
            f"{entry.code} {entry.name}",
            "",
            entry.meaning,
            "",
            f"Fires when {entry.fires}.",
            "",
            f"What to do: {entry.remedy}",
        ]
    )


@app.command("inspect")
def inspect_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or a Hugging Face folder.")],
    layout: Layout = None,
    as_json: Json = False,
) -> None:
    """Say what a checkpoint is and what can be done with it; needs no images, runs no code.

    Example: nemd inspect last.pt
    """
    import json

    from nemd_toolkit.checkpoints import read_checkpoint
    from nemd_toolkit.report.inspection import inspection
    from nemd_toolkit.report.inspection_text import inspection_lines

    found = read_checkpoint(checkpoint, layout)
    files = checkpoint.rglob("*") if checkpoint.is_dir() else [checkpoint]
    with show_progress():
        document = inspection(found, sum(f.stat().st_size for f in files if f.is_file()))
    if as_json:
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, default=str))
    else:
        _print_lines(inspection_lines(document))


@app.command("env")
def env_command() -> None:
    """Print the versions that numbers rest on, for a bug report."""
    import torch

    from nemd_toolkit.pipeline import versions

    _print_lines([f"{name} {number}" for name, number in versions().items()])
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    _print_lines([f"cuda device {cuda}", f"torch threads {torch.get_num_threads()}"])


def main() -> None:
    """Run the command line; an error of ours is one sentence on stderr and exit code 2."""
    from nemd_toolkit.gate import WRONG_USE

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console without ✓ is no reason to fail
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", PartlyLoaded)  # each of them, with --quiet too
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # called by place
            with _processes():
                _require_shared()
                app(prog_name="nemd")
    except NemdError as error:
        typer.echo(f"nemd: {error}", err=True)
        sys.exit(WRONG_USE)
    except OSError as error:  # disk full, no permission: nothing of ours to explain beyond it
        typer.echo(f"nemd: could not read or write: {error}", err=True)
        sys.exit(WRONG_USE)


def _processes() -> AbstractContextManager[None]:
    """Join what torchrun started; one process does not load torch for it."""
    if not _several():
        return nullcontext()
    from nemd_toolkit.processes import joined

    return joined()


def _several() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def _require_shared() -> None:
    command = next(iter(sys.argv[1:]), "nothing")
    if _several() and command not in _SHARED:
        raise InputError(
            f"torchrun: expected {' or '.join(_SHARED)}, which several processes can share, got "
            f"{command}; run it without torchrun"
        )


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any
) -> None:
    """Print one of ours as a sentence, and others as Python does."""
    ours = issubclass(category, PartlyLoaded)
    text = f"nemd: {message}\n"
    other = warnings.formatwarning(message, category, filename, lineno)
    typer.echo(text if ours else other, err=True, nl=False)


def _analyze(
    source: Path,
    data: str | None,
    labels: Path | None,
    prototypes: str | None,
    layer: str | None,
    split: str,
    seed: int,
    device: str,
    **options: Any,
) -> Any:
    from nemd_toolkit.pipeline import analyze, parse_prototypes

    return analyze(
        source,
        data,
        parse_prototypes(prototypes),
        seed,
        labels=labels,
        layer=layer,
        split=split,
        device=device,
        **options,
    )


def _print_analysis(found: Any, page: Path | None) -> None:
    from nemd_toolkit.report.text import finding_lines

    # wrapped for people only: what reads a pipe wants a finding on a line
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    typer.secho(found.verdict.headline, bold=True)
    for note in found.provenance.notes:
        typer.echo(f"  note: {note}")
    for status, line in finding_lines(found, width):
        typer.secho(line, fg=_COLOURS[status])
    typer.echo(f"Report: {page}")


def _print_lines(lines: list[str]) -> None:
    typer.echo("\n".join(lines))


if __name__ == "__main__":
    main()
