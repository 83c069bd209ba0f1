"""Methods with one vector for each image in a memory: NPID, PIRL, InfoMin, PIC and their kin."""

from nemd_toolkit.checkpoints.layouts.inputs import OLDER_CIFAR
from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part
from nemd_toolkit.checkpoints.layouts.momentum import cld_part
from nemd_toolkit.checkpoints.layouts.plain import resnet_names
from nemd_toolkit.checkpoints.layouts.renaming import normed_linear

__all__ = ["MEMORY_BANK"]

_NPID = "github.com/zhirongw/lemniscate.pytorch "
_PYCONTRAST = (
    "github.com/HobbitLong/PyContrast pycontrast/networks/build_backbone.py, datasets/util.py"
)
_PIC = "github.com/bl0/PIC contrast/models/, contrast/resnet.py, contrast/data/transform.py"
_BRANCHES = (("query", ""), ("key", "model_ema."))


def _one(backbone: str, *projectors: HeadAt) -> Part:
    return Part(backbone=backbone, heads=projectors, layer="projector")


def _projector(prefix: str) -> HeadAt:
    return HeadAt(layer="projector", prefix=prefix, normalised=True)


def _pycontrast(title: str, *marks: str, absent: tuple[str, ...] = ()) -> Layout:
    """Give a layout of RGB images. A head for jigsaws takes nine tiles, not images: left out."""
    return Layout(
        name="pycontrast",
        title=f"{title} of PyContrast",
        source=_PYCONTRAST,
        marks=("encoder.conv1.weight", "head.0.weight", *marks),
        parts={
            branch: _one(f"{start}encoder.", _projector(f"{start}head."))
            for branch, start in _BRANCHES
        },
        default="key",
        absent=(*absent, "proj1."),
    )


def _pic(name: str, title: str, mark: str) -> Layout:
    def part(start: str) -> Part:
        mlp = HeadAt(
            layer="projector",
            prefix=f"{start}fc1.",
            then=(f"{start}fc2.",),
            normalised=True,
        )
        return _one(start, _projector(f"{start}fc."), mlp)

    return Layout(
        name=f"bl0/{name}",
        title=f"{title} of bl0",
        source=_PIC,
        marks=("encoder.conv1.weight", mark),
        parts={"query": part("encoder."), "key": part("encoder_k.")},
        default="key",
    )


def _cld(start: str) -> Part:
    return cld_part(f"{start}encoder.", f"{start}head.", start, ("proj1.", "proj2."))


MEMORY_BANK = (
    Layout(
        name="npid",
        title="NPID (instance discrimination)",
        source=_NPID + "main.py, models/resnet.py",
        marks=("conv1.weight", "fc.weight", "lemniscate.memory"),
        parts={"encoder": _one("", _projector("fc."))},
        default="encoder",
        rename=resnet_names,
    ),
    Layout(
        name="npid/cifar",
        title="NPID (instance discrimination), alone or with CLD, for CIFAR",
        source=_NPID + "cifar.py, models/resnet_cifar.py; CLD's train_cifar_npid_cld.py",
        marks=("conv1.weight", "linear.weight", "lemniscate.memory"),
        parts={
            "encoder": _one(
                "",
                HeadAt(layer="projector", prefix="linear.", normalised=True, rename=normed_linear),
            )
        },
        default="encoder",
        rename=resnet_names,
        absent=("pre_fc.",),
        small=OLDER_CIFAR,
    ),
    Layout(
        name="infomin/cld",
        title="InfoMin with CLD",
        source="github.com/frank-xwang/CLD-UnsupervisedLearning infomin/build_backbone.py",
        marks=("encoder.conv1.weight", "proj1.0.weight", "proj2.0.weight"),
        parts={branch: _cld(start) for branch, start in _BRANCHES},
        default="key",
    ),
    _pycontrast("InfoMin", "head.2.weight", "head_jig.fc1.0.weight"),
    _pycontrast("PIRL", "head_jig.fc1.weight"),
    _pycontrast("MoCo v2", "head.2.weight", absent=("head_jig.",)),
    _pycontrast("NPID or MoCo", absent=("head_jig.", "head.2.weight", "head.1.weight")),
    Layout(
        name="cmc/insdis-moco",
        title="NPID or MoCo of CMC's repository",
        source="github.com/HobbitLong/CMC models/resnet.py InsResNet50, train_moco_ins.py",
        marks=("encoder.conv1.weight", "encoder.fc.weight", "contrast.memory"),
        parts={
            branch: _one(f"{start}encoder.", _projector(f"{start}encoder.fc."))
            for branch, start in _BRANCHES
        },
        default="key",
    ),
    # One vector for each image, `sim_matrix`, is learned, but there are no groups: no prototypes.
    _pic("pic", "PIC", "sim_matrix"),
    _pic("insdis", "NPID", "memory"),
    _pic("moco", "MoCo", "encoder_k.conv1.weight"),
    _pic("simclr", "SimCLR", "encoder.fc1.weight"),
)
