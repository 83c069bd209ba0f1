"""Vision transformers alone: timm's and DINO's names, and those of Hugging Face."""

import re

from nemd_toolkit.checkpoints.layouts.distillation import unchunked
from nemd_toolkit.checkpoints.layouts.inputs import DINO_INPUT, VIT_INPUT
from nemd_toolkit.checkpoints.layouts.layout import IMAGENET, HeadAt, Layout, Part
from nemd_toolkit.checkpoints.layouts.parts import ImageInfo, State

__all__ = ["HUGGING_FACE", "VISION_TRANSFORMERS", "vit_names"]

_PREFIXES = ("", "backbone.", "encoder.", "model.", "model.backbone.", "model.encoder.", "vit.")
_VIT = re.compile(
    r"(cls_token|pos_embed|reg_token|register_tokens|mask_token|dist_token)$"
    r"|(patch_embed|blocks|norm|norm_pre|fc_norm)\."
)


def vit_names(state: State) -> State:
    """Keep what bears a name of timm's or DINO's ViT.

    >>> import torch
    >>> list(vit_names({"cls_token": torch.ones(1), "queue": torch.ones(1)}))
    ['cls_token']
    """
    return {key: value for key, value in unchunked(state).items() if _VIT.match(key)}


def _vit(prefix: str, stem: str = "proj.weight") -> Layout:
    below = f" below {prefix}" if prefix else ""
    return Layout(
        name="vit",
        title=f"a vision transformer alone, with timm's names{below}",
        source="timm models/vision_transformer.py, facebookresearch/dino vision_transformer.py",
        marks=(f"{prefix}patch_embed.{stem}", f"{prefix}blocks.0.norm1.weight"),
        parts={
            "encoder": Part(
                backbone=prefix,
                heads=tuple(
                    HeadAt(layer="classifier", prefix=f"{prefix}{name}.") for name in ("head", "fc")
                ),
            )
        },
        default="encoder",
        rename=vit_names,
        image=VIT_INPUT,
    )


_DINOV2_HUB = Layout(
    name="dinov2/hub",
    title="a backbone of DINOv2 alone",
    source="facebookresearch/dinov2 dinov2/models/vision_transformer.py, dinov2/hub/backbones.py",
    marks=("mask_token", "patch_embed.proj.weight", "blocks.0.norm1.weight", "blocks.0.ls1.gamma"),
    parts={"encoder": Part(backbone="")},
    default="encoder",
    rename=vit_names,
    image=DINO_INPUT,
    any_size=True,
    positions="dino",
)

VISION_TRANSFORMERS = (
    _DINOV2_HUB,
    *(_vit(prefix) for prefix in _PREFIXES),
    _vit("", "proj.0.weight"),  # MoCo v3's stem of convolutions, behind its linear evaluation
)


def _hugging_face(
    family: str,
    title: str,
    prefixes: tuple[str, ...],
    marks: tuple[str, ...],
    image: ImageInfo,
    *,
    classifier: str | None = None,
    any_size: bool = False,
) -> tuple[Layout, ...]:
    """Give the layouts of one model family, alone or below its name in a bigger model."""
    heads = (HeadAt(layer="classifier", prefix=classifier),) if classifier else ()
    return tuple(
        Layout(
            name=f"transformers/{family}",
            title=f"{title} of Hugging Face transformers",
            source=f"huggingface/transformers models/{family}/modeling_{family}.py",
            marks=tuple(prefix + mark for mark in marks),
            parts={"encoder": Part(backbone=prefix, heads=heads)},
            default="encoder",
            image=image,
            any_size=any_size,
        )
        for prefix in prefixes
    )


_PATCHES = "embeddings.patch_embeddings.projection.weight"
HUGGING_FACE = (
    *_hugging_face(
        "vit",
        "a ViT",
        ("vit.", ""),
        (_PATCHES, "encoder.layer.0.layernorm_before.weight"),
        VIT_INPUT,
        classifier="classifier.",
    ),
    # its classifier takes the class token and the mean of the patches: no head of the backbone
    *_hugging_face(
        "dinov2_with_registers",
        "DINOv2 with registers",
        ("dinov2_with_registers.", ""),
        (_PATCHES, "embeddings.register_tokens", "encoder.layer.0.layer_scale1.lambda1"),
        DINO_INPUT,
        any_size=True,
    ),
    *_hugging_face(
        "dinov2",
        "DINOv2",
        ("dinov2.", ""),
        (_PATCHES, "encoder.layer.0.norm1.weight", "encoder.layer.0.layer_scale1.lambda1"),
        DINO_INPUT,
        any_size=True,
    ),
    *_hugging_face(
        "resnet",
        "a ResNet",
        ("resnet.", ""),
        (
            "embedder.embedder.convolution.weight",
            "encoder.stages.0.layers.0.layer.0.convolution.weight",
        ),
        IMAGENET,
        classifier="classifier.1.",
    ),
)
