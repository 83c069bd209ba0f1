"""Checkpoints of pauc-train: the method's own keys, and the rest under `nemd`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.layouts.inputs import checked_image
from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part, Vectors
from nemd_toolkit.checkpoints.layouts.parts import ImageInfo, OwnPrototypes, Reading, State
from nemd_toolkit.checkpoints.training_log import read_log
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError

__all__ = ["FORMAT", "read_pauc_train"]

FORMAT = "pauc-train/1"
_MOST_SPACES = 16


# where files that do not say keep their encoders: PCL's names
_PCL = {
    "key": {"backbone": "encoder_k", "projector": None},
    "query": {"backbone": "encoder_q", "projector": None},
}


def read_pauc_train(content: Content, state: State) -> Reading | None:
    """Read what stands under `nemd`; None where the file has no such entry, or no encoder.

    `nemd.branches` tells where encoders are, the one that prototypes are made from first, and
    `nemd.vectors` where learned prototypes are. Raises InputError for an entry that does not fit.
    """
    extra = content.data.get("nemd") if isinstance(content.data, Mapping) else None
    if not isinstance(extra, Mapping) or "format" not in extra:
        return None
    if extra["format"] != FORMAT:
        raise InputError(
            f"{content.path}: expected a checkpoint of format {FORMAT}, got "
            f"{shown(extra['format'])}; update nemd-toolkit"
        )
    try:
        clustered = tuple(_own_prototypes(entry) for entry in extra.get("prototypes") or ())
        branches = {
            # PCL clusters what the key encoder gives, and compares queries with the centroids
            name: replace(branch, prototypes=(*clustered, *branch.prototypes))
            for name, branch in _layout(extra, state).branches(state).items()
        }
        if not branches:
            return None
        return Reading(
            layout=FORMAT,
            title="pauc-train",
            why=f"it says nemd.format = {FORMAT}",
            method=extra["method"] if isinstance(extra.get("method"), str) else None,
            data=extra["data"] if isinstance(extra.get("data"), str) else None,
            image=_image_info(extra["image"]),
            branches=branches,
            default_branch=next(iter(branches)),
            log=read_log(extra, content.path),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{content.path}: expected image, branches and prototypes under nemd as pauc-train "
            f"gives them, got an entry that does not fit ({shown(error)}); save the file again"
        ) from None


def _layout(extra: Mapping[str, Any], state: State) -> Layout:
    """Give the layout that the file describes; raises all kinds of errors for anything else."""
    vectors = extra.get("vectors")
    learned = () if vectors is None else (Vectors(prefix=f"{_word(vectors)}.", layer="projector"),)
    parts: dict[str, Part] = {}
    for name, at in (extra.get("branches") or _PCL).items():
        backbone = f"{_word(at['backbone'])}."
        projector = f"{backbone}fc." if at["projector"] is None else f"{_word(at['projector'])}."
        head = HeadAt(layer="projector", prefix=projector, normalised=True)
        parts[_word(name)] = Part(
            backbone=backbone,
            heads=(head, *_beside(backbone, state)),
            layer="projector",
            prototypes=learned,
        )
    return Layout(
        name=FORMAT,
        title="pauc-train",
        source="pauc_train/run.py",
        marks=(),
        parts=parts,
        default=next(iter(parts)),
    )


def _beside(backbone: str, state: State) -> Iterator[HeadAt]:
    """Give the further heads that some methods keep inside their encoder."""
    found = [(f"{backbone}groupDis.", "groups")]  # CLD's
    found += [(f"{backbone}heads.{at}.", f"space {at + 1}") for at in range(_MOST_SPACES)]  # LooC's
    for prefix, layer in found:
        if any(name.startswith(prefix) for name in state):
            yield HeadAt(layer=layer, prefix=prefix, normalised=True, on="backbone")


def _word(value: Any) -> str:
    if type(value) is not str or not value:
        raise TypeError(f"a name of type {type(value).__name__}")
    return value


def _image_info(entry: Mapping[str, Any]) -> ImageInfo:
    height, width = (int(length) for length in entry["size"])
    return checked_image(
        ImageInfo(
            channels=int(entry["channels"]),
            size=(height, width),
            mean=tuple(float(value) for value in entry["mean"]),
            std=tuple(float(value) for value in entry["std"]),
        )
    )


def _own_prototypes(entry: Mapping[str, Any]) -> OwnPrototypes:
    centroids, assignment, phi = entry["centroids"], entry["assignment"], entry["phi"]
    k = int(entry["k"])
    if (
        centroids.ndim != 2
        or len(centroids) != k
        or tuple(phi.shape) != (k,)
        or assignment.ndim != 1
    ):
        raise ValueError(f"prototypes of shapes {tuple(centroids.shape)}, {tuple(phi.shape)}")
    if len(assignment) and not 0 <= int(assignment.min()) <= int(assignment.max()) < k:
        raise ValueError(f"assignments outside 0…{k - 1}")
    return OwnPrototypes(
        vectors=centroids.float(),
        layer="projector",
        name=f"k-means of training, K={k:,}",
        assignment=assignment.long(),
        phi=phi.float(),
    )
