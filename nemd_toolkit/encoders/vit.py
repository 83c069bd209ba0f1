"""Vision transformer (Dosovitskiy et al. 2021) with timm's parameter names, without timm.

Knows what DINO, MoCo-v3 and DINOv2 add: LayerScale (`ls1.gamma`), register tokens, SwiGLU
(`mlp.w12`, `mlp.w3`, or packed into `mlp.fc1`), a stem of convolutions, positions for patches only
or for all tokens, mean pooling with `fc_norm`.
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.encoders.patches import PatchStem
from nemd_toolkit.encoders.positions import Positions, placed
from nemd_toolkit.errors import InputError

__all__ = ["VisionTransformer", "vit_from_state_dict"]

_HEAD_WIDTH = 64  # of S, B and L; not told by shapes
_WIDER_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}  # so400m, H, g, G: published widths
_MOCO_V3_HEADS = 12  # of its S and B, moco-v3 vits.py
_EPSILON = 1e-6  # of layer norms, in timm, DINO and DINOv2; transformers' ViT has 1e-12
_BLOCK = re.compile(r"blocks\.(\d{1,4})\.(.+)")
_REGISTERS = ("register_tokens", "reg_token")
_KNOWN = re.compile(
    r"cls_token|pos_embed|register_tokens|reg_token|patch_embed\.proj\.(weight|bias)|"
    r"patch_embed\.proj\.\d{1,2}\.(weight|bias|running_mean|running_var|num_batches_tracked)|"
    r"(norm|fc_norm)\.(weight|bias)|blocks\.\d{1,4}\.(norm[12]|attn\.(qkv|proj)|"
    r"mlp\.(fc1|fc2|w12|w3))\.(weight|bias)|blocks\.\d{1,4}\.ls[12]\.gamma"
)


class VisionTransformer(nn.Module):
    """Patches, a class token where there is one, transformer blocks, a last norm.

    It is built from a state dict, which it keeps under the same names.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        heads: int | None = None,
        positions: Positions = "timm",
        epsilon: float | None = None,
    ) -> None:
        super().__init__()
        self._names = {name: name.replace(".", "·") for name in state}
        for name, value in state.items():
            self.register_buffer(self._names[name], value.float())
        self.positions: Positions = positions
        self.stem = PatchStem.of(state)
        self.width, self.channels, self.patch = (
            self.stem.width,
            self.stem.channels,
            self.stem.patch,
        )
        self.heads = heads or _usual_heads(state, self.width)
        self.epsilon = epsilon or _EPSILON
        self.depth = 1 + max(int(m[1]) for m in map(_BLOCK.match, state) if m)

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Class token after the last norm; not normalised.

        Mean of the patches without a class token, or with a norm behind the pooling (`fc_norm`).
        Raises InputError for images that the patches do not tile.
        """
        if x.shape[2] % self.patch or x.shape[3] % self.patch:
            raise InputError(
                f"ViT: expected images whose sides are multiples of {self.patch}, got "
                f"{x.shape[2]}x{x.shape[3]}; resize them"
            )
        tokens, extra = self._tokens(x)
        for number in range(self.depth):
            tokens = self._block(tokens, f"blocks.{number}")
        if "norm.weight" in self._names:
            tokens = self._norm(tokens, "norm")
        if self._has("fc_norm.weight"):
            return self._norm(tokens[:, extra:].mean(1), "fc_norm")
        return tokens[:, 0] if self._has("cls_token") else tokens[:, extra:].mean(1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """As `features`."""
        return self.features(x)

    def _tokens(self, x: Tensor) -> tuple[Tensor, int]:
        """Embedded patches behind class and register tokens; how many of these there are."""
        maps = self.stem.maps(x, {n: self[n] for n in self._names if n.startswith("patch_embed.")})
        patches = maps.flatten(2).transpose(1, 2)  # (b, d, h, w) -> (b, n, d)
        names = [name for name in ("cls_token", *_REGISTERS) if self._has(name)]
        extra = [self[name] for name in names]
        registers = sum(self[name].shape[1] for name in names if name in _REGISTERS)
        count = sum(part.shape[1] for part in extra)
        tokens = torch.cat(extra, 1) if extra else patches.new_zeros(1, 0, self.width)
        if self._has("pos_embed"):
            first, places = placed(
                self["pos_embed"],
                (maps.shape[2], maps.shape[3]),
                tokens=count,
                registers=registers,
                way=self.positions,
            )
            patches = patches + places
            if first is not None:  # of all of them, or of the class token alone
                with_place = tokens[:, : first.shape[1]] + first
                tokens = torch.cat([with_place, tokens[:, first.shape[1] :]], 1)
        return torch.cat([tokens.expand(len(x), -1, -1), patches], 1), count

    def _block(self, x: Tensor, name: str) -> Tensor:
        attended = self._attention(self._norm(x, f"{name}.norm1"), f"{name}.attn")
        x = x + attended * self._scale(f"{name}.ls1.gamma")
        mixed = self._mlp(self._norm(x, f"{name}.norm2"), f"{name}.mlp")
        return x + mixed * self._scale(f"{name}.ls2.gamma")

    def _attention(self, x: Tensor, name: str) -> Tensor:
        b, n, _ = x.shape
        qkv = self._linear(x, f"{name}.qkv").reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])  # (b, heads, n, d/heads)
        return self._linear(mixed.transpose(1, 2).reshape(b, n, -1), f"{name}.proj")

    def _mlp(self, x: Tensor, name: str) -> Tensor:
        if self._has(f"{name}.w12.weight"):
            return self._linear(_gated(self._linear(x, f"{name}.w12")), f"{name}.w3")
        if self[f"{name}.fc1.weight"].shape[0] == 2 * self[f"{name}.fc2.weight"].shape[1]:
            return self._linear(_gated(self._linear(x, f"{name}.fc1")), f"{name}.fc2")
        return self._linear(F.gelu(self._linear(x, f"{name}.fc1")), f"{name}.fc2")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(
            x, (self.width,), self[f"{name}.weight"], self.get(f"{name}.bias"), self.epsilon
        )

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self[f"{name}.weight"], self.get(f"{name}.bias"))

    def _scale(self, name: str) -> Tensor | float:
        return self[name] if self._has(name) else 1.0

    def _has(self, name: str) -> bool:
        return name in self._names

    def get(self, name: str) -> Tensor | None:
        """Parameter of this name, None if there is none."""
        return self[name] if self._has(name) else None

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(self._names[name])


def vit_from_state_dict(
    state: Mapping[str, Tensor],
    heads: int | None = None,
    positions: Positions = "timm",
    epsilon: float | None = None,
) -> VisionTransformer:
    """Build the ViT that these names describe; `heads` is by default width / 64.

    `positions` says whose way the learned ones go to another grid, `epsilon` is that of the layer
    norms, by default 1e-6. Mask tokens (DINOv2) are left out. Raises InputError if a name is
    missing, left over or of a shape that does not fit.

    >>> d = {"patch_embed.proj.weight": torch.zeros(64, 3, 4, 4), "cls_token": torch.ones(1, 1, 64)}
    >>> vit_from_state_dict(d)
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: ViT: expected patch_embed.proj.weight and \
blocks.0.norm1.weight, got patch_embed.proj.weight, cls_token; pass names without prefix
    """
    state = {name: value for name, value in state.items() if name != "mask_token"}
    stem = "patch_embed.proj.weight" in state or "patch_embed.proj.0.weight" in state
    if not stem or "blocks.0.norm1.weight" not in state:
        raise InputError(
            "ViT: expected patch_embed.proj.weight and blocks.0.norm1.weight, got "
            f"{', '.join(list(state)[:3]) or 'no keys'}; pass names without prefix"
        )
    foreign = [name for name in state if not _KNOWN.fullmatch(name)]
    if foreign:
        raise InputError(
            f"ViT: expected timm's names, got {foreign[0]} and {len(foreign) - 1} others that are "
            "none; use --encoder timm:NAME"
        )
    net = VisionTransformer(state, heads, positions, epsilon).eval()
    if net.width % net.heads:
        raise InputError(
            f"ViT: expected a width that {net.heads} heads divide, got {net.width}; this variant "
            "is not known"
        )
    try:
        with torch.inference_mode():
            net.features(torch.zeros(1, net.channels, net.patch * 2, net.patch * 2))
    except (RuntimeError, KeyError, IndexError, AttributeError) as error:
        detail = re.sub(r"\s+", " ", str(error)).strip()
        raise InputError(
            f"ViT: expected names and shapes that fit together, got others ({detail[:200]}); this "
            "variant is not known"
        ) from None
    return net


def _gated(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, -1)
    return F.silu(gate) * value


def _usual_heads(state: Mapping[str, Tensor], width: int) -> int:
    """Give the number of attention heads of published models of this width.

    MoCo v3 is told by its fixed positions, whose row for the class token is zero. Raises InputError
    for widths of which none is known.
    """
    positions = state.get("pos_embed")
    if positions is not None and positions.ndim == 3 and positions.shape[1] > 1:
        fixed = not bool(positions[:, 0].any()) and bool(positions.any())
        if fixed and width in (384, 768):
            return _MOCO_V3_HEADS
    if width in _WIDER_HEADS:
        return _WIDER_HEADS[width]
    if width % _HEAD_WIDTH:
        raise InputError(
            f"ViT: expected a width whose number of attention heads is known, got {width}; give "
            "the folder with the model's config.json"
        )
    return width // _HEAD_WIDTH
