"""CPC v2 (Hénaff et al. 2020): CPC with layer norm, a wider encoder, four directions, patch views.

Targets are a linear map of the latents and predictions are scaled, as in the appendix's listing,
whose single step passes over overlapping patches. The listing adds steps up; here they, and the
four directions, are averaged. Sizes are the appendix's, from memory. Ours: of its patch-wise
changes only part of a patch, flip, and colour dropping are here (0 for dropped channels), and where
there is no colour to drop a patch changes its brightness. `arch` is not read, as in CPC.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pauc_train.config import setting
from pauc_train.method import Method, Poster, Setup, View
from pauc_train.methods.cpc import CpcTraining, PatchConfig
from pauc_train.patch_views import drop_colours, flip_patches, light_patches, subcrop_patches
from pauc_train.patches import cut
from pauc_train.views import VIEWS, Draws, random_view

__all__ = ["METHOD", "Cpcv2Config", "start", "views"]


@dataclass(frozen=True, kw_only=True)
class Cpcv2Config(PatchConfig):
    """CPC v2's settings; `embedding_dim` is the width of what is predicted."""

    patch_size: int = setting(80, least=1, most=4096)  # 6x6 in 260 pixels
    patch_stride: int = setting(36, least=1, most=4096)
    blocks: tuple[int, ...] = setting((3, 4, 46), least=1, most=200)  # ResNet-161
    inner_widths: tuple[int, ...] = setting((64, 128, 512), least=1, most=65536)
    widths: tuple[int, ...] = setting((256, 512, 4096), least=1, most=65536)
    embedding_dim: int = setting(64, least=1, most=65536)  # target_dim
    prediction_scale: float = setting(0.1, above=0)  # emb_scale
    first_step: int = setting(3, least=1, most=4096)  # steps_to_ignore 2, steps_to_predict 3
    last_step: int = setting(3, least=1, most=4096)
    learning_rate: float = setting(4e-4, above=0)
    patch_flip: float = setting(0.5, least=0, most=1)
    patch_brightness: float = setting(0.4, least=0, most=1)  # grey images only; ours


def start(setup: Setup[Cpcv2Config]) -> CpcTraining[Cpcv2Config]:
    """CPC's training with the second version's norm, directions, targets and scale."""
    return CpcTraining(
        setup,
        norm="layer",
        directions=4,
        outputs=setup.config.embedding_dim,
        scale=setup.config.prediction_scale,
    )


def views(config: Cpcv2Config) -> Sequence[View]:
    """One view: the preset, cut into patches, each changed by itself."""
    patch = config.patch_size

    def view(images: Tensor, draws: Draws) -> Tensor:
        changed = random_view(images, VIEWS[config.views], draws)
        grids = cut(changed, patch=patch, stride=config.patch_stride)
        grids = subcrop_patches(grids, patch=patch, margin=config.patch_margin, draws=draws)
        grids = flip_patches(grids, patch=patch, probability=config.patch_flip, draws=draws)
        if images.shape[1] == 3:
            return drop_colours(grids, patch=patch, draws=draws)
        return light_patches(grids, patch=patch, strength=config.patch_brightness, draws=draws)

    return (view,)


METHOD = Method(
    name="cpcv2",
    title="CPC v2",
    paper="Hénaff et al., Data-Efficient Recognition with Contrastive Predictive Coding, ICML 2020",
    year=2020,
    config=Cpcv2Config,
    start=start,
    views=views,
    needs="one view cut into patches, an encoder of patches, contexts from four sides",
    poster=Poster(imagenet1k=65.90),
)
