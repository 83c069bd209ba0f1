"""A backbone and the heads on the way to one layer, as one module from images to embeddings."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.encoders.amdim import MAPS, amdim_from_state_dict
from nemd_toolkit.encoders.halves import halves_from_state_dict
from nemd_toolkit.encoders.infer import resnet_from_state_dict
from nemd_toolkit.encoders.positions import Positions
from nemd_toolkit.encoders.renaming import from_transformers
from nemd_toolkit.encoders.vit import vit_from_state_dict
from nemd_toolkit.errors import InputError

__all__ = ["Backbone", "Embedder", "backbone_from_state_dict", "names_left_out"]

_HALVES = ("l_to_ab.", "ab_to_l.")


@runtime_checkable
class Backbone(Protocol):
    """What makes one row of features of each image."""

    @property
    def channels(self) -> int | None:
        """Of the images; None for any."""

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features, pooled over the image; not normalised."""


class Embedder(nn.Module):
    """Images (b, c, h, w) to rows (b, d) of one layer; not normalised at the end."""

    def __init__(
        self,
        backbone: Backbone,
        heads: Sequence[tuple[nn.Module, bool]] = (),
    ) -> None:
        """`heads` in their order, each with whether its output is normalised for the next."""
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(head for head, _ in heads)
        self.normalised = tuple(normalised for _, normalised in heads)
        self.channels = backbone.channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Rows of the layer that the last head gives, or of the backbone.

        Raises InputError if the backbone's rows are not as wide as the first head expects.
        """
        rows = self.backbone.features(x)
        width = _width(self.heads)
        if width not in (None, rows.shape[1]):
            raise InputError(
                f"layer: expected features of width {width} for the head, got {rows.shape[1]} from "
                "the encoder; take --layer backbone, or the encoder that the head was trained on"
            )
        for number, head in enumerate(self.heads):
            if number and self.normalised[number - 1]:
                rows = F.normalize(rows, dim=1)
            rows = head(rows)
        return rows


def backbone_from_state_dict(
    state: Mapping[str, Tensor],
    attention_heads: int | None = None,
    positions: Positions = "timm",
    norm_epsilon: float | None = None,
) -> Backbone:
    """Build the encoder that these names describe.

    A ResNet of torchvision, a ViT of timm, either of transformers, CMC's halves, or AMDIM's
    encoder. `positions` says whose way a ViT's positions go to another grid; names of transformers
    tell their own. The numbers are a ViT's, which shapes do not tell; by default the usual ones.
    Raises InputError if the names are of none, or do not fit together.

    >>> from nemd_toolkit.encoders import build_resnet
    >>> state = build_resnet("resnet8-tiny", channels=1, head="none").state_dict()
    >>> backbone_from_state_dict(state).channels
    1
    """
    if any(name.startswith(_HALVES) for name in state):
        return halves_from_state_dict(state)
    if "layer_list.0.conv.weight" in state:
        return amdim_from_state_dict(state)
    if any(name.startswith("embeddings.") for name in state):
        positions = "transformers"
    state = from_transformers(state)
    if "patch_embed.proj.weight" in state or "patch_embed.proj.0.weight" in state:
        return vit_from_state_dict(state, attention_heads, positions, norm_epsilon)
    if "conv1.weight" in state:
        return resnet_from_state_dict(state)
    some = ", ".join(list(state)[:3]) or "no keys"
    raise InputError(
        "encoder: expected a ResNet with torchvision's names or a ViT with timm's, got "
        f"{some}; give the network with --encoder, or embed the images yourself"
    )


def names_left_out(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names that `backbone_from_state_dict` does without: a pooler's, mask tokens, AMDIM's maps.

    >>> import torch
    >>> names_left_out({"mask_token": torch.ones(1), "conv1.weight": torch.ones(1)})
    ('mask_token',)
    """
    parts = ("pooler.", *MAPS) if "layer_list.0.conv.weight" in state else ("pooler.",)
    tokens = ("mask_token", "embeddings.mask_token")
    return tuple(name for name in state if name.startswith(parts) or name in tokens)


def _width(heads: nn.ModuleList) -> int | None:
    """Give the number of inputs of the first linear layer on the way."""
    layers = (part for part in heads.modules() if isinstance(part, nn.Linear))
    return next((layer.in_features for layer in layers), None)
