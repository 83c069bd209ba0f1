"""Layouts with a query and a key encoder: MoCo and what was built on its code.

The default is the averaged encoder: PCL clusters what it gives. Their linear evaluations load the
other one. MoCHi, LooC and LoCo left no public weights, so there is no line for them.
"""

from collections.abc import Mapping

from nemd_toolkit.checkpoints.layouts.inputs import OLDER_CIFAR
from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part
from nemd_toolkit.checkpoints.layouts.plain import resnet_names
from nemd_toolkit.checkpoints.layouts.renaming import normed_linear

__all__ = ["MOCO", "MOMENTUM", "cld_part"]

_CLD = "github.com/frank-xwang/CLD-UnsupervisedLearning "


def _projector(prefix: str) -> HeadAt:
    return HeadAt(layer="projector", prefix=prefix, normalised=True)


def _encoders(head: str = "fc.") -> dict[str, Part]:
    return {
        name: Part(backbone=start, heads=(_projector(start + head),), layer="projector")
        for name, start in (("query", "encoder_q."), ("key", "encoder_k."))
    }


def _moco(mark: str, title: str) -> Layout:
    return Layout(
        name="pcl/moco",
        title=title,
        source="github.com/facebookresearch/moco, github.com/salesforce/PCL pcl/builder.py",
        marks=("encoder_q.", mark) if mark else ("encoder_q.",),
        parts=_encoders(),
        default="key",  # PCL clusters what the key encoder gives
        absent=("Memory_Bank.", "scalar_label", "encoder_q.groupDis."),
    )


MOCO = _moco("", "MoCo, PCL, and methods built on their code")


def _v3(head: str, name: str) -> Layout:
    names = (("base", "base_encoder."), ("momentum", "momentum_encoder."))
    predictor = HeadAt(layer="predictor", prefix="predictor.", normalised=True)
    return Layout(
        name="moco-v3",
        title=f"MoCo v3 with a {name}",
        source="github.com/facebookresearch/moco-v3 moco/builder.py, vits.py, main_lincls.py",
        marks=("base_encoder.", "momentum_encoder.", f"base_encoder.{head}.0.weight", "predictor."),
        parts={
            branch: Part(
                backbone=start,
                heads=(
                    HeadAt(layer="projector", prefix=f"{start}{head}."),
                    *((predictor,) if branch == "base" else ()),
                ),
                layer="projector",
            )
            for branch, start in names
        },
        default="momentum",
    )


def _cld(mark: str, absent: tuple[str, ...], parts: Mapping[str, Part]) -> Layout:
    return Layout(
        name="cld",
        title="MoCo with CLD",
        source=_CLD + "models/builder.py, models/ResNet.py, main_imagenet_moco_cld.py",
        marks=("encoder_q.", "encoder_q.groupDis.", mark),
        parts=parts,
        default="key",
        absent=absent,
    )


def cld_part(backbone: str, shared: str, start: str, last: tuple[str, str]) -> Part:
    """Two linear layers, or normed ones, of images and of groups, behind one that they share."""
    heads = (("projector", last[0], None), ("groups", last[1], "backbone"))
    return Part(
        backbone=backbone,
        heads=tuple(
            HeadAt(
                layer=layer,
                prefix=shared,
                then=(start + own,),
                normalised=True,
                on=on,
                rename=normed_linear,
            )
            for layer, own, on in heads
        ),
        layer="projector",
    )


def _cld_part(start: str) -> Part:
    return cld_part(start, f"{start}fc.", start, ("instDis.", "groupDis."))


def _cld_linear(start: str) -> Part:
    groups = HeadAt(layer="groups", prefix=f"{start}groupDis.", normalised=True, on="backbone")
    return Part(backbone=start, heads=(_projector(f"{start}fc."), groups), layer="projector")


def _cld_cifar(start: str) -> Part:
    heads = (("projector", "linear.", None), ("groups", "groupDis.0.", "backbone"))
    return Part(
        backbone=start,
        heads=tuple(
            HeadAt(layer=layer, prefix=start + last, normalised=True, on=on, rename=normed_linear)
            for layer, last, on in heads
        ),
        layer="projector",
    )


MOMENTUM = (
    _moco("encoder_q.fc.0.weight", "MoCo v2, PCL v2, or a method built on their code"),
    _moco("encoder_q.fc.weight", "MoCo v1, PCL v1, or a method built on their code"),
    MOCO,
    Layout(
        name="moco/align-uniform",
        title="MoCo with losses of alignment and uniformity",
        source="github.com/SsnL/moco_align_uniform moco/builder.py, main_lincls.py",
        marks=("encoder_q.", "scalar_label"),  # a buffer, unless there is no contrastive loss
        parts=_encoders(),
        default="key",
    ),
    Layout(
        name="adco",
        title="AdCo",
        source="github.com/maple-research-lab/AdCo model/AdCo.py, training/main_worker.py",
        marks=("encoder_q.", "Memory_Bank."),
        parts=_encoders(),
        default="key",
    ),
    _cld(
        "encoder_q.instDis.",
        (),
        {"query": _cld_part("encoder_q."), "key": _cld_part("encoder_k.")},
    ),
    _cld(
        "encoder_q.fc.weight",
        ("encoder_q.instDis.",),
        {"query": _cld_linear("encoder_q."), "key": _cld_linear("encoder_k.")},
    ),
    Layout(
        name="cld/cifar",
        title="MoCo with CLD, for CIFAR",
        source=_CLD + "models/resnet_cifar.py, train_cifar_moco_cld.py",
        marks=("conv1.weight", "linear.weight", "groupDis.0.weight", "model_ema.conv1.weight"),
        parts={"query": _cld_cifar(""), "key": _cld_cifar("model_ema.")},
        default="key",
        rename=resnet_names,
        absent=("pre_fc.",),
        small=OLDER_CIFAR,
    ),
    _v3("fc", "ResNet"),
    _v3("head", "vision transformer"),
)
