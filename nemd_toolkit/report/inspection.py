"""What a checkpoint is, as a document: layout, encoders, heads, prototypes, what to do with it.

Its prototypes are judged as far as vectors alone can be.
"""

import shlex
from typing import Any

from nemd_toolkit.checkpoints import Branch, Checkpoint, OwnPrototypes, State
from nemd_toolkit.encoder_choice import own_backbone
from nemd_toolkit.encoders import from_transformers
from nemd_toolkit.errors import InputError
from nemd_toolkit.findings import decide_vectors, judge_vectors
from nemd_toolkit.measures.vectors import VectorGeometry, measure_vectors
from nemd_toolkit.report.document import finding_part

__all__ = ["SCHEMA", "inspection"]

SCHEMA = "nemd-inspection/1"
_IMAGES = "folder:IMAGES"  # where the file does not say what it was trained on
_SIMCLR = "simclr/converted"
_UNKNOWN = (
    "nemd has no such encoder. Name its network (also torchvision:NAME, transformers:DIR, or your "
    "own package.module:function):"
)
_USUAL_WIDTH = 64  # of a ResNet's stem


def inspection(checkpoint: Checkpoint, size: int) -> dict[str, Any]:
    """Give what is known of a checkpoint as a document, schema nemd-inspection/1.

    `size` is that of the file in bytes. What the file does not tell is null. Prototypes are
    {"branches" that they are compared with, "k", "dim", "layer", "name", "geometry", "verdict",
    "findings"} of the vectors alone, geometry and verdict null where they cannot be measured.
    Commands are {"purpose", "command"}.
    """
    image = checkpoint.image
    return {
        "schema": SCHEMA,
        "source": str(checkpoint.path),
        "sha256": checkpoint.sha256,
        "bytes": size,
        "container": checkpoint.container,
        "layout": checkpoint.layout,
        "title": checkpoint.title,
        "why": checkpoint.why,
        "method": checkpoint.method,
        "arch": checkpoint.arch,
        "epoch": checkpoint.epoch,
        "trained_on": checkpoint.data,
        "settings": dict(checkpoint.settings),
        "not_executed": list(checkpoint.stubs),
        "image": {
            "channels": image.channels,
            "size": image.size,
            "resize": image.resize,
            "mean": image.mean,
            "std": image.std,
            "interpolation": image.interpolation,
            "space": image.space,
            "squeezed": image.squeezed,
            "mean_and_std_told": image.normalised,
        },
        "branches": {name: _branch(branch) for name, branch in checkpoint.branches.items()},
        "default_branch": checkpoint.default_branch,
        "default_layer": checkpoint.branch().default_layer,
        "prototypes": [_prototypes(own, names) for own, names in _sets(checkpoint)],
        "commands": [
            {"purpose": purpose, "command": shlex.join(words)}
            for purpose, words in _commands(checkpoint)
        ],
    }


def _branch(branch: Branch) -> dict[str, Any]:
    return {
        "encoder": _encoder(branch.backbone),
        "tensors": len(branch.backbone),
        "parameters": sum(value.numel() for value in branch.backbone.values()),
        "heads": {head.layer: _outputs(head.state) for head in branch.heads},
        "default_layer": branch.default_layer,
    }


def _encoder(state: State) -> str:
    """Name the architecture that names and shapes tell."""
    state = from_transformers(state)
    patches = state.get("patch_embed.proj.weight")
    if patches is not None and patches.ndim == 4:
        blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
        width, patch = int(patches.shape[0]), int(patches.shape[3])
        return f"ViT of {blocks} {_plural('block', blocks)}, width {width}, patches of {patch}"
    stem = state.get("conv1.weight")
    if stem is not None and stem.ndim == 4 and "layer1.0.conv1.weight" in state:
        kinds = {name.split(".")[2] for name in state if name.startswith("layer1.0.conv")}
        blocks = len({tuple(n.split(".")[:2]) for n in state if n.startswith("layer")})
        wide = f", width {int(stem.shape[0])}" if int(stem.shape[0]) != _USUAL_WIDTH else ""
        small = ", 3x3 stem" if int(stem.shape[3]) == 3 else ""
        return f"ResNet-{len(kinds) * blocks + 2}{wide}{small}"
    halves = {name.partition(".")[0] for name in state} & {"l_to_ab", "ab_to_l"}
    if halves:
        return "CMC's halves" if len(halves) > 1 else "one of CMC's halves"
    if "layer_list.0.conv.weight" in state:
        return "AMDIM"
    return "an architecture of its own"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _outputs(state: State) -> int | None:
    """Width of the last linear layer."""
    matrices = {
        name: len(value)
        for name, value in state.items()
        if name.endswith("weight") and value.ndim == 2
    }
    last = max(matrices, key=_place, default=None)
    return None if last is None else matrices[last]


def _place(name: str) -> int:
    number = name.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _sets(checkpoint: Checkpoint) -> list[tuple[OwnPrototypes, list[str]]]:
    """Give each set of prototypes, the default branch's first, with the branches that share it."""
    first = checkpoint.default_branch
    ordered = [first, *(name for name in checkpoint.branches if name != first)]
    sets: dict[int, tuple[OwnPrototypes, list[str]]] = {}
    for name in ordered:
        for own in checkpoint.branches[name].prototypes:
            sets.setdefault(id(own), (own, []))[1].append(name)
    return list(sets.values())


def _prototypes(own: OwnPrototypes, branches: list[str]) -> dict[str, Any]:
    finite = bool(own.vectors.isfinite().all())
    found = measure_vectors(own.vectors) if finite else None
    findings = judge_vectors(found) if found else ()
    verdict = decide_vectors(findings) if found else None
    return {
        "branches": branches,
        "k": own.k,
        "dim": int(own.vectors.shape[1]),
        "layer": own.layer,
        "name": own.name,
        "bias": own.bias is not None,
        "finite": finite,
        "geometry": found and _geometry(found),
        "verdict": verdict
        and {"state": verdict.state, "codes": list(verdict.codes), "headline": verdict.headline},
        "findings": [finding_part(finding) for finding in findings],
    }


def _geometry(found: VectorGeometry) -> dict[str, Any]:
    return {
        "zero": found.zero,
        "duplicates": dict(found.duplicates),
        "uniform_duplicates": dict(found.uniform_duplicates),
        "distinct": {epsilon: found.distinct(epsilon) for epsilon, _ in found.duplicates},
        "mean_cosine": found.mean_cosine,
        "koleo": found.koleo,
        "uniform": found.uniform,
        "effective_rank": found.spectrum.effective_rank_centred,
        "uniform_effective_rank": found.spectrum.null_effective_rank,
    }


def _commands(checkpoint: Checkpoint) -> list[tuple[str, list[str]]]:
    path, data = str(checkpoint.path), checkpoint.data or _IMAGES
    if not _known(checkpoint):
        named = ["nemd", "analyze", path, "--data", data, "--encoder", "timm:NAME"]
        embedded = ["nemd", "analyze", "embeddings.npz"]
        return [
            (_UNKNOWN, named),
            ("Or embed images with its own code, then:", embedded),
        ]
    analyze = ["nemd", "analyze", path, "--data", data]
    layer = checkpoint.branch().default_layer
    found = [(f"Is it collapsing? Measured at the {layer}, with prototypes by k-means:", analyze)]
    if checkpoint.prototypes:
        found.append(("The same with its own prototypes:", [*analyze, "--prototypes", "own"]))
    others = [name for name in checkpoint.branches if name != checkpoint.default_branch]
    if others:
        found.append((f"The {others[0]} encoder instead:", [*analyze, "--branch", others[0]]))
    embed = ["nemd", "embed", path, "--data", data, "--out", "embeddings.npz"]
    found.append(("Features of the backbone, for your own tools:", embed))
    if _like_simclr(checkpoint):
        named = ["nemd", "inspect", path, "--layout", _SIMCLR]
        found.append(("If it is SimCLR's, converted, which looks the same in this format:", named))
    return found


def _like_simclr(checkpoint: Checkpoint) -> bool:
    """Whether simclr-converter's file would look the same, now that the order of names is lost."""
    return (
        checkpoint.layout == "resnet"
        and checkpoint.container in ("safetensors", "folder")
        and _encoder(checkpoint.branch().backbone) == "ResNet-50"
        and checkpoint.branch().head("classifier") is not None
    )


def _known(checkpoint: Checkpoint) -> bool:
    """Whether the default branch's encoder can be built; shapes alone decide, nothing is run."""
    try:
        own_backbone(checkpoint, checkpoint.branch())
    except InputError:
        return False
    return True
