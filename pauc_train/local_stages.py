"""A ResNet trained by stages: each stage's loss moves it and the end of the stage before it only.

As Xiong, Ren & Urtasun 2020, Figure 1: gradients do not pass from one local block to another, but
neighbours share blocks, by which an upper loss reaches below. The shared blocks run once for each
of the two losses, so that in training their batch norms follow the same statistics twice.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.encoders import ResNet
from pauc_train.heads import mlp

__all__ = ["LocalStages"]


class LocalStages(nn.Module):
    """An encoder and a decoder on each of its stages; `projector` is the decoder of the last.

    The first stage includes the stem. overlap: how many last blocks of a stage the next one's loss
    reaches, too; at most all of them, and never the stem.

    >>> from nemd_toolkit.encoders import build_resnet
    >>> encoder = build_resnet("resnet8-tiny", channels=1, head="none")
    >>> LocalStages(encoder, overlap=1, hidden=8, dim=4)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, encoder: ResNet, *, overlap: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.overlap = overlap
        last = encoder.shape.features
        stages = len(encoder.shape.blocks)
        widths = [last // 2 ** (stages - 1 - stage) for stage in range(stages)]
        self.decoders = nn.ModuleList(mlp([width, hidden, dim]) for width in widths[:-1])
        self.projector = mlp([last, hidden, dim])

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b s d"]:
        """Give all decoders' outputs, the same as if gradients were not cut."""
        encoder = self.encoder
        x = F.relu(encoder.bn1(encoder.conv1(images)))
        if encoder.shape.stem == "imagenet":
            x = F.max_pool2d(x, 3, 2, 1)
        shared: nn.Module = nn.Sequential()
        before = x
        outputs = []
        for stage, decoder in enumerate([*self.decoders, self.projector], start=1):
            if stage > 1:
                x = shared(before.detach())
            blocks = encoder.get_submodule(f"layer{stage}")
            assert isinstance(blocks, nn.Sequential)
            own = max(len(blocks) - self.overlap, 0)
            before = blocks[:own](x)
            shared = blocks[own:]
            x = shared(before)
            outputs.append(decoder(x.mean((2, 3))))
        return torch.stack(outputs, dim=1)
