"""stable-pretraining, and Lightning modules with the same names: `backbone` and `projector`."""

from nemd_toolkit.checkpoints.layouts.inputs import VIT_INPUT
from nemd_toolkit.checkpoints.layouts.layout import IMAGENET, HeadAt, Layout, Part, Vectors
from nemd_toolkit.checkpoints.layouts.parts import Activation, ImageInfo

__all__ = ["STABLE"]

_NAME = "stable-pretraining"
_SOURCE = "github.com/rbalestr-lab/stable-pretraining stable_pretraining/"
_PAIR = ("teacher", "student")


def _part(
    below: str = "",
    head: str = "projector",
    vectors: str | None = None,
    activation: Activation = "relu",
) -> Part:
    """Give a branch; with prototypes, below the name `vectors`, projections are of length 1."""
    predicts = () if below == "teacher." else (HeadAt(layer="predictor", prefix="predictor."),)
    return Part(
        backbone=f"backbone.{below}",
        heads=(
            HeadAt(
                layer="projector",
                prefix=f"{head}.{below}",
                activation=activation,
                normalised=vectors is not None,
            ),
            *predicts,
        ),
        layer="projector",
        prototypes=(Vectors(prefix=vectors, layer="projector"),) if vectors else (),
    )


def _dino(head: str, number: int, *, batchnorm: bool) -> Layout:
    """Give the layout of a head whose linear layer of this number holds the prototypes."""
    last = f"{head}.teacher.{number}"
    return Layout(
        name=f"{_NAME}/dino",
        title="DINO, DINOv2, iBOT or MSN of stable-pretraining",
        source=_SOURCE + "methods/dino.py, methods/dinov2.py, benchmarks/imagenet100",
        marks=("backbone.teacher.", f"{head}.teacher.{number - 2}.bias", f"{last}.weight"),
        parts={name: _part(f"{name}.", head, f"{head}.{name}.{number}.", "gelu") for name in _PAIR},
        default="teacher",
        absent=(f"{last}.bias", f"{head}.teacher.{number - 1}."),
        image=IMAGENET if batchnorm else VIT_INPUT,
    )


def _online(name: str, title: str, image: ImageInfo, *, prototypes: bool) -> Layout:
    return Layout(
        name=name,
        title=title,
        source=_SOURCE + "methods/swav.py, methods/simclr.py, benchmarks/imagenet100",
        marks=("backbone.", "projector.", *(["prototypes.weight"] if prototypes else [])),
        parts={"online": _part(vectors="prototypes." if prototypes else None)},
        default="online",
        image=image,
    )


STABLE = (
    _dino("projector", 8, batchnorm=True),
    _dino("projector", 6, batchnorm=False),
    _dino("cls_head", 6, batchnorm=False),
    Layout(
        name=_NAME,
        title="a method of stable-pretraining with a teacher",
        source=_SOURCE + "backbone/utils.py TeacherStudentWrapper, methods/byol.py",
        marks=("backbone.student.", "backbone.teacher."),
        parts={name: _part(f"{name}.") for name in _PAIR},
        default="student",
    ),
    _online(f"{_NAME}/swav", "SwAV of stable-pretraining", IMAGENET, prototypes=True),
    _online(_NAME, "stable-pretraining, or a module with its names", IMAGENET, prototypes=False),
)
