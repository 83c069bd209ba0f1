"""Checkpoints of pauc-train: PCL's keys, and what PCL leaves out under `nemd`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.layouts.inputs import checked_image
from nemd_toolkit.checkpoints.layouts.parts import Branch, ImageInfo, OwnPrototypes, Reading
from nemd_toolkit.checkpoints.training_log import read_log
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError

__all__ = ["FORMAT", "read_pauc_train"]

FORMAT = "pauc-train/1"


def read_pauc_train(
    content: Content, branches: Mapping[str, Branch], default: str
) -> Reading | None:
    """Read what stands under `nemd`; None where the file has no such entry.

    Raises InputError for an entry that does not fit.
    """
    extra = content.data.get("nemd") if isinstance(content.data, Mapping) else None
    if not isinstance(extra, Mapping) or "format" not in extra:
        return None
    if extra["format"] != FORMAT:
        raise InputError(
            f"{content.path}: expected a checkpoint of format {FORMAT}, got "
            f"{shown(extra['format'])}; update nemd-toolkit"
        )
    if not branches:
        return None
    try:
        own = tuple(_own_prototypes(entry) for entry in extra.get("prototypes") or ())
        return Reading(
            layout=FORMAT,
            title="pauc-train",
            why=f"it says nemd.format = {FORMAT}",
            method=extra["method"] if isinstance(extra.get("method"), str) else None,
            data=extra["data"] if isinstance(extra.get("data"), str) else None,
            image=_image_info(extra["image"]),
            # PCL clusters what the key encoder gives, and compares queries with the centroids
            branches={name: replace(branch, prototypes=own) for name, branch in branches.items()},
            default_branch=default,
            log=read_log(extra, content.path),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{content.path}: expected image and prototypes under nemd as pauc-train writes them, "
            f"got an entry that does not fit ({shown(error)}); save the checkpoint again"
        ) from None


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
