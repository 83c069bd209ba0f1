"""A layout as one table line: which names tell it, and where its parts are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from torch import Tensor

from nemd_toolkit.checkpoints.layouts.names import appended, below
from nemd_toolkit.checkpoints.layouts.parts import (
    Activation,
    Branch,
    Head,
    ImageInfo,
    OwnPrototypes,
    Positions,
    State,
)

__all__ = ["IMAGENET", "HeadAt", "Layout", "Part", "Vectors", "vectors_of"]

IMAGENET = ImageInfo(
    channels=3,
    size=(224, 224),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize=256,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAt:
    """Where a head is: `layer` is our name for it, `prefix` the file's."""

    layer: str
    prefix: str  # "encoder_q.fc." for encoder_q.fc.0.weight or encoder_q.fc.weight
    activation: Activation = "relu"
    normalised: bool = False
    on: str | None = None  # the layer that it is applied to; None: the one before it
    then: tuple[str, ...] = ()  # prefixes of further pieces, each behind an activation
    rename: Callable[[State], State] = field(default=lambda state: state)  # to numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Where learned prototypes are, and what they are compared with."""

    prefix: str  # of weight, weight_g and weight_v, parametrizations…, or of several numbered ones
    layer: str
    unit: bool = True

    def named(self, name: str) -> str:
        """Give the file's name: behind an open prefix (`prototypes`), numbers follow at once."""
        return name if self.prefix.endswith(".") else name.replace(f"{self.prefix}.", self.prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where one branch is. Heads that the file lacks are left out."""

    backbone: str  # prefix
    only: tuple[str, ...] = ()  # beginnings, one of which names below the prefix must have
    heads: tuple[HeadAt, ...] = ()
    layer: str = "backbone"  # where the method's loss lives, if the file holds that head
    prototypes: tuple[Vectors, ...] = ()  # that this branch is compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One kind of checkpoint.

    Names are those that `tensors` gives: without `module.`, without the wrapper `state_dict`.
    """

    name: str  # for --layout
    title: str  # the method and its library
    source: str  # the code that the names come from
    marks: tuple[str, ...]  # names, or beginnings of names that end in a dot, that must be there
    parts: Mapping[str, Part]  # by branch
    default: str  # branch; the first that the file holds if it lacks this one
    rename: Callable[[State], State] = field(default=lambda state: state)  # backbone to our names
    image: ImageInfo = IMAGENET
    absent: tuple[str, ...] = ()  # names, or beginnings, that must not be there
    small: ImageInfo | None = None  # input of a ResNet with a 3x3 stem, where the code tells it
    any_size: bool = False  # positions are interpolated: a ViT's grid does not tell the size
    positions: Positions = "timm"
    told: Callable[[State], bool] | None = None  # what marks cannot say

    def fits(self, state: State, *, named: bool = False) -> bool:
        """Whether these are the names of this layout; `told` is not asked where it was named."""
        found = all(_holds(state, mark) for mark in self.marks)
        found = found and not any(_holds(state, mark) for mark in self.absent)
        return found and (named or self.told is None or self.told(state))

    def branches(self, state: State) -> dict[str, Branch]:
        """Take the branches that the file holds."""
        found = {name: self._branch(state, part) for name, part in self.parts.items()}
        return {name: branch for name, branch in found.items() if branch.backbone}

    def _branch(self, state: State, part: Part) -> Branch:
        heads = [head for at in part.heads if (head := self._head(state, at)).state]
        layer = part.layer if any(head.layer == part.layer for head in heads) else "backbone"
        own = self._own(state, part.backbone)
        own = {k: v for k, v in own.items() if not part.only or k.startswith(part.only)}
        return Branch(
            backbone=self.rename(own),
            heads=tuple(heads),
            default_layer=layer,
            positions=self.positions,
            prototypes=_own_prototypes(state, part),
        )

    def _head(self, state: State, at: HeadAt) -> Head:
        inside = self._own(state, at.prefix)
        further = [self._own(state, prefix) for prefix in at.then]
        return Head(
            layer=at.layer,
            state=at.rename(reduce(appended, further, inside)),
            activation=at.activation,
            normalised=at.normalised,
            on=at.on,
        )

    def _own(self, state: State, prefix: str) -> dict[str, Tensor]:
        """Entries below a prefix, without what belongs to a part of its own."""
        taken = tuple(
            other.removeprefix(prefix)
            for other in self._prefixes()
            if other.startswith(prefix) and other != prefix
        )
        return {k: v for k, v in below(state, prefix).items() if not k.startswith(taken)}

    def _prefixes(self) -> set[str]:
        """All beginnings that belong to a part of its own."""
        parts = self.parts.values()
        heads = {at.prefix for part in parts for at in part.heads}
        heads |= {prefix for part in parts for at in part.heads for prefix in at.then}
        vectors = {at.prefix for part in parts for at in part.prototypes}
        return heads | {part.backbone for part in parts} | vectors


def _own_prototypes(state: State, part: Part) -> tuple[OwnPrototypes, ...]:
    """Take a branch's learned prototypes, one entry for each set."""
    return tuple(
        replace(own, name=at.named(own.name), layer=at.layer, unit=at.unit)
        for at in part.prototypes
        for own in vectors_of(below(state, at.prefix), at.prefix.rstrip("."))
    )


def vectors_of(state: State, name: str) -> list[OwnPrototypes]:
    """Put prototype vectors together from what a linear layer, or several, left in a file.

    Plain `weight` (K x d), weight-normed `weight_g` and `weight_v` or torch's
    `parametrizations.weight.original0` and `original1` (W = g v / |v|), with or without `bias`,
    alone or numbered (`prototypes0.weight`, `heads.1.weight`, `2.weight`).

    >>> found = vectors_of({"weight_g": torch.ones(2, 1), "weight_v": 3 * torch.eye(2)}, "p")
    >>> found[0].vectors
    tensor([[1., 0.], [0., 1.]])
    """
    weight = _weight(state)
    if weight is not None:
        bias = state.get("bias")
        if bias is not None:
            bias = bias.float() if bias.shape == weight.shape[:1] else None
        return [OwnPrototypes(vectors=weight, layer="projector", name=name, bias=bias)]
    groups = sorted({key.rpartition(f".{end}")[0] for end in _ENDS for key in state} - {""})
    return [
        own for group in groups for own in vectors_of(below(state, f"{group}."), f"{name}.{group}")
    ]


_ENDS = ("weight", "weight_v", "parametrizations.weight.original1")


def _weight(state: State) -> Tensor | None:
    for size, direction in (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ):
        if size in state and direction in state:
            v, g = state[direction].float(), state[size].float()
            fits = v.ndim == 2 and g.numel() == len(v)
            return g.reshape(-1, 1) * torch.nn.functional.normalize(v, dim=1) if fits else None
    weight = state.get("weight")
    return weight.float() if weight is not None and weight.ndim == 2 else None


def _holds(state: State, mark: str) -> bool:
    return any(key.startswith(mark) for key in state) if mark.endswith(".") else mark in state
