"""AMDIM's encoder (Bachman et al. 2019), with the names of Philip-Bachman/amdim-public model.py."""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.errors import InputError

__all__ = ["MAPS", "AmdimEncoder", "amdim_from_state_dict"]

MAPS = ("rkhs_block_5.", "rkhs_block_7.")  # blocks for maps of 5x5 and 7x7, no part of the encoder

_LAYER = re.compile(r"layer_list\.(\d{1,2})\.(.+)")
_INNER = re.compile(r"layer_list\.(\d{1,2})\.conv1\.weight")
_FEWEST_LAYERS, _MOST_LAYERS = 9, 10  # for images of 32 and 64 pixels, and of 128
_HALVING = (2, 4)  # kernels that go with stride 2
_WIDE_KERNEL = 5  # of the stem for 128 pixels, which mirrors the image's border


class AmdimEncoder(nn.Module):
    """A stem, residual blocks without padding, a norm: one vector, `r1`, for the whole image.

    The maps of 5x5 and 7x7 places, which the loss compares with it, are no part of it.
    """

    def __init__(self, layers: list[nn.Module], side: int) -> None:
        super().__init__()
        self.layer_list = nn.ModuleList(layers)
        self.side = side
        self.channels = 3

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b f"]:
        """Output of the last norm; not normalised. Raises InputError for images of another side."""
        if tuple(x.shape[2:]) != (self.side, self.side):
            raise InputError(
                f"AMDIM: expected images of {self.side}x{self.side}, got {x.shape[2]}x"
                f"{x.shape[3]}; resize them"
            )
        for layer in self.layer_list:
            x = layer(x)
        return x.flatten(1)


class _Stem(nn.Module):
    """A convolution and ReLU."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        outputs, inputs, kernel, _ = weight.shape
        self.mirrored = 2 if kernel == _WIDE_KERNEL else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, 2 if self.mirrored else 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(F.pad(x, (self.mirrored,) * 4, mode="reflect")))


class _Residual(nn.Module):
    """Two convolutions beside an average pooling, which zeros fill up to the same channels."""

    def __init__(self, weight: Tensor, *, normed: bool) -> None:
        super().__init__()
        outputs, inputs, self.kernel, _ = weight.shape
        self.stride = 2 if self.kernel in _HALVING else 1
        self.added = outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, self.kernel, self.stride, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn1 = _Norm(outputs, used=normed)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, self.kernel, self.stride)
        y: Tensor = self.conv2(F.relu(self.bn1(self.conv1(x))))
        return y + F.pad(pooled, (0, 0, 0, 0, 0, self.added))


class _Block(nn.Module):
    def __init__(self, layers: list[_Residual]) -> None:
        super().__init__()
        self.layer_list = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer_list(x)
        return y


class _Norm(nn.Module):
    """A batch norm that files hold even where the encoder goes around it."""

    def __init__(self, channels: int, *, used: bool) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.used = used

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(x) if self.used else x
        return y


def amdim_from_state_dict(state: Mapping[str, Tensor]) -> AmdimEncoder:
    """Build AMDIM's encoder from its names: side of the images, widths and depth are told by them.

    Hidden norms are in every file; they are used if they have counted batches. Blocks for maps of
    5x5 and 7x7 (`rkhs_block_…`) are left out. Raises InputError for names or shapes that do not
    fit.

    >>> amdim_from_state_dict({"layer_list.0.conv.weight": torch.zeros(4, 3, 3, 3)})
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: AMDIM: expected 9 or 10 layers in a row, got 1; this variant \
is not known
    """
    state = {k: v for k, v in state.items() if not k.startswith(MAPS)}
    parts: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        match = _LAYER.fullmatch(name)
        if match:
            parts.setdefault(int(match[1]), {})[match[2]] = value
    if sorted(parts) != list(range(len(parts))) or not (
        _FEWEST_LAYERS <= len(parts) <= _MOST_LAYERS
    ):
        raise InputError(
            f"AMDIM: expected {_FEWEST_LAYERS} or {_MOST_LAYERS} layers in a row, got "
            f"{len(parts)}; this variant is not known"
        )
    try:
        with torch.device("meta"):  # shapes only: a false width takes no memory
            layers = [
                _layer(parts[number], last=number == len(parts) - 1) for number in sorted(parts)
            ]
            net = AmdimEncoder(layers, _side(layers)).eval()
            found = net.features(torch.zeros(1, net.channels, net.side, net.side))
            found.view(1, parts[len(parts) - 1]["bn.weight"].numel())  # one place is left
        counts = {k: torch.tensor(0) for k in net.state_dict() if k.endswith("_tracked")}
        net.load_state_dict({**counts, **state}, strict=True, assign=True)
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        detail = re.sub(r"\s+", " ", str(error)).strip()
        raise InputError(
            f"AMDIM: expected the names and shapes of its encoder, got others ({detail[:300]}); "
            "this variant is not known"
        ) from None
    return net.float()


def _layer(parts: Mapping[str, Tensor], *, last: bool) -> nn.Module:
    if "conv.weight" in parts:
        return _Stem(parts["conv.weight"])
    if "conv1.weight" in parts:
        return _Residual(parts["conv1.weight"], normed=_counted(parts, "bn1.bn."))
    if "bn.weight" in parts:
        return _Norm(parts["bn.weight"].numel(), used=last or _counted(parts, "bn."))
    inner = sorted(int(match[1]) for match in map(_INNER.fullmatch, parts) if match)
    return _Block(
        [
            _Residual(
                parts[f"layer_list.{number}.conv1.weight"],
                normed=_counted(parts, f"layer_list.{number}.bn1.bn."),
            )
            for number in inner
        ]
    )


def _side(layers: list[nn.Module]) -> int:
    """Side of the images that the second layer tells."""
    if isinstance(layers[1], _Stem):
        return 128
    return 64 if isinstance(layers[1], _Block) else 32


def _counted(parts: Mapping[str, Tensor], norm: str) -> bool:
    """Whether a norm has seen batches: by its count, or where that is missing by its mean."""
    counted = parts.get(f"{norm}num_batches_tracked", parts[f"{norm}running_mean"])
    return bool(counted.any())
