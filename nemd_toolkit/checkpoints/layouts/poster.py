"""Layouts of the PAUC poster's systems, as their authors' own code saves them.

CPC, LooC, MoCHi and LoCo have no public weights; SimCLR's, SimCLRv2's and SWD's are TensorFlow's
and are read once converted to torchvision's names (`plain`). CMC and AMDIM are not known yet.
"""

from nemd_toolkit.checkpoints.layouts.inputs import CIFAR
from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part, Vectors
from nemd_toolkit.checkpoints.layouts.lightly import from_children
from nemd_toolkit.checkpoints.layouts.parts import State
from nemd_toolkit.checkpoints.layouts.plain import resnet_names

__all__ = ["POSTER"]

_STAGES = {"0": "conv1", "1": "bn1", "3": "layer1", "4": "layer2", "5": "layer3", "6": "layer4"}


def _without_pool(state: State) -> State:
    """Name the children of a ResNet whose max-pool and classifier were left out."""
    words = {key: key.partition(".") for key in state}
    return {
        f"{_STAGES[number]}.{rest}": state[key]
        for key, (number, _, rest) in words.items()
        if number in _STAGES
    }


def _moco_v3(head: str) -> Layout:
    return Layout(
        name="moco-v3",
        title="MoCo v3" + (" with a ViT" if head == "head" else ""),
        source="github.com/facebookresearch/moco-v3 moco/builder.py",
        marks=("base_encoder.", "momentum_encoder.", f"base_encoder.{head}.0.weight"),
        parts={
            "base": Part(
                backbone="base_encoder.",
                heads=(
                    HeadAt(layer="projector", prefix=f"base_encoder.{head}."),
                    HeadAt(layer="predictor", prefix="predictor."),
                ),
                layer="projector",
            ),
            "momentum": Part(
                backbone="momentum_encoder.",
                heads=(HeadAt(layer="projector", prefix=f"momentum_encoder.{head}."),),
                layer="projector",
            ),
        },
        default="momentum",
    )


def _projected(name: str, title: str, source: str, *, bn: bool) -> Layout:
    return Layout(
        name=name,
        title=title,
        source=source,
        marks=("backbone.conv1.weight", "projector.0.weight", *(("bn.running_mean",) * bn)),
        absent=("classifier.", "momentum_backbone.", "predictor."),
        parts={
            "encoder": Part(
                backbone="backbone.",
                heads=(HeadAt(layer="projector", prefix="projector."),),
                layer="projector",
            )
        },
        default="encoder",
        rename=resnet_names,
    )


POSTER = (
    _moco_v3("fc"),
    _moco_v3("head"),
    Layout(
        name="simsiam",
        title="SimSiam",
        source="github.com/facebookresearch/simsiam simsiam/builder.py",
        marks=("encoder.conv1.weight", "encoder.fc.6.weight", "predictor.3.weight"),
        parts={
            "encoder": Part(
                backbone="encoder.",
                heads=(
                    HeadAt(layer="projector", prefix="encoder.fc."),
                    HeadAt(layer="predictor", prefix="predictor."),
                ),
                layer="projector",
            )
        },
        default="encoder",
    ),
    Layout(
        name="swav",
        title="SwAV or DeepCluster-v2",
        source="github.com/facebookresearch/swav src/resnet50.py",
        marks=("conv1.weight", "layer1.0.conv1.weight", "projection_head.", "prototypes."),
        parts={
            "encoder": Part(
                backbone="",
                heads=(HeadAt(layer="projector", prefix="projection_head.", normalised=True),),
                layer="projector",
            )
        },
        default="encoder",
        rename=resnet_names,
        prototypes=(Vectors(prefix="prototypes.", layer="projector"),),
    ),
    _projected(
        "barlow-twins", "Barlow Twins", "github.com/facebookresearch/barlowtwins main.py", bn=True
    ),
    _projected("vicreg", "VICReg", "github.com/facebookresearch/vicreg main_vicreg.py", bn=False),
    Layout(
        name="byol/lucidrains",
        title="BYOL of lucidrains/byol-pytorch",
        source="github.com/lucidrains/byol-pytorch byol_pytorch/byol_pytorch.py",
        marks=("online_encoder.net.conv1.weight", "online_encoder.projector."),
        parts={
            name: Part(
                backbone=f"{name}_encoder.net.",
                heads=(
                    HeadAt(layer="projector", prefix=f"{name}_encoder.projector."),
                    HeadAt(layer="predictor", prefix=f"{name}_predictor."),
                ),
                layer="projector",
            )
            for name in ("online", "target")
        },
        default="target",
        rename=resnet_names,
    ),
    Layout(
        name="byol/yaox12",
        title="BYOL of yaox12/BYOL-PyTorch",
        source="github.com/yaox12/BYOL-PyTorch model/basic_modules.py",
        marks=("online_network.encoder.0.weight", "target_network.encoder.0.weight"),
        parts={name: Part(backbone=f"{name}_network.encoder.") for name in ("online", "target")},
        default="target",
        rename=from_children,
    ),
    Layout(
        name="dcl",
        title="Debiased contrastive learning, or SimCLR of the same code, on CIFAR",
        source="github.com/chingyaoc/DCL model.py",
        marks=("f.0.weight", "f.3.0.conv1.weight", "g.0.weight", "g.3.weight"),
        parts={
            "encoder": Part(
                backbone="f.",
                heads=(HeadAt(layer="projector", prefix="g.", normalised=True),),
                layer="projector",
            )
        },
        default="encoder",
        rename=_without_pool,
        small=CIFAR,
    ),
    Layout(
        name="pycontrast",
        title="PIRL, InfoMin or MoCo of PyContrast",
        source="github.com/HobbitLong/PyContrast pycontrast/networks/build_backbone.py",
        marks=("encoder.conv1.weight", "encoder.layer1.0.conv1.weight", "head.0.weight"),
        parts={
            "encoder": Part(
                backbone="encoder.",
                heads=(HeadAt(layer="projector", prefix="head.", normalised=True),),
                layer="projector",
            )
        },
        default="encoder",
        rename=resnet_names,
    ),
    Layout(
        name="npid",
        title="NPID (instance discrimination)",
        source="github.com/zhirongw/lemniscate.pytorch main.py",
        marks=("conv1.weight", "layer1.0.conv1.weight", "lemniscate.memory", "fc.weight"),
        parts={
            "encoder": Part(
                backbone="",
                heads=(HeadAt(layer="projector", prefix="fc.", normalised=True),),
                layer="projector",
            )
        },
        default="encoder",
        rename=resnet_names,
    ),
)
