"""Encoders of CMC and AMDIM give what their authors' networks give, from the same state dicts."""

import re

import pytest
import torch

from nemd_toolkit.encoders import backbone_from_state_dict
from nemd_toolkit.errors import InputError
from tests.encoders.authors import Amdim, Cmc, CmcAlexNet, CmcResNet
from tests.encoders.test_peers import random_weights


def pixels(side, channels=3):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


def close(ours, theirs):
    assert ours.shape == theirs.shape
    assert ours.std() > 1e-3  # no constant passes
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * float(theirs.abs().max()))


def without_heads(model):
    return {k: v for k, v in model.state_dict().items() if not re.search(r"\.fc\d?\.", k)}


SHAPES = {
    "resnet18v1": {"stem": 64, "base": 32, "blocks": (2, 2, 2, 2)},
    "resnet50v1": {"stem": 64, "base": 32, "blocks": (3, 4, 6, 3), "bottleneck": True},
    "resnet18v2": {"stem": 16, "base": 16},
    "resnet50v3": {"stem": 8, "base": 16, "bottleneck": True},
}


class TestCmc:
    @pytest.mark.parametrize("name", SHAPES)
    def test_resnets_pooled_and_side_by_side(self, name):
        model = random_weights(Cmc(lambda channels: CmcResNet(channels, **SHAPES[name])))
        ours = backbone_from_state_dict(without_heads(model)).eval()
        with torch.inference_mode():
            light, colour = model(pixels(64), 6)
            close(ours.features(pixels(64)), torch.cat([light, colour], 1))

    @pytest.mark.parametrize("widths", [(48, 128, 192, 192, 128), (4, 6, 8, 8, 6)])
    def test_alexnets_behind_the_last_pooling(self, widths):
        model = random_weights(Cmc(lambda channels: CmcAlexNet(channels, widths=widths)))
        ours = backbone_from_state_dict(without_heads(model)).eval()
        with torch.inference_mode():
            found = ours.features(pixels(224))
            close(found, torch.cat(model(pixels(224), 5), 1))
        assert found.shape == (2, 2 * 36 * widths[-1])

    @pytest.mark.parametrize(("name", "place"), [("l_to_ab", 0), ("ab_to_l", 1)])
    def test_one_half_sees_its_own_channels(self, name, place):
        model = random_weights(Cmc(CmcResNet))
        state = {k: v for k, v in without_heads(model).items() if k.startswith(name)}
        ours = backbone_from_state_dict(state).eval()
        with torch.inference_mode():
            close(ours.features(pixels(64)), model(pixels(64), 6)[place])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: {k.replace("l_to_ab", "ab_to_l"): v for k, v in s.items()}, r"2 channel\(s"),
            (lambda s: {**s, "head.weight": torch.ones(1)}, "head.weight"),
            (lambda s: {k: v for k, v in s.items() if "bn1.weight" not in k}, "does not fit"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, change, message):
        state = {k: v for k, v in without_heads(Cmc(CmcResNet)).items() if k.startswith("l_to_ab")}
        with pytest.raises(InputError, match=message):
            backbone_from_state_dict(change(state))

    def test_alexnets_that_do_not_fit_are_refused(self):
        state = without_heads(Cmc(CmcAlexNet))
        with pytest.raises(InputError, match="expected 5 convolutions .*, got 4"):
            backbone_from_state_dict({k: v for k, v in state.items() if "block_3" not in k})
        state["l_to_ab.conv_block_2.0.weight"] = torch.ones(1).expand(6, 4, 9, 9)
        with pytest.raises(InputError, match="AlexNet: expected .*conv_block_2"):
            backbone_from_state_dict(state)


class TestAmdim:
    @pytest.mark.parametrize("side", [32, 64, 128])
    @pytest.mark.parametrize("depth", [1, 3])
    def test_the_vector_of_the_whole_image(self, side, depth):
        model = random_weights(Amdim(side, depth=depth))
        ours = backbone_from_state_dict(model.state_dict())
        with torch.inference_mode():
            close(ours.features(pixels(side)), model(pixels(side)))

    @pytest.mark.parametrize("side", [32, 64, 128])
    def test_hidden_norms_are_used_if_they_have_counted(self, side):
        model, idle = (random_weights(Amdim(side, use_bn=used)) for used in (True, False))
        state = model.state_dict()
        with torch.inference_mode():
            close(backbone_from_state_dict(state).features(pixels(side)), idle(pixels(side)))
            for name, value in state.items():
                if name.endswith("num_batches_tracked"):
                    value.fill_(9)
            assert not torch.allclose(model(pixels(side)), idle(pixels(side)))
            close(backbone_from_state_dict(state).features(pixels(side)), model(pixels(side)))
            uncounted = {k: v for k, v in state.items() if not k.endswith("_tracked")}
            close(backbone_from_state_dict(uncounted).features(pixels(side)), model(pixels(side)))

    def test_other_images_and_other_names_are_refused(self):
        state = Amdim(32).state_dict()
        with pytest.raises(InputError, match="images of 32x32, got 64x64"):
            backbone_from_state_dict(state).features(pixels(64))
        with pytest.raises(InputError, match="9 or 10 layers in a row, got 8"):
            backbone_from_state_dict({k: v for k, v in state.items() if "list.8." not in k})
        for name, value in (("layer_list.3.a", torch.ones(1)), ("a", torch.ones(1)),
                            ("layer_list.0.conv.weight", torch.ones(1))):  # fmt: skip
            with pytest.raises(InputError, match="AMDIM: expected the names and shapes"):
                backbone_from_state_dict({**state, name: value})

    @pytest.mark.parametrize("kernel", [1, 2, 6])
    def test_maps_that_do_not_shrink_to_one_place_are_refused(self, kernel):
        state = Amdim(32, rkhs=32).state_dict()
        state["layer_list.5.layer_list.0.conv1.weight"] = torch.ones(32, 32, kernel, kernel)
        with pytest.raises(InputError, match="AMDIM: expected the names and shapes"):
            backbone_from_state_dict(state)

    def test_a_false_width_takes_no_memory(self):
        state = Amdim(32).state_dict()
        state["layer_list.2.layer_list.0.conv1.weight"] = torch.ones(1).expand(10**6, 10**6, 1, 1)
        with pytest.raises(InputError, match="AMDIM: expected the names and shapes"):
            backbone_from_state_dict(state)
