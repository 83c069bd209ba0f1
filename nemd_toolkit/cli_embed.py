"""The command `nemd embed`: images into a file of unit vectors."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nemd_toolkit.cli_options import (
    IMAGES,
    Branch,
    Cache,
    Device,
    Encoder,
    Layout,
    Quiet,
    Split,
)
from nemd_toolkit.progress import show_progress

__all__ = ["embed_command"]


def embed_command(
    checkpoint: Path,
    data: Annotated[str, typer.Option(help=f"{IMAGES}.")],
    out: Annotated[Path, typer.Option(help="File: .npy .npz .pt .safetensors .parquet.")],
    layer: Annotated[
        str, typer.Option(help="backbone, projector, or another that `nemd inspect` lists.")
    ] = "backbone",
    layout: Layout = None,
    branch: Branch = None,
    encoder: Encoder = None,
    split: Split = "train",
    device: Device = "cpu",
    batch: Annotated[int, typer.Option(help="Images at a time.")] = 256,
    workers: Annotated[
        int | None,
        typer.Option(help="Threads that decode ahead. Default: 1 on cpu, else one for each core."),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="Default: bfloat16 on cuda, else float32."),
    ] = None,
    cache: Cache = None,
    quiet: Quiet = False,
) -> None:
    """Embed images with a checkpoint's encoder and save the unit vectors, labels and ids.

    A run that was killed goes on where it stopped, from FILE.parts/, with the same bytes in the
    end, if checkpoint, images and options are the same.

    On several processes:  torchrun --nproc-per-node 4 -m nemd_toolkit embed …
    """
    from nemd_toolkit import ranks
    from nemd_toolkit.embedding_export import embed_to_file
    from nemd_toolkit.embedding_files import require_writable
    from nemd_toolkit.encoding import prepare_pass

    require_writable(out)  # before the work, not after it
    options = {"split": split, "layout": layout, "branch": branch, "encoder": encoder}
    options |= {"device": device, "batch": batch, "workers": workers}  # type: ignore[dict-item]
    with show_progress(not quiet):
        prepare = partial(prepare_pass, checkpoint, data, layer, precision=precision, **options)  # type: ignore[arg-type]  # each has its type
        ready = ranks.together("images and encoder", prepare)
        ranks.alike({"weights, images or options": repr(ready.key)})
        found = embed_to_file(ready, out, cache)
    if not quiet:
        typer.echo("\n".join(_lines(found)))


def _lines(found: Any) -> list[str]:
    left = " and ".join(found.left_out)
    note = f" (.npy holds vectors alone: {left} are left out)" if left else ""
    kept = " (taken from the cache)" if found.from_cache else ""
    return [
        f"{found.count:,} x {found.dim} embeddings: {found.path}{note}{kept}",
        f"  transform: {found.transform}; {found.precision}",
        f"  weights: {found.loaded.sentence()}",
    ]
