"""The images nearest to and farthest from the middle of the tightest prototypes, as thumbnails."""

import io
from base64 import b64encode
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from nemd_toolkit.images import Images
from nemd_toolkit.measures.summary import ClusteringMeasures
from nemd_toolkit.scratch import block_rows, rows_at
from nemd_toolkit.sphere import mean_directions

__all__ = ["Exemplars", "Thumbnail", "find_exemplars"]

PROTOTYPES = 6
EACH = 6  # images nearest, and as many farthest
LEAST_MEMBERS = 2 * EACH  # so that no image is both
PIXELS = 56  # of a thumbnail's longer side


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One image, small."""

    png: bytes
    name: str  # row number or path in its collection
    cosine: float  # to the prototype's mean direction, in [−1, 1]

    @property
    def url(self) -> str:
        """The picture itself, for a page that loads nothing."""
        return "data:image/png;base64," + b64encode(self.png).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplars:
    """One prototype: its members nearest to its mean direction, and those farthest from it."""

    prototype: int
    name: str
    size: int
    resultant: float
    nearest: tuple[Thumbnail, ...]  # the nearest first
    farthest: tuple[Thumbnail, ...]  # the farthest first


def find_exemplars(c: ClusteringMeasures, images: Images) -> tuple[Exemplars, ...]:
    """Show the tightest prototypes of a clustering, at most 6, where coagulation shows first.

    images: those that were embedded, in the same order. Prototypes of fewer than 12 members are
    left out. Raises InputError for an image that can no longer be read.
    """
    spread = c.spread
    order = (-torch.as_tensor(spread.resultants)).argsort(stable=True).tolist()
    places = [place for place in order if spread.sizes[place] >= LEAST_MEMBERS][:PROTOTYPES]
    shown = torch.full((c.k,), -1)
    shown[torch.as_tensor(spread.which[places])] = torch.arange(len(places))
    numbers = shown[c.prototypes.assignment]
    directions = mean_directions(c.prototypes.embeddings.vectors, numbers, len(places))
    return tuple(
        _of(
            c,
            images,
            int(spread.which[place]),
            float(spread.resultants[place]),
            members=(numbers == number).nonzero().squeeze(1),
            direction=direction,
        )
        for number, (place, direction) in enumerate(zip(places, directions, strict=True))
    )


def _of(
    c: ClusteringMeasures,
    images: Images,
    prototype: int,
    resultant: float,
    *,
    members: Int[Tensor, " z"],
    direction: Float[Tensor, " d"],
) -> Exemplars:
    points = c.prototypes.embeddings.vectors
    parts = members.split(block_rows(points.shape[1]))
    cosines = torch.cat([rows_at(points, some).double() @ direction for some in parts])
    order = cosines.argsort(descending=True, stable=True)
    nearest, farthest = order[:EACH], order[-EACH:].flip(0)
    return Exemplars(
        prototype=prototype,
        name=c.prototypes.names[prototype],
        size=len(members),
        resultant=resultant,
        nearest=_thumbnails(images, members[nearest], cosines[nearest]),
        farthest=_thumbnails(images, members[farthest], cosines[farthest]),
    )


def _thumbnails(images: Images, rows: Tensor, cosines: Tensor) -> tuple[Thumbnail, ...]:
    pixels = images.batch(rows)
    scale = PIXELS / max(pixels.shape[2:])
    if scale < 1:
        pixels = F.interpolate(pixels, scale_factor=scale, mode="area")
    return tuple(
        Thumbnail(png=_png(picture), name=str(images.ids[row]), cosine=cosine)
        for picture, row, cosine in zip(pixels, rows.tolist(), cosines.tolist(), strict=True)
    )


def _png(pixels: Float[Tensor, "c h w"]) -> bytes:
    levels = (pixels * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    picture = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return data.getvalue()
