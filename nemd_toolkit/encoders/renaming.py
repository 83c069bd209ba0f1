"""Names of Hugging Face's transformers to those of timm (ViT, DINOv2) and torchvision (ResNet)."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["from_transformers"]

_RULES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"embeddings\.cls_token", "cls_token"),
        (r"embeddings\.mask_token", "mask_token"),
        (r"embeddings\.register_tokens", "register_tokens"),
        (r"embeddings\.position_embeddings", "pos_embed"),
        (r"embeddings\.patch_embeddings\.projection\.(.+)", r"patch_embed.proj.\1"),
        (
            r"(?:encoder\.layer|layers)\.(\d+)\.(?:layernorm_before|norm1)\.(.+)",
            r"blocks.\1.norm1.\2",
        ),
        (
            r"(?:encoder\.layer|layers)\.(\d+)\.(?:layernorm_after|norm2)\.(.+)",
            r"blocks.\1.norm2.\2",
        ),
        (
            r"(?:encoder\.layer|layers)\.(\d+)\.attention\.(?:attention\.)?(query|key|value|[qkv]_proj)\.(.+)",
            r"blocks.\1.attn.\2.\3",
        ),
        (
            r"(?:encoder\.layer|layers)\.(\d+)\.attention\.(?:output\.dense|o_proj)\.(.+)",
            r"blocks.\1.attn.proj.\2",
        ),
        (r"(?:encoder\.layer|layers)\.(\d+)\.intermediate\.dense\.(.+)", r"blocks.\1.mlp.fc1.\2"),
        (r"(?:encoder\.layer|layers)\.(\d+)\.output\.dense\.(.+)", r"blocks.\1.mlp.fc2.\2"),
        (r"(?:encoder\.layer|layers)\.(\d+)\.mlp\.weights_in\.(.+)", r"blocks.\1.mlp.w12.\2"),
        (r"(?:encoder\.layer|layers)\.(\d+)\.mlp\.weights_out\.(.+)", r"blocks.\1.mlp.w3.\2"),
        (r"(?:encoder\.layer|layers)\.(\d+)\.mlp\.down_proj\.(.+)", r"blocks.\1.mlp.w3.\2"),
        (
            r"(?:encoder\.layer|layers)\.(\d+)\.mlp\.(fc[12]|gate_proj|up_proj)\.(.+)",
            r"blocks.\1.mlp.\2.\3",
        ),
        (r"(?:encoder\.layer|layers)\.(\d+)\.layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
        (r"layernorm\.(.+)", r"norm.\1"),
    )
)
# matrices that stand side by side in one: the first of them, all of them, the one
_FIRST = re.compile(r"(blocks\.\d+\.(?:attn|mlp))\.(query|q_proj|gate_proj)\.(weight|bias)")
_JOINED = {
    "query": (("query", "key", "value"), "qkv"),
    "q_proj": (("q_proj", "k_proj", "v_proj"), "qkv"),
    "gate_proj": (("gate_proj", "up_proj"), "w12"),
}
_RESNET_PART = {"convolution": "conv", "normalization": "bn"}
_RESNET = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.(convolution|normalization)\.(.+)"
)
_SHORTCUT = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.(convolution|normalization)\.(.+)"
)
_STEM = re.compile(r"embedder\.embedder\.(convolution|normalization)\.(.+)")


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a ViTModel, Dinov2Model or ResNetModel; query, key and value become one matrix.

    So do the two of a SwiGLU.

    Other names stay as they are; the pooler is left out, for no method was trained with it.

    >>> list(from_transformers({"layernorm.weight": torch.ones(2)}))
    ['norm.weight']
    """
    renamed = {_name(name): value for name, value in state.items() if name[:7] != "pooler."}
    for name in list(renamed):
        match = _FIRST.fullmatch(name)
        if match:
            words, one = _JOINED[match[2]]
            parts = [f"{match[1]}.{word}.{match[3]}" for word in words]
            if all(part in renamed for part in parts):
                joined = torch.cat([renamed.pop(part) for part in parts])
                renamed[f"{match[1]}.{one}.{match[3]}"] = joined
    return renamed


def _name(name: str) -> str:
    for pattern, new in _RULES:
        if pattern.fullmatch(name):
            return pattern.sub(new, name)
    if match := _STEM.fullmatch(name):
        return f"{_RESNET_PART[match[1]]}1.{match[2]}"
    if match := _RESNET.fullmatch(name):
        stage, block, number, kind, rest = match.groups()
        return f"layer{int(stage) + 1}.{block}.{_RESNET_PART[kind]}{int(number) + 1}.{rest}"
    if match := _SHORTCUT.fullmatch(name):
        place = 0 if match[3] == "convolution" else 1
        return f"layer{int(match[1]) + 1}.{match[2]}.downsample.{place}.{match[4]}"
    return name
