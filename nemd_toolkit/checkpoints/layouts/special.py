"""Methods with an architecture of their own: CMC's two halves and AMDIM's ResNet.

CPC has no public weights, so there is no line for it.
"""

from collections.abc import Mapping
from dataclasses import replace

from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part
from nemd_toolkit.checkpoints.layouts.parts import ImageInfo
from nemd_toolkit.checkpoints.layouts.renaming import relabelled

__all__ = ["SPECIAL", "viewed"]

# CMC LinearProbing.py: half the sum and half the span of the lowest and highest L, a and b
_LAB = ImageInfo(
    channels=3,
    size=(224, 224),
    mean=(50.0, (-86.183 + 98.233) / 2, (-107.857 + 94.478) / 2),
    std=(50.0, (86.183 + 98.233) / 2, (107.857 + 94.478) / 2),
    resize=256,
    space="lab",
)
_YCBCR = replace(
    _LAB, mean=(116.151, 121.080, 132.342), std=(109.500, 111.855, 111.964), space="ycbcr"
)
_YDBDR = replace(_LAB, mean=(0.457, -0.082, -0.052), std=(0.500, 1.331, 1.333), space="ydbdr")
_HALVES = {"l": "encoder.l_to_ab.", "ab": "encoder.ab_to_l."}


def viewed(image: ImageInfo, settings: Mapping[str, object]) -> ImageInfo:
    """Give CMC's other colour space, where its options name that one; others as they are.

    >>> viewed(_LAB, {"view": "YCbCr"}).space, viewed(_LAB, {"view": "Lab"}).space
    ('ycbcr', 'lab')
    """
    return _YCBCR if image == _LAB and settings.get("view") == "YCbCr" else image


def _half(start: str) -> Part:
    """One network with its projector: of a ResNet, or of an AlexNet in three pieces."""
    heads = (
        HeadAt(layer="projector", prefix=f"{start}fc.", normalised=True),
        HeadAt(
            layer="projector",
            prefix=f"{start}fc6.",
            then=(f"{start}fc7.", f"{start}fc8."),
            normalised=True,
        ),
    )
    name = start.removeprefix("encoder.")
    return Part(backbone="encoder.", only=(name,), heads=heads, layer="projector")


def _pycontrast(branch: str, start: str) -> dict[str, Part]:
    """Both networks of one encoder, then each with its projector."""
    numbers = {"y": 1, "dbdr": 2}
    whole = Part(backbone=start, only=tuple(f"encoder{n}." for n in numbers.values()))
    halves = {
        f"{branch}-{name}": Part(
            backbone=start,
            only=(f"encoder{n}.",),
            heads=(HeadAt(layer="projector", prefix=f"{start}head{n}.", normalised=True),),
            layer="projector",
        )
        for name, n in numbers.items()
    }
    return {branch: whole, **halves}


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
        parts={
            "encoder": Part(backbone="encoder."),
            **{name: _half(start) for name, start in _HALVES.items()},
        },
        default="encoder",
        image=_LAB,
    ),
    # heads for jigsaws (CMC with PIRL) take nine tiles, not images: left out
    Layout(
        name="cmc/pycontrast",
        title="CMC of PyContrast",
        source="github.com/HobbitLong/PyContrast pycontrast/networks/build_backbone.py, "
        "datasets/util.py",
        marks=("encoder1.conv1.weight", "encoder2.conv1.weight", "head1.0.weight"),
        parts={**_pycontrast("query", ""), **_pycontrast("key", "model_ema.")},
        default="key",
        rename=relabelled({"encoder1": "l_to_ab", "encoder2": "ab_to_l"}),
        image=_YDBDR,
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
