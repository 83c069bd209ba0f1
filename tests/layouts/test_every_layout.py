"""Every layout: a file as its original code saves it gives that code's embeddings and prototypes.

The original's weights run in the libraries' own ResNet (torchvision), ViT (timm) and models
(transformers), in the authors' networks where no library has them (CMC, AMDIM), and in the heads'
own modules. Both sides compute in float64, so that a difference of 1e-6 between unit rows is a
mistake and no rounding: they are equal to the bit, or to 1e-15 behind attention, and to 7e-8 where
a head's columns are brought to length 1 in float32 on reading. In float32 two correct sides may
differ by 1e-5 behind a dozen layers, since they add in another order.
"""

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.encoding import prepare_pass
from tests.layouts.original_frameworks import ORIGINALS, RECOGNISED

pytestmark = pytest.mark.filterwarnings("ignore")
CLOSE = 1e-6


def torchvision_resnet(peers, body, kind):
    """torchvision's own ResNet, narrowed to the widths of the state."""
    models = peers.torchvision.models.resnet
    deep = "layer1.0.conv3.weight" in body
    block = models.Bottleneck if deep else models.BasicBlock

    class Narrow(models.ResNet):
        def __init__(self):
            super().__init__(block, [1, 1, 1, 1])
            self.inplanes, *shape = body["conv1.weight"].shape
            small = kind == "small"
            self.conv1 = torch.nn.Conv2d(
                shape[0], self.inplanes, shape[1], 1 if small else 2, shape[1] // 2, bias=False
            )
            self.bn1 = torch.nn.BatchNorm2d(self.inplanes)
            if small:
                self.maxpool = torch.nn.Identity()
            for stage in range(4):
                width = body["conv1.weight"].shape[0] * 2**stage
                layer = self._make_layer(block, width, 1, stride=1 if stage == 0 else 2)
                setattr(self, f"layer{stage + 1}", layer)
            self.fc = torch.nn.Identity()

    model = Narrow()
    model.load_state_dict(body)
    return model.eval().double()


def timm_vit(peers, body, heads):
    """timm's ViT; as its own converter of DINOv2 does, the class token takes its position."""
    state = {name: value.double() for name, value in body.items() if name != "mask_token"}
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    registers = state.pop("register_tokens", None)
    cls, positions = state.pop("cls_token"), state.pop("pos_embed")
    state["cls_token"] = cls + positions[:, :1]
    state["pos_embed"] = positions[:, 1:]
    if registers is not None:
        state["reg_token"] = registers
    model = peers.timm.models.VisionTransformer(
        img_size=round((positions.shape[1] - 1) ** 0.5) * patch,
        patch_size=patch,
        embed_dim=width,
        depth=1,
        num_heads=heads or width // 64,
        num_classes=0,
        no_embed_class=True,
        reg_tokens=0 if registers is None else registers.shape[1],
        init_values=1.0 if "blocks.0.ls1.gamma" in state else None,
    ).double()
    model.load_state_dict(state)
    return model.eval()


def transformers_model(peers, folder):
    """transformers' own model, read by its own code from the folder."""
    model, info = peers.transformers.AutoModel.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float64
    )
    missing = [name for name in info["missing_keys"] if not name.startswith("pooler.")]
    assert not missing
    model = model.eval().double()

    def forward(pixels):
        found = model(pixels)
        rows = found.last_hidden_state
        return found.pooler_output.flatten(1) if rows.ndim == 4 else rows[:, 0]

    return forward


def features(peers, way, path):
    if way.network is not None:
        return way.network.double().eval()
    if way.kind == "transformers":
        return transformers_model(peers, path)
    if way.kind == "vit":
        return timm_vit(peers, way.body, way.heads)
    return torchvision_resnet(peers, way.body, way.kind)


def pixels_for(way):
    _, channels, _, patch = next((v.shape for v in way.body.values() if v.ndim == 4), (0, 3, 0, 0))
    side = 56 if patch == 14 else way.side
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, channels, side, side, generator=generator).double()


def close(ours, theirs):
    """Unit rows that differ by at most 1e-6, and tell images apart."""
    ours, theirs = F.normalize(ours, dim=1), F.normalize(theirs, dim=1)
    assert float((theirs[0] - theirs[1]).norm()) > 1e-3  # no constant passes
    assert float((ours - theirs).norm(dim=1).max()) < CLOSE


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", RECOGNISED)
def test_a_file_gives_the_embeddings_and_prototypes_of_its_source(peers, tmp_path, name, zipped):
    original = ORIGINALS[name]()
    path = original.save(tmp_path, zipped=zipped)
    checkpoint = read_checkpoint(path)
    assert checkpoint.layout == name, checkpoint.why
    assert set(checkpoint.branches) == set(original.ways)
    for branch, way in original.ways.items():
        pixels = pixels_for(way)
        with torch.inference_mode():
            rows = features(peers, way, path)(pixels)
            expected = {"backbone": rows, way.layer: way.head.double().eval()(rows)}
            for layer, theirs in expected.items():
                # of the pass nothing but its encoder is used
                ours = prepare_pass(checkpoint, "digits", layer, "none", branch=branch).forward
                close(ours.double()(pixels), theirs)
        own = checkpoint.branch(branch).prototypes
        for found, vectors in zip(own, original.prototypes.get(branch, []), strict=True):
            torch.testing.assert_close(found.vectors, vectors, rtol=CLOSE, atol=0)
            assert found.layer == checkpoint.branch(branch).default_layer
