"""Methods with an architecture of their own: CMC's two halves and AMDIM's ResNet.

CPC has no public weights, so there is no line for it.
"""

from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part
from nemd_toolkit.checkpoints.layouts.parts import ImageInfo

__all__ = ["SPECIAL"]

# CMC LinearProbing.py: half the sum and half the span of the lowest and highest L, a and b
_LAB = ImageInfo(
    channels=3,
    size=(224, 224),
    mean=(50.0, (-86.183 + 98.233) / 2, (-107.857 + 94.478) / 2),
    std=(50.0, (86.183 + 98.233) / 2, (107.857 + 94.478) / 2),
    resize=256,
    space="lab",
)


def _amdim(
    side: int, mark: str, resize: int | None, mean: tuple[float, ...], std: tuple[float, ...]
) -> Layout:
    """Give the layout of an encoder for images of this side; its second layer tells which."""
    return Layout(
        name="amdim",
        title=f"AMDIM for images of {side}x{side}",
        source="github.com/Philip-Bachman/amdim-public model.py, checkpoint.py, datasets.py",
        marks=("encoder.layer_list.0.conv.weight", "encoder.rkhs_block_5.", mark),
        parts={
            "encoder": Part(
                backbone="encoder.",
                heads=(
                    HeadAt(layer="classifier", prefix="evaluator.block_glb_lin.block_forward.2."),
                ),
            )
        },
        default="encoder",
        image=ImageInfo(
            channels=3,
            size=(side, side),
            mean=mean,
            std=std,
            resize=resize,
            interpolation="bicubic",
        ),
    )


SPECIAL = (
    Layout(
        name="cmc",
        title="CMC",
        source="github.com/HobbitLong/CMC models/resnet.py, models/alexnet.py, LinearProbing.py",
        marks=("encoder.l_to_ab.", "encoder.ab_to_l."),
        parts={"encoder": Part(backbone="encoder.")},  # of both halves, each with its projector
        default="encoder",
        image=_LAB,
    ),
    _amdim(
        128,
        "encoder.layer_list.1.conv.weight",
        146,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
    _amdim(
        64,
        "encoder.layer_list.1.layer_list.0.conv1.weight",
        70,
        (0.43, 0.42, 0.39),
        (0.27, 0.26, 0.27),
    ),
    _amdim(
        32,
        "encoder.layer_list.1.conv1.weight",
        None,
        (125.3 / 255, 123.0 / 255, 113.9 / 255),
        (63.0 / 255, 62.1 / 255, 66.7 / 255),
    ),
)
