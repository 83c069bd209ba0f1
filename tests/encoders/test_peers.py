"""Encoders give what the libraries' own forward gives, from the libraries' own state dicts."""

import warnings

import pytest
import torch
from torch import nn

from nemd_toolkit.encoders import VisionTransformer, backbone_from_state_dict, vit_from_state_dict
from nemd_toolkit.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")


def random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill parameters and statistics, so that no layer is an identity; in evaluation."""
    g = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        scale = 0.05 if parameter.ndim > 1 else 0.2
        parameter.data = torch.randn(parameter.shape, generator=g) * scale + (parameter.ndim == 1)
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=g) * 0.1)
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=g) + 0.5)
    return model.eval()


def wide(model: nn.Module) -> nn.Module:
    """The same in double precision."""
    return random_weights(model).double()


def images(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)).double()


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Rows are equal to 1e-6 of their length; both come from float64, so that rounding is far less.

    In float32 two correct sides differ by up to 1e-5, since they add in another order.
    """
    assert ours.dtype == theirs.dtype == torch.float64
    assert ours.std() > 1e-3  # no constant passes
    assert float(((ours - theirs).norm(dim=1) / theirs.norm(dim=1)).max()) < 1e-6


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d"])
def test_torchvision_resnets(peers, name):
    model = wide(getattr(peers.torchvision.models, name)(num_classes=2))
    model.fc = nn.Identity()
    ours = backbone_from_state_dict(model.state_dict()).eval().double()
    with torch.inference_mode():
        assert_same(ours.features(images(64)), model(images(64)))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("vit_tiny_patch16_224", 64),
        ("vit_small_patch14_dinov2", 56),
        ("vit_small_patch14_reg4_dinov2", 56),
    ],
)
def test_timm_vits(peers, name, side):
    model = wide(peers.timm.create_model(name, num_classes=0, img_size=side))
    ours = backbone_from_state_dict(model.state_dict()).double()
    with torch.inference_mode():
        assert_same(ours.features(images(side)), model(images(side)))


def test_timm_vit_that_pools_its_patches(peers):
    model = peers.timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=64, class_token=False, global_pool="avg"
    )
    model = wide(model)
    with torch.inference_mode():
        assert_same(
            vit_from_state_dict(model.state_dict()).double().features(images(64)), model(images(64))
        )


@pytest.mark.parametrize("norm", ["norm", "fc_norm"])
def test_timm_vit_with_a_class_token_that_pools_its_patches(peers, norm):
    """fc_norm stands behind the mean of the patches, whether there is a class token or not."""
    options = {"global_pool": "avg"} if norm == "fc_norm" else {}
    model = peers.timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, **options)
    model = wide(model)
    state = model.state_dict()
    assert f"{norm}.weight" in state
    assert "cls_token" in state
    with torch.inference_mode():
        assert_same(vit_from_state_dict(state).double().features(images(64)), model(images(64)))


@pytest.mark.parametrize("registers", [0, 1, 4])
@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("shape", [(80, 80), (96, 64), (48, 80)])
def test_timm_vits_on_another_grid(peers, registers, everywhere, token, shape):
    """Positions of all tokens or of patches alone (no_embed_class), resampled by timm itself."""
    model = peers.timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=80, reg_tokens=registers, depth=2,
        no_embed_class=not everywhere, dynamic_img_size=True, class_token=token,
        global_pool="token" if token else "avg",
    )  # fmt: skip
    model = wide(model)
    seen = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        ours = vit_from_state_dict(model.state_dict()).double()
        assert_same(ours.features(seen), model(seen))


@pytest.mark.parametrize("own_names", [True, False])
def test_swiglu_of_dinov2(peers, own_names):
    model = peers.timm.create_model(
        "vit_giant_patch14_dinov2", num_classes=0, img_size=56, embed_dim=128, depth=2, num_heads=2
    )
    model = wide(model)
    state = (
        model.state_dict()
        if not own_names
        else {
            name.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3."): value
            for name, value in model.state_dict().items()
        }
    )  # DINOv2's own names of timm's packed SwiGLU
    with torch.inference_mode():
        assert_same(vit_from_state_dict(state).double().features(images(56)), model(images(56)))


@pytest.mark.parametrize("kind", ["ViT", "Dinov2"])
def test_transformers_vits(peers, kind):
    config = getattr(peers.transformers, f"{kind}Config")(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        image_size=32,
        patch_size=8,
    )
    model = wide(getattr(peers.transformers, f"{kind}Model")(config))
    ours = backbone_from_state_dict(
        model.state_dict(), attention_heads=4, norm_epsilon=config.layer_norm_eps
    ).double()
    with torch.inference_mode():
        theirs = model(images(32)).last_hidden_state[:, 0]
        assert_same(ours.features(images(32)), theirs)


@pytest.mark.parametrize("swiglu", [True, False])
@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "Dinov2WithRegisters"])
@pytest.mark.parametrize("shape", [(32, 32), (48, 48), (40, 24)])
def test_transformers_vits_on_another_grid(peers, kind, swiglu, shape):
    """With gate_proj, up_proj and down_proj, as transformers 5 calls a SwiGLU's matrices."""
    options = {"use_swiglu_ffn": swiglu} if kind != "ViT" else {}
    config = getattr(peers.transformers, f"{kind}Config")(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        image_size=32,
        patch_size=8,
        **options,
    )
    model = wide(getattr(peers.transformers, f"{kind}Model")(config))
    state = model.state_dict()
    assert any("gate_proj" in name for name in state) == (swiglu and kind != "ViT")
    ours = backbone_from_state_dict(
        state, attention_heads=4, norm_epsilon=config.layer_norm_eps
    ).double()
    seen = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1)).double()
    grown = {"interpolate_pos_encoding": True} if kind == "ViT" else {}
    with torch.inference_mode():
        assert_same(ours.features(seen), model(seen, **grown).last_hidden_state[:, 0])


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_transformers_resnet(peers, block):
    config = peers.transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[64, 128], depths=[1, 2], layer_type=block
    ) if block == "bottleneck" else peers.transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 2], layer_type=block
    )  # fmt: skip
    model = wide(peers.transformers.ResNetModel(config))
    ours = backbone_from_state_dict(model.state_dict()).eval().double()
    with torch.inference_mode():
        assert_same(ours.features(images(32)), model(images(32)).pooler_output.flatten(1))


def test_what_is_no_encoder_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="ResNet with torchvision's names or a ViT"):
        backbone_from_state_dict({"a.weight": torch.ones(1)})
    with warnings.catch_warnings():
        state = {
            "patch_embed.proj.weight": torch.zeros(64, 3, 4, 4),
            "blocks.0.norm1.weight": torch.ones(64),
        }
        with pytest.raises(InputError, match="fit together"):
            vit_from_state_dict(state)
        with pytest.raises(InputError, match="got decoder.weight and 0 others"):
            vit_from_state_dict({**state, "decoder.weight": torch.ones(1)})


@pytest.mark.parametrize(
    ("width", "zero_class_row", "heads"),
    [(384, False, 6), (384, True, 12), (768, True, 12), (1152, False, 16), (1280, False, 16)],
)
def test_numbers_of_heads_are_those_of_published_models(width, zero_class_row, heads):
    positions = torch.ones(1, 5, width)
    positions[:, 0] = 0.0 if zero_class_row else 1.0
    state = {
        "pos_embed": positions,
        "patch_embed.proj.weight": torch.zeros(width, 3, 4, 4),
        "blocks.0.norm1.weight": torch.ones(width),
    }
    assert VisionTransformer(state).heads == heads


@pytest.mark.parametrize("shape", [(96, 3, 4, 4), (64, 3, 4000, 1), (64, 3, 4000, 4000), (64, 3)])
def test_unknown_widths_and_patches_that_fill_the_memory_are_refused(shape):
    state = {
        "patch_embed.proj.weight": torch.zeros(1).expand(shape),
        "blocks.0.norm1.weight": torch.ones(shape[0]),
    }
    with pytest.raises(InputError, match="heads is known|square patches"):
        vit_from_state_dict(state)
