"""Two views without negatives, or with the batch as negatives: one backbone, an MLP or two.

SWD and SimCLR v2 have TensorFlow's checkpoints only, BYOL's own are Haiku's: none is of torch.
"""

from dataclasses import replace

from nemd_toolkit.checkpoints.layouts.inputs import OLDER_CIFAR
from nemd_toolkit.checkpoints.layouts.layout import IMAGENET, HeadAt, Layout, Part
from nemd_toolkit.checkpoints.layouts.parts import State
from nemd_toolkit.checkpoints.layouts.renaming import numbered_resnet, only_resnet, relabelled

__all__ = ["TWINS"]

_AS_IT_IS = replace(IMAGENET, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # pixels in [0, 1]
_LUCIDRAINS = "github.com/lucidrains/byol-pytorch byol_pytorch/byol_pytorch.py"
_MLP_OF_BYOL = relabelled({"l1": "0", "bn1": "1", "l2": "3"})


_TWO_WIDTHS = (128, 256)  # of the stems of its ResNet-50 (2x) and (4x)
_LABELS = 1000  # ImageNet's


def _converted(state: State) -> bool:
    """Whether a block's shortcut stands before its convolutions, as in no other ResNet.

    Where the order is lost (safetensors sorts names), a ResNet-50 of twice or four times the usual
    width that knows ImageNet's classes is taken for one: SwAV's and VICReg's wide ones have no
    classifier. The usual width looks like torchvision's own, so it has to be named.
    """
    names = list(state)
    if names.index("layer1.0.downsample.0.weight") < names.index("layer1.0.conv1.weight"):
        return True
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    width = shapes["conv1.weight"][0] if len(shapes["conv1.weight"]) == 4 else 0
    return (
        width in _TWO_WIDTHS
        and shapes.get("layer1.0.conv2.weight") == (width, width, 3, 3)
        and shapes.get("fc.weight") == (_LABELS, 32 * width)
        and "layer3.5.conv3.weight" in state
        and "layer3.6.conv3.weight" not in state
    )


def _lucidrains(*, simplices: bool) -> Layout:
    embedder = "online_encoder.projector.0.0."
    parts = {
        name: Part(
            backbone=f"{name}_encoder.net.",
            heads=()
            if simplices
            else (
                HeadAt(layer="projector", prefix=f"{name}_encoder.projector."),
                HeadAt(layer="predictor", prefix=f"{name}_predictor."),
            ),
            layer="projector",
        )
        for name in ("online", "target")
    }
    return Layout(
        name="byol/lucidrains",
        title="BYOL of lucidrains"
        + (" with simplicial embeddings; its backbone alone" if simplices else ""),
        source=_LUCIDRAINS,
        marks=("online_encoder.net.", *((embedder,) if simplices else ())),
        parts=parts,
        default="target",
        rename=only_resnet,
        absent=() if simplices else (embedder,),
    )


def _one(
    backbone: str, projector: str, predictor: str | None = None, *, normalised: bool = False
) -> dict[str, Part]:
    heads = [HeadAt(layer="projector", prefix=projector, normalised=normalised)]
    if predictor:
        heads.append(HeadAt(layer="predictor", prefix=predictor))
    return {"encoder": Part(backbone=backbone, heads=tuple(heads), layer="projector")}


TWINS = (
    Layout(
        name="simsiam",
        title="SimSiam",
        source="github.com/facebookresearch/simsiam simsiam/builder.py, main_lincls.py",
        marks=("encoder.conv1.weight", "encoder.fc.6.weight", "predictor.0.weight"),
        parts=_one("encoder.", "encoder.fc.", "predictor."),
        default="encoder",
    ),
    _lucidrains(simplices=True),
    _lucidrains(simplices=False),
    Layout(
        name="byol/yaox12",
        title="BYOL of yaox12",
        source="github.com/yaox12/BYOL-PyTorch model/basic_modules.py, data/imagenet_loader.py",
        marks=("online_network.encoder.", "online_network.projetion."),
        parts={
            name: Part(
                backbone=f"{name}_network.encoder.",
                heads=(
                    HeadAt(
                        layer="projector",
                        prefix=f"{name}_network.projetion.",  # so it is spelt there
                        rename=_MLP_OF_BYOL,
                    ),
                    *(
                        [
                            HeadAt(
                                layer="predictor",
                                prefix="predictor.predictor.",
                                rename=_MLP_OF_BYOL,
                            )
                        ]
                        if name == "online"
                        else []
                    ),
                ),
                layer="projector",
            )
            for name in ("online", "target")
        },
        default="target",
        rename=numbered_resnet(4),  # conv1, bn1, relu, maxpool, layer1
    ),
    Layout(
        name="barlow-twins",
        title="Barlow Twins",
        source="github.com/facebookresearch/barlowtwins main.py, evaluate.py",
        marks=("backbone.conv1.weight", "projector.0.weight", "bn.running_mean"),
        parts=_one("backbone.", "projector."),
        default="encoder",
    ),
    Layout(
        name="vicreg",
        title="VICReg",
        source="github.com/facebookresearch/vicreg main_vicreg.py, resnet.py, evaluate.py",
        marks=("backbone.conv1.weight", "projector.0.bias", "projector.6.weight"),
        parts=_one("backbone.", "projector."),
        default="encoder",
        # its last layer has no bias; what has one, or more parts, is another library's
        absent=("projector.6.bias", "classifier.", "prototypes.", "predictor.", "bn."),
    ),
    Layout(
        name="simclr/sthalles",
        title="SimCLR of sthalles",
        source="github.com/sthalles/SimCLR models/resnet_simclr.py, feature_eval/",
        marks=("backbone.conv1.weight", "backbone.fc.0.weight", "backbone.fc.2.weight"),
        parts=_one("backbone.", "backbone.fc.", normalised=True),
        default="encoder",
        image=replace(_AS_IT_IS, size=None, resize=None),  # 96 for STL-10, 32 for CIFAR-10
    ),
    Layout(
        name="dcl",
        title="debiased contrastive learning (DCL), and SimCLR of leftthomas, whose code it uses",
        source="github.com/chingyaoc/DCL model.py, utils.py",
        marks=("f.0.weight", "f.3.0.conv1.weight", "g.0.weight", "g.3.weight"),
        parts=_one("f.", "g.", normalised=True),
        default="encoder",
        rename=numbered_resnet(3),  # conv1, bn1, relu, layer1: no max-pool
        small=OLDER_CIFAR,
    ),
    Layout(
        name="simclr/converted",
        title="SimCLR's ResNet, converted by simclr-converter",
        source="github.com/tonylins/simclr-converter convert.py, resnet_wider.py, eval.py",
        marks=("conv1.weight", "layer1.0.conv1.weight", "layer1.0.downsample.0.weight"),
        parts={
            "encoder": Part(
                backbone="", heads=(HeadAt(layer="classifier", prefix="fc."),), layer="backbone"
            )
        },
        default="encoder",
        told=_converted,
        image=replace(_AS_IT_IS, size=(256, 256)),
    ),
)
