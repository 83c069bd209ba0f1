"""How a ViT's image becomes patches: one convolution, or MoCo v3's four smaller ones and a last."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["PatchStem"]

_LARGEST_PATCH = 64  # pixels; a larger one would only fill the memory
_PROJ = "patch_embed.proj."
_NUMBERED = re.compile(r"patch_embed\.proj\.(\d{1,2})\.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchStem:
    """What a state dict tells of the first layer."""

    width: int  # of tokens
    channels: int  # of images
    patch: int  # pixels, a side
    halvings: int  # 3x3 convolutions of stride 2, each with a norm, before the last one; mostly 0

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "PatchStem":
        """Read it from timm's names, or from those of facebookresearch/moco-v3 vits.py ConvStem.

        Raises InputError for patches that are not square or too large.

        >>> import torch
        >>> PatchStem.of({"patch_embed.proj.weight": torch.zeros(64, 3, 16, 16)})
        PatchStem(width=64, channels=3, patch=16, halvings=0)
        """
        single = state.get(f"{_PROJ}weight")
        if single is not None:
            shape = tuple(single.shape)
            if len(shape) != 4 or shape[2] != shape[3] or not 1 <= shape[2] <= _LARGEST_PATCH:
                raise _unknown(f"weights of shape {shape}")
            return cls(width=shape[0], channels=shape[1], patch=shape[2], halvings=0)
        numbers = sorted(int(m[1]) for m in map(_NUMBERED.fullmatch, state) if m)
        halvings = sum(state[f"{_PROJ}{number}.weight"].ndim == 4 for number in numbers) - 1
        usual = [place for n in range(halvings) for place in (3 * n, 3 * n + 1)] + [3 * halvings]
        if numbers != usual or not 1 <= halvings <= 6:
            raise _unknown(f"layers numbered {numbers[:16]}")
        first, last = (state[f"{_PROJ}{number}.weight"] for number in (0, numbers[-1]))
        return cls(
            width=int(last.shape[0]),
            channels=int(first.shape[1]),
            patch=2**halvings,
            halvings=halvings,
        )

    def maps(self, x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """Images (b, c, h, w) as maps (b, d, h / patch, w / patch)."""
        if not self.halvings:
            return F.conv2d(x, state[f"{_PROJ}weight"], state.get(f"{_PROJ}bias"), self.patch)
        for number in range(0, 3 * self.halvings, 3):
            x = F.conv2d(x, state[f"{_PROJ}{number}.weight"], stride=2, padding=1)
            norm = f"{_PROJ}{number + 1}."
            mean, variance = state[f"{norm}running_mean"], state[f"{norm}running_var"]
            x = F.batch_norm(x, mean, variance, state[f"{norm}weight"], state[f"{norm}bias"])
            x = F.relu(x)
        last = f"{_PROJ}{3 * self.halvings}."
        return F.conv2d(x, state[f"{last}weight"], state.get(f"{last}bias"))


def _unknown(got: str) -> InputError:
    return InputError(
        f"ViT: expected square patches of at most {_LARGEST_PATCH} pixels, got {got}; this variant "
        "is not known"
    )
