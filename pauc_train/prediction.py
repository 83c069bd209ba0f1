"""From the rows of a grid of latents seen so far to the rows below: CPC's context and predictors.

The context is the one of Hénaff et al. 2020, appendix; van den Oord et al. 2018 say no more of
theirs than that it is in the style of PixelCNN.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Predictors", "RowContext", "patch_nce"]


class RowContext(nn.Module):
    """Residual blocks of convolutions that look at a row and those above it, and to both sides.

    >>> RowContext(8, inner=4, layers=5)(torch.zeros(2, 8, 3, 3)).shape
    torch.Size([2, 8, 3, 3])
    """

    def __init__(self, width: int, *, inner: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[_RowBlock(width, inner) for _ in range(layers)])

    def forward(self, latents: Float[Tensor, "b f r k"]) -> Float[Tensor, "b f r k"]:
        """Context of each place: nothing of the rows below it."""
        return F.relu(self.blocks(latents))


class _RowBlock(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, (1, 3), padding=(0, 1))
        self.conv3 = nn.Conv2d(inner, inner, (2, 1))
        self.conv4 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Float[Tensor, "b f r k"]) -> Float[Tensor, "b f r k"]:
        y = self.conv2(F.relu(self.conv1(x)))
        y = F.relu(self.conv3(F.pad(y, (0, 0, 1, 0))))  # the row above, and this one
        total: Tensor = x + self.conv4(y)
        return total


class Predictors(nn.Module):
    """For each direction a context, and for each step a linear map of it: ẑ = W_k c.

    Direction t is down in the grid turned by t quarters: down, left, up, right.
    """

    def __init__(
        self,
        width: int,
        *,
        outputs: int,
        inner: int,
        layers: int,
        steps: Sequence[int],
        directions: int,
    ) -> None:
        super().__init__()
        self.contexts = nn.ModuleList(
            RowContext(width, inner=inner, layers=layers) for _ in range(directions)
        )
        self.linear = nn.ModuleList(
            nn.Conv2d(width, outputs * len(steps), 1, bias=False) for _ in range(directions)
        )
        self.steps = len(steps)

    def forward(self, latents: Float[Tensor, "b f r k"]) -> Float[Tensor, "b t s d r k"]:
        """Predictions at each place, for each direction t and step s; places are not turned."""
        ways = []
        for turns, (context, linear) in enumerate(zip(self.contexts, self.linear, strict=True)):
            seen = linear(context(torch.rot90(latents, turns, (2, 3))))
            ways.append(torch.rot90(seen, -turns, (2, 3)).unflatten(1, (self.steps, -1)))
        return torch.stack(ways, dim=1)


def patch_nce(
    predicted: Float[Tensor, "b d r k"], targets: Float[Tensor, "b d r k"], *, step: int
) -> Float[Tensor, ""]:
    """−log softmax of the patch `step` rows below among all patches, the mean over predictions.

    Eq. 4 of van den Oord et al. 2018 with f = exp(zᵀẑ). Negatives are all other patches of the
    batch: of the same image and of others.

    >>> z = torch.tensor([[[[1.0], [0.0]]]])  # one image of two rows and one column
    >>> round(float(patch_nce(z, z, step=1)), 4)  # ln(e^0 + e^1) − 0
    1.3133
    """
    b, d, rows, columns = targets.shape
    guesses = predicted[:, :, : rows - step].permute(0, 2, 3, 1).reshape(-1, d)
    every = targets.permute(0, 2, 3, 1).reshape(-1, d)
    place = torch.arange(len(every), device=targets.device).view(b, rows, columns)
    return F.cross_entropy(guesses @ every.T, place[:, step:].reshape(-1))
