"""CPC on images (van den Oord, Li & Vinyals 2018, Eq. 3 and 4, section 3.3).

The latent of each patch is predicted from the rows above it, W_k for k rows below. There is no
code of the authors; the context network is that of the second version's appendix, and deep
encoders without norm start from zero residuals (ours). `arch` and `embedding_dim` are not read:
the encoder is described by the settings below, and latents themselves are predicted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.errors import InputError
from pauc_train import ranks
from pauc_train.config import MANY, Config, setting
from pauc_train.method import Batch, BranchPath, Method, Poster, Setup, Term, Terms, Training, View
from pauc_train.patch_views import subcrop_patches
from pauc_train.patches import PatchEncoder, PatchShape, cut, grid_of
from pauc_train.prediction import Predictors, patch_nce
from pauc_train.views import VIEWS, Draws, random_view

__all__ = ["METHOD", "CpcConfig", "CpcTraining", "PatchConfig"]


@dataclass(frozen=True, kw_only=True)
class PatchConfig(Config):
    """Settings of predictive coding on patches, with the first version's defaults."""

    patch_size: int = setting(64, least=1, most=4096)  # section 3.3: 7x7 in 256 pixels
    patch_stride: int = setting(32, least=1, most=4096)
    patch_margin: int = setting(4, least=0, most=4096)  # 60x60 of 64x64, padded back
    stem: Literal["imagenet", "small"] = "imagenet"
    blocks: tuple[int, ...] = setting((3, 4, 23), least=1, most=200)  # ResNet-101's first three
    inner_widths: tuple[int, ...] = setting((64, 128, 256), least=1, most=65536)
    widths: tuple[int, ...] = setting((256, 512, 1024), least=1, most=65536)  # latents: 1024
    context_layers: int = setting(5, least=1, most=100)  # Hénaff et al. 2020, appendix
    context_width: int = setting(256, least=1, most=65536)  # the same
    first_step: int = setting(1, least=1, most=4096)  # rows below that are predicted
    last_step: int = setting(5, least=1, most=4096)  # up to five
    batch_size: int = setting(512, least=2, most=MANY)  # 32 GPUs with 16
    optimizer: Literal["sgd", "lars", "adamw"] = "adamw"  # Adam; without decay they are the same
    learning_rate: float = setting(2e-4, above=0)
    weight_decay: float = setting(0.0, least=0)  # not mentioned
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "constant"  # likewise


@dataclass(frozen=True, kw_only=True)
class CpcConfig(PatchConfig):
    """CPC's settings."""


C = TypeVar("C", bound=PatchConfig)


class CpcTraining(Training, Generic[C]):
    """An encoder of patches, predictors, and a map of latents to what is predicted of them."""

    # no encoder that an analysis of whole images can build
    branches: ClassVar[Mapping[str, BranchPath]] = {}

    def __init__(
        self,
        setup: Setup[C],
        *,
        norm: Literal["none", "layer"] = "none",
        directions: int = 1,
        outputs: int | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        config = setup.config
        self.config = config
        self.scale = scale
        self.steps = _steps(setup, both=directions > 1)
        shape = PatchShape(
            patch=config.patch_size,
            channels=setup.channels,
            blocks=config.blocks,
            inner=config.inner_widths,
            widths=config.widths,
            stem=config.stem,
            norm=norm,
        )
        width = config.widths[-1]
        self.encoder = PatchEncoder(shape)
        self.target = nn.Identity() if outputs is None else nn.Conv2d(width, outputs, 1)
        self.predictors = Predictors(
            width,
            outputs=outputs or width,
            inner=config.context_width,
            layers=config.context_layers,
            steps=self.steps,
            directions=directions,
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> Terms:  # noqa: ARG002
        """Mean over directions and steps of `patch_nce`."""
        latents = self.encoder(batch.views[0]).float()
        targets = ranks.gather(self.target(latents).float())
        predicted = ranks.gather(self.scale * self.predictors(latents).float())
        losses = []
        for turns, way in enumerate(predicted.unbind(1)):
            turned = torch.rot90(targets, turns, (2, 3))
            for step, guess in zip(self.steps, way.unbind(1), strict=True):
                losses.append(patch_nce(torch.rot90(guess, turns, (2, 3)), turned, step=step))
        return {"patch_nce": Term(value=torch.stack(losses).mean())}

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Mean of the patches' latents."""
        config = self.config
        grids = cut(images, patch=config.patch_size, stride=config.patch_stride)
        latents: Tensor = self.encoder(grids)
        return latents.mean((2, 3))


def _steps(setup: Setup[C], *, both: bool) -> range:
    """Numbers of rows (and columns) between context and prediction."""
    config = setup.config
    if config.patch_margin >= config.patch_size:
        raise InputError(
            f"patch_margin: expected less than patch_size, got {config.patch_margin} and "
            f"{config.patch_size}; lower it"
        )
    rows, columns = grid_of(setup.size, patch=config.patch_size, stride=config.patch_stride)
    most = min(rows, columns if both else rows) - 1
    if not config.first_step <= config.last_step <= most:
        raise InputError(
            f"last_step: expected first_step ({config.first_step}) to {most} in a grid of {rows}x"
            f"{columns} patches, got {config.last_step}; change it, or take smaller patches"
        )
    return range(config.first_step, config.last_step + 1)


def views(config: PatchConfig) -> Sequence[View]:
    """One view: the preset without colour, cut into patches, a random part of each."""
    changes = replace(VIEWS[config.views], grey=1.0)

    def view(images: Tensor, draws: Draws) -> Tensor:
        changed = random_view(images, changes, draws)
        grids = cut(changed, patch=config.patch_size, stride=config.patch_stride)
        return subcrop_patches(
            grids, patch=config.patch_size, margin=config.patch_margin, draws=draws
        )

    return (view,)


METHOD = Method(
    name="cpc",
    title="CPC",
    paper="van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018",
    year=2018,
    config=CpcConfig,
    start=CpcTraining,
    views=views,
    needs="one view cut into patches, an encoder of patches",
    poster=Poster(imagenet1k=48.70),
)
