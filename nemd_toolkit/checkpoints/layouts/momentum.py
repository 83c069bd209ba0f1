"""Layouts with a query and a key encoder: MoCo and what was built on its code."""

from nemd_toolkit.checkpoints.layouts.layout import HeadAt, Layout, Part

__all__ = ["MOMENTUM"]

MOMENTUM = (
    Layout(
        name="pcl/moco",
        title="MoCo v1 and v2, PCL v1 and v2, and methods built on their code",
        source="github.com/facebookresearch/moco, github.com/salesforce/PCL pcl/builder.py",
        marks=("encoder_q.",),
        parts={
            "query": Part(
                backbone="encoder_q.",
                heads=(HeadAt(layer="projector", prefix="encoder_q.fc.", normalised=True),),
                layer="projector",
            ),
            "key": Part(
                backbone="encoder_k.",
                heads=(HeadAt(layer="projector", prefix="encoder_k.fc.", normalised=True),),
                layer="projector",
            ),
        },
        default="key",  # PCL clusters what the key encoder gives
    ),
)
