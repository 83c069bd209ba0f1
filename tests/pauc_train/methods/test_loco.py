"""LoCo: NT-Xent, and which parameters each stage's loss reaches."""

import math

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.encoders import ResNet, ResNetShape
from pauc_train.local_stages import LocalStages
from pauc_train.method import Batch, Setup, total
from pauc_train.methods import METHODS
from pauc_train.methods.loco import nt_xent
from pauc_train.recipe import load_config


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def start(overrides=None):
    config = load_config("loco", "digits", overrides or {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS["loco"].start(
            Setup(config=config, count=40, channels=1, size=(8, 8), generator=seeded())
        )


def batch(count=6):
    views = torch.rand(2, count, 1, 8, 8, generator=seeded(1)).unbind()
    return Batch(views=views, indices=torch.arange(count), epoch=0, progress=0.0)


def slow_nt_xent(first, second, temperature):
    """Chen et al. 2020, Eq. 1, one row after another."""
    rows = [*first.tolist(), *second.tolist()]

    def similarity(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    losses = []
    for i, row in enumerate(rows):
        f = [math.exp(similarity(row, other) / temperature) for other in rows]
        losses.append(-math.log(f[(i + len(first)) % len(rows)] / (sum(f) - f[i])))
    return sum(losses) / len(losses)


def test_nt_xent_is_simclrs():
    first, second = torch.randn(2, 5, 4, generator=seeded())
    value = nt_xent(first, second, temperature=0.3)
    assert float(value) == pytest.approx(slow_nt_xent(first, second, 0.3), rel=1e-5)


def test_each_stage_has_nt_xent_of_its_decoder_on_its_mean():
    training = start()
    data = batch()
    terms = training.loss(data, seeded())
    encoder = training.local.encoder
    x = F.relu(encoder.bn1(encoder.conv1(torch.cat(data.views))))
    expected = {}
    decoders = [*training.local.decoders, training.local.projector]
    for number, decoder in enumerate(decoders, 1):
        x = encoder.get_submodule(f"layer{number}")(x)
        first, second = decoder(x.mean((2, 3))).chunk(2)
        expected[f"stage_{number}"] = slow_nt_xent(first, second, training.config.temperature)
    assert {name: term.value.item() for name, term in terms.items()} == pytest.approx(
        expected, rel=1e-4
    )
    assert total(terms).item() == pytest.approx(sum(expected.values()), rel=1e-4)


def reached(net, stage):
    """Names of blocks (and decoders) that a stage's output has a gradient to."""
    net.zero_grad(set_to_none=True)
    images = torch.rand(6, 1, 8, 8, generator=seeded())
    output = net(images)[:, stage]
    (output * torch.randn(output.shape, generator=seeded(2))).sum().backward()
    names = {
        name.removeprefix("encoder.")
        for name, p in net.named_parameters()
        if p.grad is not None and bool(p.grad.abs().max() > 1e-9)
    }
    silent = {
        name.removeprefix("encoder.")
        for name, p in net.named_parameters()
        if p.grad is None or not bool(p.grad.any())
    }
    groups = {_group(name) for name in names}
    assert groups.isdisjoint(_group(name) for name in silent)  # a block is moved whole or not
    return groups


def _group(name):
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0].startswith(("layer", "decoders")) else parts[0]


@pytest.mark.parametrize(
    ("blocks", "overlap", "expected"),
    [
        # stages of one block: each stage but the last belongs to two losses
        (
            (1, 1, 1),
            1,
            [
                {"conv1", "bn1", "layer1.0", "decoders.0"},
                {"layer1.0", "layer2.0", "decoders.1"},
                {"layer2.0", "layer3.0", "projector"},
            ],
        ),
        (
            (1, 1, 1),
            0,
            [
                {"conv1", "bn1", "layer1.0", "decoders.0"},
                {"layer2.0", "decoders.1"},
                {"layer3.0", "projector"},
            ],
        ),
        (
            (2, 3, 2),
            1,
            [
                {"conv1", "bn1", "layer1.0", "layer1.1", "decoders.0"},
                {"layer1.1", "layer2.0", "layer2.1", "layer2.2", "decoders.1"},
                {"layer2.2", "layer3.0", "layer3.1", "projector"},
            ],
        ),
        # more than a stage has: all of its blocks, never the stem
        (
            (2, 2),
            5,
            [
                {"conv1", "bn1", "layer1.0", "layer1.1", "decoders.0"},
                {"layer1.0", "layer1.1", "layer2.0", "layer2.1", "projector"},
            ],
        ),
    ],
)
def test_a_stages_loss_reaches_it_and_the_end_of_the_one_before_alone(blocks, overlap, expected):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = ResNetShape(blocks=blocks, width=4, stem="small", channels=1, head="none")
        net = LocalStages(ResNet(shape), overlap=overlap, hidden=6, dim=3)
    assert [reached(net, stage) for stage in range(len(blocks))] == expected


@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_cut_gradients_change_no_output(overlap):
    """The top decoder sees what the plain ResNet gives, in training and in evaluation."""
    net = start({"overlap": overlap}).local
    images = torch.rand(8, 1, 8, 8, generator=seeded())
    for mode in (True, False):
        net.train(mode)
        expected = net.projector(net.encoder.features(images))
        torch.testing.assert_close(net(images)[:, -1], expected)


def test_a_shared_block_gets_both_losses_gradients():
    net = start().local
    images = torch.rand(8, 1, 8, 8, generator=seeded())

    def gradient(*stages):
        net.zero_grad(set_to_none=True)
        net(images)[:, list(stages)].square().sum().backward()
        return net.encoder.layer1[0].conv1.weight.grad

    both, lower, upper = gradient(0, 1), gradient(0), gradient(1)
    torch.testing.assert_close(both, lower + upper)
    assert float(upper.abs().max()) > 1e-6
