"""A network that is not ours in a backbone's place, with its answers checked."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError

__all__ = ["GivenEncoder", "channels_of"]


class GivenEncoder(nn.Module):
    """Images (b, c, h, w) to rows (b, d), by a module or function of somebody else's."""

    def __init__(self, rows: Callable[[Tensor], Tensor], channels: int | None) -> None:
        super().__init__()
        self.rows = rows
        self.channels = channels

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Rows as the encoder gives them; not normalised.

        Raises InputError if it fails on these images, or gives something else.

        >>> import torch
        >>> GivenEncoder(lambda x: x.mean((2, 3)), 3).features(torch.ones(1, 3, 8, 8))
        tensor([[1., 1., 1.]])
        """
        size = f"{x.shape[1]} x {x.shape[2]} x {x.shape[3]}"
        try:
            found = self.rows(x)
        except Exception as error:
            raise InputError(
                f"encoder: expected one that takes images of {size}, got one that fails on them "
                f"({type(error).__name__}: {shown(error)}); give images or a transform that suit it"
            ) from error
        if not isinstance(found, Tensor) or found.shape[:-1] != (len(x),):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"encoder: expected rows (b, d) for {len(x)} images of {size}, got {got}; return "
                "one vector for each image"
            )
        return found


def channels_of(module: nn.Module, otherwise: int) -> int:
    """Channels that a network's first convolution takes.

    >>> channels_of(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)), 3)
    1
    """
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return otherwise if first is None else first.in_channels
