"""Random changes of each patch of a mosaic by itself, in [0, 1], as `random_view` of images."""

import torch
from jaxtyping import Float
from torch import Tensor

from pauc_train.patches import apart, mosaic
from pauc_train.views import Draws

__all__ = ["drop_colours", "flip_patches", "light_patches", "subcrop_patches"]


def subcrop_patches(
    grids: Float[Tensor, "b c y x"], *, patch: int, margin: int, draws: Draws
) -> Float[Tensor, "b c y x"]:
    """Put a random part of each patch, smaller by `margin` pixels, into its middle; 0 around it."""
    if margin == 0:
        return grids
    parts = apart(grids, patch)
    b, rows, columns = parts.shape[:3]
    offsets = draws.uniform(0.0, margin + 1.0, rows, columns, 2).floor().clamp_max(margin).long()
    place = torch.arange(patch, device=grids.device)
    before = margin // 2
    kept = (place >= before) & (place < before + patch - margin)
    source = (place - before).clamp(0, patch - margin - 1) + offsets.flatten(0, 2)[..., None]
    flat = parts.flatten(0, 2)  # (n, c, p, p)
    each = torch.arange(len(flat), device=grids.device).view(-1, 1, 1)
    moved = flat.permute(0, 2, 3, 1)[each, source[:, 0, :, None], source[:, 1, None, :]]
    moved = moved.permute(0, 3, 1, 2) * (kept[:, None] & kept)
    return mosaic(moved.unflatten(0, (b, rows, columns)))


def flip_patches(
    grids: Float[Tensor, "b c y x"], *, patch: int, probability: float, draws: Draws
) -> Float[Tensor, "b c y x"]:
    """Mirror some patches left to right."""
    parts = apart(grids, patch)
    chosen = draws.uniform(0.0, 1.0, *parts.shape[1:3]) < probability
    return mosaic(torch.where(chosen[..., None, None, None], parts.flip(-1), parts))


def drop_colours(
    grids: Float[Tensor, "b 3 y x"], *, patch: int, draws: Draws
) -> Float[Tensor, "b 3 y x"]:
    """Set two of the three channels of each patch to 0."""
    parts = apart(grids, patch)
    kept = draws.uniform(0.0, 3.0, *parts.shape[1:3]).floor().clamp_max(2.0)
    channels = torch.arange(3, device=grids.device)
    mask = channels == kept[..., None]  # (b, r, k, 3)
    return mosaic(parts * mask[..., None, None])


def light_patches(
    grids: Float[Tensor, "b c y x"], *, patch: int, strength: float, draws: Draws
) -> Float[Tensor, "b c y x"]:
    """Multiply each patch by a factor in 1 ± strength."""
    parts = apart(grids, patch)
    factor = draws.uniform(1 - strength, 1 + strength, *parts.shape[1:3])
    return mosaic((parts * factor[..., None, None, None]).clamp(0, 1))
