"""What a checkpoint is, in words: layout, encoders, heads, prototypes, what to do with it."""

from collections.abc import Mapping
from typing import Any

from nemd_toolkit.checkpoints import Branch, Checkpoint, OwnPrototypes, State, shown
from nemd_toolkit.measures.vectors import measure_vectors

__all__ = ["inspection", "inspection_lines"]

SCHEMA = "nemd-inspection/1"
_MOST_SETTINGS = 12
_MOST_VECTORS = 10_000  # whose pairs are looked at within seconds
_EPSILON = 0.025  # NEMD003's


def inspection(checkpoint: Checkpoint, size: int) -> dict[str, Any]:
    """Give what is known of a checkpoint as a document, schema nemd-inspection/1.

    `size` is that of the file in bytes. Branches are {"layer": width}, prototypes {"k", "dim",
    "layer", "name",
    "geometry": of the vectors alone}; what the file does not tell is null.
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
            "mean_and_std_told": image.normalised,
        },
        "branches": {name: _branch(branch) for name, branch in checkpoint.branches.items()},
        "default_branch": checkpoint.default_branch,
        "default_layer": checkpoint.branch().default_layer,
        "prototypes": [_prototypes(own) for own in checkpoint.prototypes],
        "commands": _commands(checkpoint),
    }


def inspection_lines(document: Mapping[str, Any]) -> list[str]:
    """Give the document as lines that a person reads."""
    epoch = "" if document["epoch"] is None else f", epoch {document['epoch']}"
    arch = f" ({shown(document['arch'])})" if document["arch"] else ""
    lines = [
        f"{document['source']}: {document['title']}{epoch}",
        f"  layout      {document['layout']}, since {shown(document['why'])}",
        f"  file        {_bytes(document['bytes'])}, {document['container']}, "
        f"sha256 {document['sha256'][:12]}…",
    ]
    if document["method"] or document["trained_on"]:
        method = shown(document["method"] or "unknown method")
        lines.append(
            f"  trained     {method}, on {shown(document['trained_on'] or 'unknown data')}"
        )
    for name, branch in document["branches"].items():
        default = " (default)" if name == document["default_branch"] else ""
        heads = "".join(f" → {layer} {_width(width)}" for layer, width in branch["heads"].items())
        lines.append(
            f"  {'branch':<11} {shown(name)}{default}: {branch['family']}{arch} "
            f"{branch['parameters']:,} numbers{heads}"
        )
    for own in document["prototypes"]:
        where = f"in {shown(own['layer'])} ({shown(own['name'])})"
        lines += [
            f"  prototypes  {own['k']:,} of dimension {own['dim']}, {where}",
            f"              {_geometry(own)}",
        ]
    lines.append(f"  images      {_image(document['image'])}")
    settings = list(document["settings"].items())
    if settings:
        few = ", ".join(f"{key}={shown(value)[:40]}" for key, value in settings[:_MOST_SETTINGS])
        more = f" and {len(settings) - _MOST_SETTINGS} more" if settings[_MOST_SETTINGS:] else ""
        lines.append(f"  settings    {few}{more}")
    names = document["not_executed"]
    if names:
        more = f" and {len(names) - 6} more" if names[6:] else ""
        lines.append(f"  not run     {', '.join(names[:6])}{more}: kept as names, never executed")
    return [*lines, "", "What you can do with it:", *(f"  {line}" for line in document["commands"])]


def _branch(branch: Branch) -> dict[str, Any]:
    return {
        "family": _family(branch.backbone),
        "tensors": len(branch.backbone),
        "parameters": sum(value.numel() for value in branch.backbone.values()),
        "heads": {head.layer: _outputs(head.state) for head in branch.heads},
    }


def _family(state: State) -> str:
    if "patch_embed.proj.weight" in state or "cls_token" in state:
        return "ViT"
    if "layer1.0.conv1.weight" in state:
        return "ResNet (bottleneck)" if "layer1.0.conv3.weight" in state else "ResNet (basic)"
    if any(name.startswith(("l_to_ab.", "ab_to_l.")) for name in state):
        return "CMC"
    if "layer_list.0.conv.weight" in state:
        return "AMDIM"
    return "encoder of another kind"


def _outputs(state: State) -> int | None:
    """Width of the last linear layer."""
    matrices = [
        value for name, value in state.items() if name.endswith("weight") and value.ndim == 2
    ]
    return len(matrices[-1]) if matrices else None


def _prototypes(own: OwnPrototypes) -> dict[str, Any]:
    entry = {"k": own.k, "dim": int(own.vectors.shape[1]), "layer": own.layer, "name": own.name}
    if own.k > _MOST_VECTORS or not bool(own.vectors.isfinite().all()):
        return {**entry, "geometry": None}
    found = measure_vectors(own.vectors)
    return {
        **entry,
        "geometry": {
            "zero": found.zero,
            "duplicates": dict(found.duplicates),
            "koleo": found.koleo,
            "uniform": found.uniform,
            "effective_rank": found.spectrum and found.spectrum.effective_rank_centred,
            "uniform_effective_rank": found.spectrum and found.spectrum.null_effective_rank,
        },
    }


def _geometry(own: Mapping[str, Any]) -> str:
    """Say how the vectors lie, without any data."""
    found = own["geometry"]
    if found is None:
        return f"not measured here (only up to {_MOST_VECTORS:,} finite ones are)"
    if found["koleo"] is None:
        return "fewer than two have a length"
    zero = f", {found['zero']:,} without length" if found["zero"] else ""
    return (
        f"{found['duplicates'][_EPSILON]:.0%} repeat another (cosine distance {_EPSILON}){zero}; "
        f"effective rank {found['effective_rank']:.1f} "
        f"({found['uniform_effective_rank']:.1f} if uniform); KoLeo {found['koleo']:.2f}; "
        f"p-uniform {found['uniform']:.3g}"
    )


def _commands(checkpoint: Checkpoint) -> list[str]:
    data = checkpoint.data or "folder:IMAGES"
    start = f"nemd analyze {checkpoint.path} --data {data}"
    found = [f"{start}    (k-means on {checkpoint.branch().default_layer})"]
    if checkpoint.prototypes:
        found.append(f"{start} --prototypes own    (its own prototypes)")
    others = [name for name in checkpoint.branches if name != checkpoint.default_branch]
    if others:
        found.append(f"nemd embed {checkpoint.path} --data {data} --branch {others[0]} --out e.npz")
    return found


def _image(image: Mapping[str, Any]) -> str:
    size = "any size" if image["size"] is None else "{}x{}".format(*image["size"])
    resize = f", shorter side to {image['resize']} first" if image["resize"] else ""
    mean = ", ".join(f"{value:.3g}" for value in image["mean"])
    std = ", ".join(f"{value:.3g}" for value in image["std"])
    told = "" if image["mean_and_std_told"] else " (the usual ones; the file does not say)"
    return f"{image['channels']} x {size} {image['space']}{resize}; mean {mean}; std {std}{told}"


def _width(width: int | None) -> str:
    return "" if width is None else str(width)


def _bytes(size: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000  # type: ignore[assignment]
    return f"{size:.3g} GB"
