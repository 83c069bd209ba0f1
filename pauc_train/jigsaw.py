"""Jigsaw puzzles (Noroozi & Favaro 2016) as PIRL and InfoMin use them: a view and its head."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.errors import InputError
from pauc_train.heads import mlp
from pauc_train.method import View
from pauc_train.views import Draws

__all__ = ["JigsawHead", "jigsaw", "patches"]

_PART = 0.75  # a patch's side as part of its cell's: PIRL, 64 of 85 pixels


def jigsaw(view: View, grid: int) -> View:
    """Cut `grid` x `grid` patches out of a view, in random order, one below the other.

    A patch lies anywhere in its cell, three quarters as wide. What it gives is (b, c, k·h, w).
    """

    def cut(images: Tensor, draws: Draws) -> Tensor:
        images = view(images, draws)
        h, w = images.shape[2] // grid, images.shape[3] // grid
        if min(h, w) < 2:
            raise InputError(
                f"grid: expected cells of at least 2 pixels, got {grid} cells in "
                f"{min(images.shape[2:])} pixels; lower grid"
            )
        side_y, side_x = max(2, int(_PART * h)), max(2, int(_PART * w))
        k = grid * grid
        order = draws.uniform(0, 1, k).argsort(1)  # (b, k): which cell comes where
        y = order // grid * h + _whole(draws.uniform(0, h - side_y + 1, k), h - side_y)
        x = order % grid * w + _whole(draws.uniform(0, w - side_x + 1, k), w - side_x)
        rows = y[:, :, None] + torch.arange(side_y, device=y.device)  # (b, k, h)
        columns = x[:, :, None] + torch.arange(side_x, device=x.device)  # (b, k, w)
        which = torch.arange(len(images), device=images.device)[:, None, None, None]
        cells = images.permute(0, 2, 3, 1)[which, rows[..., None], columns[:, :, None]]
        return cells.flatten(1, 2).permute(0, 3, 1, 2).contiguous()

    return cut


def _whole(drawn: Tensor, most: int) -> Tensor:
    return drawn.long().clamp_max(most)  # a float32 may round up to the bound


def patches(views: Float[Tensor, "b c kh w"], grid: int) -> Float[Tensor, "bk c h w"]:
    """Give the patches of `jigsaw` as images of their own, those of an image together.

    >>> patches(torch.zeros(2, 3, 12, 3), 2).shape
    torch.Size([8, 3, 3, 3])
    """
    b, c, _, w = views.shape
    return views.view(b, c, grid * grid, -1, w).transpose(1, 2).flatten(0, 1)


class JigsawHead(nn.Module):
    """PIRL's head g: a projection of each patch, then one of all of an image (PyContrast's names).

    >>> JigsawHead([8, 4], 4)(torch.zeros(12, 8)).shape
    torch.Size([3, 4])
    """

    def __init__(self, widths: list[int], count: int) -> None:
        super().__init__()
        self.count = count
        self.fc1 = mlp(widths, norm=False)
        self.fc2 = nn.Linear(count * widths[-1], widths[-1])

    def forward(self, features: Float[Tensor, "bk f"]) -> Float[Tensor, "b d"]:
        """Embed images from their patches' features; not normalised."""
        projected: Tensor = self.fc1(features)
        embedding: Tensor = self.fc2(projected.view(len(features) // self.count, -1))
        return embedding
