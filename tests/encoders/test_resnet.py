"""ResNet: torchvision's names and counts, an independent forward, and inference from weights."""

import re

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.encoders import (
    ARCHITECTURES,
    ResNet,
    ResNetShape,
    build_resnet,
    resnet_from_state_dict,
)
from nemd_toolkit.encoders.resnet import BasicBlock, Bottleneck
from nemd_toolkit.errors import InputError

_BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def torchvision_names(blocks, convolutions, first_has_shortcut):
    """Key names of torchvision's ResNets, written down from its published checkpoints."""
    names = ["conv1.weight", *(f"bn1.{n}" for n in _BN)]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            for i in range(1, convolutions + 1):
                names += [f"{at}.conv{i}.weight", *(f"{at}.bn{i}.{n}" for n in _BN)]
            if block == 0 and (stage > 1 or first_has_shortcut):
                names += [f"{at}.downsample.0.weight"]
                names += [f"{at}.downsample.1.{n}" for n in _BN]
    return [*names, "fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("name", "blocks", "convolutions", "entries", "parameters"),
    [
        ("resnet18", (2, 2, 2, 2), 2, 122, 11_689_512),
        ("resnet34", (3, 4, 6, 3), 2, 218, 21_797_672),
        ("resnet50", (3, 4, 6, 3), 3, 320, 25_557_032),
    ],
)
def test_names_and_counts_are_torchvisions(name, blocks, convolutions, entries, parameters):
    net = build_resnet(name, dim=1000)
    state = net.state_dict()
    assert set(state) == set(torchvision_names(blocks, convolutions, convolutions == 3))
    assert len(state) == entries
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_shapes_at_well_known_places_are_torchvisions():
    state = build_resnet("resnet50", dim=1000).state_dict()
    known = {
        "conv1.weight": (64, 3, 7, 7),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer3.0.conv2.weight": (256, 256, 3, 3),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "fc.weight": (1000, 2048),
    }
    assert {key: tuple(state[key].shape) for key in known} == known


def test_pcl_v2_head_is_named_as_pcl_names_it():
    state = build_resnet("resnet50", head="mlp", dim=128).state_dict()
    heads = {key: tuple(v.shape) for key, v in state.items() if key.startswith("fc")}
    assert heads == {
        "fc.0.weight": (2048, 2048),
        "fc.0.bias": (2048,),
        "fc.2.weight": (128, 2048),
        "fc.2.bias": (128,),
    }


def slow(state, prefix, x, convolutions, stride_at, stride):
    """One block, evaluation mode, from its state dict alone."""

    def bn(y, at):
        s = {n: state[f"{prefix}{at}.{n}"] for n in _BN[:4]}
        return F.batch_norm(y, s["running_mean"], s["running_var"], s["weight"], s["bias"])

    y = x
    for i in range(1, convolutions + 1):
        weight = state[f"{prefix}conv{i}.weight"]
        step = stride if i == stride_at else 1
        y = bn(F.conv2d(y, weight, stride=step, padding=weight.shape[2] // 2), f"bn{i}")
        y = F.relu(y) if i < convolutions else y
    if f"{prefix}downsample.0.weight" in state:
        x = bn(F.conv2d(x, state[f"{prefix}downsample.0.weight"], stride=stride), "downsample.1")
    return F.relu(x + y)


def randomise(module, seed=0):
    """Give batch norms statistics that matter."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) - 0.3)
            if key.endswith("running_var"):
                value.add_(0.5)
    return module.eval()


@pytest.mark.parametrize(("width_in", "stride"), [(8, 1), (8, 2), (4, 1)])
def test_basic_block_is_what_a_slow_reference_computes(width_in, stride):
    block = randomise(BasicBlock(width_in, 8, stride))
    x = torch.rand(2, width_in, 7, 7)
    torch.testing.assert_close(block(x), slow(block.state_dict(), "", x, 2, 1, stride))


@pytest.mark.parametrize(("width_in", "stride"), [(16, 1), (16, 2), (4, 1)])
def test_bottleneck_is_what_a_slow_reference_computes(width_in, stride):
    block = randomise(Bottleneck(width_in, 4, stride))
    x = torch.rand(2, width_in, 7, 7)
    # torchvision strides the 3x3 convolution
    torch.testing.assert_close(block(x), slow(block.state_dict(), "", x, 3, 2, stride))


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_whole_network_is_what_a_slow_reference_computes(stem):
    net = randomise(ResNet(ResNetShape(blocks=(1, 2), width=4, stem=stem, channels=2, dim=3)))
    state = net.state_dict()
    x = torch.rand(2, 2, 16, 12)
    stride, padding = (2, 3) if stem == "imagenet" else (1, 1)
    y = F.conv2d(x, state["conv1.weight"], stride=stride, padding=padding)
    bn1 = [state[f"bn1.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
    y = F.relu(F.batch_norm(y, *bn1))
    if stem == "imagenet":
        y = F.max_pool2d(y, 3, stride=2, padding=1)
    y = slow(state, "layer1.0.", y, 2, 1, 1)
    y = slow(state, "layer2.0.", y, 2, 1, 2)
    y = slow(state, "layer2.1.", y, 2, 1, 1)
    pooled = F.adaptive_avg_pool2d(y, 1).flatten(1)
    torch.testing.assert_close(net.features(x), pooled)
    torch.testing.assert_close(net(x), pooled @ state["fc.weight"].T + state["fc.bias"])


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("head", ["linear", "mlp", "none"])
@pytest.mark.parametrize("width", [4, 6])
@pytest.mark.parametrize("blocks", [(1,), (2, 1, 1), (1, 2, 3, 1)])
def test_everything_is_inferred_from_a_state_dict(block, stem, head, width, blocks):
    dim = 128 if head == "none" else 5
    shape = ResNetShape(
        block=block, blocks=blocks, width=width, channels=1, stem=stem, head=head, dim=dim
    )
    net = randomise(ResNet(shape))
    found = resnet_from_state_dict(net.state_dict()).eval()
    x = torch.rand(2, 1, 16, 16)
    assert found.shape == shape
    assert torch.equal(found(x), net(x))


def test_inference_does_not_touch_the_global_random_state():
    state = build_resnet("resnet8-small").state_dict()
    before = torch.get_rng_state()
    resnet_from_state_dict(state)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_named_architectures_say_how_many_features_they_give(name):
    net = build_resnet(name, channels=1, head="none").eval()
    assert net(torch.zeros(1, 1, 32, 32)).shape == (1, net.shape.features)


def without(key):
    def change(state):
        del state[key]

    return change


def another_shape(state):
    state["layer1.0.conv2.weight"] = torch.zeros(8, 2, 3, 3)  # as a grouped convolution


def surplus(state):
    state["predictor.weight"] = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("conv1.weight"), "conv1.weight"),
        (without("layer1.0.conv1.weight"), "layer1.0.conv1.weight"),
        (without("bn1.weight"), "bn1.weight"),
        (another_shape, "layer1.0.conv2.weight"),
        (surplus, "predictor.weight"),
        (lambda s: s.update({"conv1.weight": torch.zeros(8, 1, 5, 5)}), "5x5"),
        (lambda s: s.update({"layer3.0.conv1.weight": torch.zeros(1)}), "stages"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(change, words):
    shape = ResNetShape(blocks=(1, 1), width=8, channels=1, stem="small", dim=2)
    state = dict(ResNet(shape).state_dict())
    if words == "stages":
        state = {k: v for k, v in state.items() if not k.startswith("layer2")}
    change(state)
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        resnet_from_state_dict(state)
    assert "\n" not in str(caught.value)


def test_unknown_architecture_is_refused():
    with pytest.raises(InputError, match="resnet18"):
        build_resnet("resnet1")


def test_shapes_that_cannot_be_built_are_refused():
    with pytest.raises(InputError, match="positive"):
        ResNetShape(width=0)


@pytest.mark.parametrize("key", ["layer1.9999999.conv1.weight", "layer99999999.0.conv1.weight"])
def test_block_numbers_out_of_all_proportion_are_refused_at_once(key):
    state = ResNet(ResNetShape(blocks=(1,), width=4)).state_dict() | {key: torch.ones(1)}
    with pytest.raises(InputError, match="no ResNet|does not fit"):
        resnet_from_state_dict(state)


@pytest.mark.parametrize(
    "keys",
    [
        ["layer1.2.conv1.weight"],  # block 1 left out
        ["layer3.0.conv1.weight"],  # stage 2 left out
        [f"layer1.{block}.conv1.weight" for block in range(1, 40)],  # one key each
        [*(f"other{i}" for i in range(3000)), "layer1.400.conv1.weight"],
    ],
)
def test_blocks_that_are_only_numbered_are_not_built(keys, monkeypatch):
    state = ResNet(ResNetShape(blocks=(1,), width=4)).state_dict()
    monkeypatch.delattr("nemd_toolkit.encoders.infer.ResNet")
    with pytest.raises(InputError, match="no ResNet"):
        resnet_from_state_dict(state | dict.fromkeys(keys, torch.ones(1)))


def test_a_stem_that_claims_a_huge_width_takes_no_memory():
    state = ResNet(ResNetShape(blocks=(1,), width=4, stem="small")).state_dict()
    state["conv1.weight"] = torch.ones(1).expand(200_000, 3, 3, 3)
    with pytest.raises(InputError, match="does not fit"):
        resnet_from_state_dict(state)


def test_half_precision_weights_are_used_in_single_precision():
    net = ResNet(ResNetShape(blocks=(1,), width=4, stem="small"))
    half = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    assert resnet_from_state_dict(half).conv1.weight.dtype == torch.float32
