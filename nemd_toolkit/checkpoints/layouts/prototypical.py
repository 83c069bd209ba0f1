"""SwAV and DeepCluster-v2: prototypes are the last layer, compared with unit projections."""

from dataclasses import replace

from nemd_toolkit.checkpoints.layouts.layout import IMAGENET, HeadAt, Layout, Part, Vectors
from nemd_toolkit.checkpoints.layouts.plain import resnet_names

__all__ = ["PROTOTYPICAL"]

# eval_linear.py: 0.228, where others have 0.229
_SWAV_INPUT = replace(IMAGENET, std=(0.228, 0.224, 0.225))


def _swav(name: str, title: str, mark: str, code: str) -> Layout:
    return Layout(
        name=name,
        title=title,
        source=f"github.com/facebookresearch/swav src/resnet50.py, {code}, eval_linear.py",
        marks=("conv1.weight", "projection_head.", mark),
        parts={
            "encoder": Part(
                backbone="",
                heads=(HeadAt(layer="projector", prefix="projection_head.", normalised=True),),
                layer="projector",
                prototypes=(Vectors(prefix="prototypes.", layer="projector"),),
            )
        },
        default="encoder",
        rename=resnet_names,
        image=_SWAV_INPUT,
    )


PROTOTYPICAL = (
    _swav("swav", "SwAV", "prototypes.weight", "main_swav.py"),
    _swav(
        "deepcluster-v2",
        "DeepCluster-v2",
        "prototypes.prototypes0.weight",
        "main_deepclusterv2.py",
    ),
)
