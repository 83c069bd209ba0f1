"""Options that several commands of `nemd` share, and what their help says."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "IMAGES",
    "Against",
    "Branch",
    "Cache",
    "Data",
    "Device",
    "Encoder",
    "FailOn",
    "Fresh",
    "Ignore",
    "JUnit",
    "Json",
    "Labels",
    "Layer",
    "Layout",
    "Map",
    "Markdown",
    "Memory",
    "Out",
    "Prototypes",
    "Quiet",
    "Seed",
    "Split",
]

IMAGES = (
    "digits, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, arrays:FILE (.npy .npz), "
    "webdataset:PATTERN (shard-{000..012}.tar) or hf:DIR (Dataset.save_to_disk)"
)
Data = Annotated[
    str | None,
    typer.Option(help=f"Images for a checkpoint: {IMAGES}."),
]
Labels = Annotated[
    Path | None, typer.Option(help="Labels, one per row: .npy, or text with one per line.")
]
Prototypes = Annotated[
    str | None,
    typer.Option(
        help="Numbers for k-means, 'own' (in the checkpoint) or 'labels'; several by commas. "
        "Default: three numbers chosen from the number of samples."
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(help="projector or backbone. Default: the projector of a contrastive method."),
]
Layout = Annotated[
    str | None,
    typer.Option(help="Read the checkpoint as this layout instead of recognising it."),
]
Branch = Annotated[
    str | None,
    typer.Option(
        help="Of several encoders the one, such as query, key, student or teacher (`nemd inspect` "
        "lists them). Default: the one that prototypes are made from."
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="Network for the checkpoint's weights: timm:NAME, torchvision:NAME, transformers:DIR "
        "(with config.json) or package.module:function, which returns a torch.nn.Module: "
        "THIS RUNS CODE OF YOURS. Default: the one that the checkpoint's names describe.",
    ),
]
Split = Annotated[str, typer.Option(help="Part of the data: train, test or all.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the report.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start over: leave what a run that was killed has finished.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same machine, same numbers.")
]
Device = Annotated[str, typer.Option(help="Where the encoder runs: cpu, cuda, cuda:1, mps.")]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder of embeddings to take from and add to. Default: NEMD_CACHE, if set."),
]
FailOn = Annotated[
    str | None,
    typer.Option(help="Exit with 1 on: issue, warning, or codes such as NEMD002,NEMD006."),
]
JUnit = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="JUnit XML of the checks; --fail-on says what fails."
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown", metavar="FILE", help='Summary for GitHub, such as "$GITHUB_STEP_SUMMARY".'
    ),
]
Ignore = Annotated[
    str | None,
    typer.Option(help="Codes that do not count for the verdict but stay visible: NEMD003,NEMD007."),
]
Against = Annotated[
    Path | None,
    typer.Option(
        help="report.json of a reference run: an issue is then a change for the worse, "
        "not an absolute threshold."
    ),
]
Map = Annotated[
    str | None,
    typer.Option(
        "--map", help="One more map, of neighbours: tsne or umap. No verdict rests on it."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory that the process may take, such as 4GB: rows beyond it lie in a temporary "
        "file (in TMPDIR), with the same numbers. Default: half of what is available.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the document on stdout, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
