"""What a layout gives back: encoders in parts, the input they expect, prototypes of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.checkpoints.training_log import TrainingLog

__all__ = [
    "Activation",
    "Branch",
    "Head",
    "ImageInfo",
    "OwnPrototypes",
    "Positions",
    "Reading",
    "State",
]

State = Mapping[str, Tensor]
Activation = Literal["relu", "gelu"]
Positions = Literal["dino", "timm"]  # whose way a ViT's positions go to another grid


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What an encoder expects of its input; pixels in [0, 1] before mean and std."""

    channels: int
    size: tuple[int, int] | None  # height, width; None: the file does not tell
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None  # shorter side before the centre is cut out; None: just covers `size`
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    squeezed: bool = False  # brought to `size` as a whole, whatever its shape, and nothing cut off
    space: Literal["rgb", "lab", "ycbcr", "ydbdr"] = "rgb"  # mean and std are of this space
    normalised: bool = True  # false: the file does not say, and the usual values are assumed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """An MLP on top of a backbone, or of the head before it."""

    layer: str  # projector, predictor, classifier, or the model's own name for it
    state: State  # as nn.Sequential numbers its modules, or weight and bias of one Linear
    activation: Activation = "relu"  # where the numbering leaves a gap
    normalised: bool = False  # the output is brought to length 1 before what follows
    on: str | None = None  # the layer that it is applied to; None: the head before, or the backbone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnPrototypes:
    """One set of prototypes that a checkpoint carries along for one of its branches, or several."""

    vectors: Float[Tensor, "k d"]  # as they are in the file; weight-normed ones put together
    layer: str  # whose output they are compared with
    name: str = "prototypes"  # where they are in the file
    bias: Float[Tensor, " k"] | None = None  # added to the dot products
    unit: bool = True  # rows of the layer are brought to length 1 before
    assignment: Int[Tensor, " n"] | None = None  # 0…k-1 for every training image
    phi: Float[Tensor, " k"] | None = None  # concentrations

    @property
    def k(self) -> int:
        """How many there are."""
        return len(self.vectors)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branch:
    """One encoder of a checkpoint."""

    backbone: State = field(repr=False)  # torchvision's names of a ResNet, timm's of a ViT
    heads: tuple[Head, ...] = ()  # in the order in which they are applied
    default_layer: str = "backbone"  # where the method's loss and its prototypes live
    positions: Positions = "timm"
    prototypes: tuple[OwnPrototypes, ...] = field(default=(), repr=False)  # compared with its rows

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that can be embedded."""
        return ("backbone", *(head.layer for head in self.heads))

    @property
    def state(self) -> State:
        """Backbone and first head under torchvision's name `fc`, as a ResNet of one piece."""
        first = self.heads[0].state if self.heads else {}
        return {**self.backbone, **{f"fc.{name}": value for name, value in first.items()}}

    def way_to(self, layer: str) -> tuple[Head, ...]:
        """Heads from the backbone to a layer that the branch has, in their order."""
        if layer == "backbone":
            return ()
        place = next(i for i, head in enumerate(self.heads) if head.layer == layer)
        before = self.heads[place - 1].layer if place else "backbone"
        return (*self.way_to(self.heads[place].on or before), self.heads[place])

    def head(self, layer: str) -> Head | None:
        """Head of this name, None if there is none."""
        return next((head for head in self.heads if head.layer == layer), None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What a layout found; fields as in `Checkpoint`."""

    layout: str
    title: str
    why: str
    image: ImageInfo
    branches: Mapping[str, Branch]
    default_branch: str
    arch: str | None = None
    epoch: int | None = None
    method: str | None = None
    data: str | None = None
    log: TrainingLog | None = None
    settings: Mapping[str, object] = field(default_factory=dict)  # hyper-parameters, plain values
