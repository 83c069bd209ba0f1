"""CMC's encoder: one network sees the first channel of an image, the other one the last two.

Channels are those of a colour space that keeps light apart from colour, such as Lab. The names
`l_to_ab` and `ab_to_l`, of the networks, are those of HobbitLong/CMC models/resnet.py.
"""

import re
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.encoders.infer import resnet_from_state_dict
from nemd_toolkit.encoders.resnet import ResNet
from nemd_toolkit.errors import InputError

__all__ = ["AlexNetHalf", "Halves", "halves_from_state_dict"]

_SEEN = {"l_to_ab": (0, 1), "ab_to_l": (1, 3)}  # channels of the image, from and to
# HobbitLong/CMC models/alexnet.py: kernel, stride, padding, and whether a max-pool follows
_ALEXNET = ((11, 4, 2, True), (5, 1, 2, True), (3, 1, 1, False), (3, 1, 1, False), (3, 1, 1, True))


class AlexNetHalf(nn.Module):
    """Five blocks of a convolution, a norm and ReLU, three of them pooled.

    >>> AlexNetHalf(1, (4, 4, 4, 4, 4)).eval().features(torch.zeros(2, 1, 224, 224)).shape
    torch.Size([2, 144])
    """

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        for number, width in enumerate(widths):
            kernel, stride, padding, pooled = _ALEXNET[number]
            block = nn.Sequential(
                nn.Conv2d(channels, width, kernel, stride, padding, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d(3, 2) if pooled else nn.Identity(),
            )
            self.add_module(f"conv_block_{number + 1}", block)
            channels = width

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Map behind the last pooling, flattened, as CMC's linear evaluation takes it."""
        for number in range(len(_ALEXNET)):
            x = self.get_submodule(f"conv_block_{number + 1}")(x)
        return x.flatten(1)


class Halves(nn.Module):
    """Both networks, or one of them, on images of three channels."""

    channels = 3

    def __init__(self, halves: Mapping[str, ResNet | AlexNetHalf]) -> None:
        super().__init__()
        for name, half in halves.items():
            self.add_module(name, half)

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b f"]:
        """Features of the networks side by side, that of the first channel first."""
        rows = []
        for name, half in self.named_children():
            assert isinstance(half, ResNet | AlexNetHalf)
            first, last = _SEEN[name]
            rows.append(half.features(x[:, first:last]))
        return torch.cat(rows, 1)


def halves_from_state_dict(state: Mapping[str, Tensor]) -> Halves:
    """Build the halves that these names describe, ResNets or AlexNets.

    Raises InputError if names are neither, left over or missing, or if a network is for another
    number of channels.

    >>> halves_from_state_dict({"l_to_ab.conv2.weight": torch.ones(1)})
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: ResNet: expected keys such as conv1.weight and \
layer1.0.conv1.weight, got conv2.weight; pass the encoder's own keys, without prefix
    """
    found: dict[str, ResNet | AlexNetHalf] = {}
    for name, (first, last) in _SEEN.items():
        start = f"{name}."
        own = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        if not own:
            continue
        half = _alexnet(own) if "conv_block_1.0.weight" in own else resnet_from_state_dict(own)
        if half.channels != last - first:
            raise InputError(
                f"{name}: expected a network for {last - first} channel(s), got one for "
                f"{half.channels}; this variant is not known"
            )
        found[name] = half
    foreign = [key for key in state if key.partition(".")[0] not in _SEEN]
    if foreign:
        raise InputError(
            f"CMC: expected names below {' and '.join(_SEEN)}, got {foreign[0]}; pass names "
            "without prefix"
        )
    return Halves(found)


def _alexnet(state: Mapping[str, Tensor]) -> AlexNetHalf:
    weights = [state.get(f"conv_block_{number + 1}.0.weight") for number in range(len(_ALEXNET))]
    shapes = [tuple(weight.shape) for weight in weights if weight is not None and weight.ndim == 4]
    if len(shapes) < len(weights):
        raise InputError(
            f"AlexNet: expected {len(weights)} convolutions such as conv_block_1.0.weight, got "
            f"{len(shapes)}; this variant is not known"
        )
    counts = {
        f"conv_block_{number + 1}.1.num_batches_tracked": torch.tensor(0)
        for number in range(len(_ALEXNET))
    }
    with torch.device("meta"):  # shapes only: a false width in a stranger's file takes no memory
        net = AlexNetHalf(shapes[0][1], tuple(shape[0] for shape in shapes))
    try:
        net.load_state_dict({**counts, **state}, strict=True, assign=True)
    except RuntimeError as error:
        detail = re.sub(r"\s+", " ", str(error)).strip()
        raise InputError(
            "AlexNet: expected the names and shapes of CMC's, got a state dict that does not fit "
            f"({detail[:300]}); this variant is not known"
        ) from None
    return net.float()
