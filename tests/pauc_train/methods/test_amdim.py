"""AMDIM: its loss against the paper and the authors' code, and what each vector may see."""

import math

import pytest
import torch

from nemd_toolkit.errors import InputError
from pauc_train.amdim_network import AmdimNetwork
from pauc_train.method import Batch, Setup, total
from pauc_train.methods import METHODS
from pauc_train.methods.amdim import local_nce
from pauc_train.recipe import load_config


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def start(overrides=None, size=(8, 8)):
    config = load_config("amdim", "digits", {"embedding_dim": 32, **(overrides or {})})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS["amdim"].start(
            Setup(config=config, count=40, channels=1, size=size, generator=seeded())
        )


def batch(count=6):
    views = torch.rand(2, count, 1, 8, 8, generator=seeded(1)).unbind()
    return Batch(views=views, indices=torch.arange(count), epoch=0, progress=0.0)


def slow_local_nce(source, places, limit):
    """Section 3.4: one positive place among the places of all other images."""
    source, places = source.detach(), places.detach()
    b, d, p = places.shape
    losses, squares = [], []
    for i in range(b):
        raw = [
            [float(source[i] @ places[j, :, k]) / math.sqrt(d) for k in range(p)] for j in range(b)
        ]
        squares += [x * x for row in raw for x in row]
        f = [[math.exp(limit * math.tanh(x / limit)) for x in row] for row in raw]
        negative = sum(sum(row) for j, row in enumerate(f) if j != i)
        losses += [-math.log(f[i][k] / (f[i][k] + negative)) for k in range(p)]
    return sum(losses) / len(losses), sum(squares) / len(squares)


def test_local_nce_is_the_papers():
    source = 3 * torch.randn(4, 5, generator=seeded())
    places = 3 * torch.randn(4, 5, 6, generator=seeded(1))
    value, square = local_nce(source, places, limit=2.0)
    expected = slow_local_nce(source, places, 2.0)
    assert (float(value), float(square)) == pytest.approx(expected, rel=1e-5)


def test_local_nce_by_hand():
    """Scores 2 for the own place and 0 for the other image's two, without clipping to speak of."""
    source = 2 * torch.eye(2)
    places = math.sqrt(2) * torch.eye(2)[..., None].expand(2, 2, 2)
    value, square = local_nce(source, places, limit=1e4)
    assert float(value) == pytest.approx(math.log(1 + 2 / math.e**2), rel=1e-4)
    assert float(square) == pytest.approx(2.0, rel=1e-6)


def formula(*shape):
    """Numbers that any program can make again."""
    count = math.prod(shape)
    return torch.sin(torch.arange(count, dtype=torch.float64) ** 1.5).view(shape)


AUTHORS = {20.0: (4.4601583, 1.4986525), 5.0: (4.3926539, 1.4986525)}


def test_local_nce_gives_the_figures_of_the_authors_code():
    """Figures: NCE_MI_MULTI of Philip-Bachman/amdim-public costs.py, run beside (lgt_reg / .05)."""
    source, places = 1.5 * formula(5, 16), 1.5 * formula(5, 16, 9)
    for limit, expected in AUTHORS.items():
        value, square = local_nce(source, places, limit=limit)
        assert (float(value), float(square)) == pytest.approx(expected, rel=1e-6)


def test_terms_are_three_predictions_in_both_directions():
    training = start({"encoder_norm": True})
    data = batch()
    terms = training.loss(data, seeded(4))
    first, second = (training.encoder(view) for view in data.views)
    draws = seeded(4)
    values = dict.fromkeys(("1_to_5", "1_to_7", "5_to_5", "squared_scores"), 0.0)
    for source, target in ((first, second), (second, first)):
        small = source[..., 1:26]
        chosen = torch.randint(25, (6,), generator=draws).tolist()
        local = torch.stack([small[i, :, place] for i, place in enumerate(chosen)])
        for name, vectors, places in (
            ("1_to_5", source[..., 0], target[..., 1:26]),
            ("1_to_7", source[..., 0], target[..., 26:]),
            ("5_to_5", local, target[..., 1:26]),
        ):
            value, square = slow_local_nce(vectors, places, 20.0)
            values[name] += value / 2
            values["squared_scores"] += square / 2
    assert {n: t.value.item() for n, t in terms.items()} == pytest.approx(values, rel=1e-4)
    expected = sum(values[n] for n in values if "_to_" in n) + 0.05 * values["squared_scores"]
    assert total(terms).item() == pytest.approx(expected, rel=1e-4)


def awake(net):
    """Weights above zero, so that no ReLU hides what a vector may see."""
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.1 + 0.1 * torch.rand(p.shape, generator=seeded(p.numel())))
    return net.eval().double()


# side: (field, step) of a place of the 5x5 and of the 7x7 map, in pixels, without the stem's mirror
FIELDS = {8: ((4, 1), (2, 1)), 32: ((16, 4), (8, 4)), 64: ((32, 8), (16, 8))}


@pytest.mark.parametrize("side", FIELDS)
def test_local_vectors_see_their_part_of_the_image_alone(side):
    """Without padding: exactly a window, which steps from place to place."""
    net = awake(AmdimNetwork(side, channels=1, width=1, dim=8, depth=2))
    image = torch.rand(1, 1, side, side, generator=seeded()).double().requires_grad_()
    vectors = net(image)[0].sum(0)
    assert vectors.shape == (75,)
    for start_at, count, (field, step) in ((1, 5, FIELDS[side][0]), (26, 7, FIELDS[side][1])):
        for y, x in ((0, 0), (1, 3), (count - 1, count - 1)):
            (seen,) = torch.autograd.grad(
                vectors[start_at + y * count + x], image, retain_graph=True
            )
            rows = seen[0, 0].abs().sum(1).nonzero().flatten().tolist()
            columns = seen[0, 0].abs().sum(0).nonzero().flatten().tolist()
            assert rows == list(range(y * step, y * step + field))
            assert columns == list(range(x * step, x * step + field))
    (seen,) = torch.autograd.grad(vectors[0], image)
    assert bool((seen != 0).all())


@pytest.mark.parametrize("side", [8, 28, 32, 64, 128])
def test_names_are_the_repositorys(side):
    names = set(AmdimNetwork(side, channels=3, width=2, dim=16, depth=2).state_dict())
    length = {8: 7, 28: 9, 32: 9, 64: 9, 128: 10}[side]
    assert {n.split(".")[1] for n in names if n.startswith("layer_list")} == {
        str(number) for number in range(length)
    }
    for name in (
        "layer_list.0.conv.weight",
        "layer_list.0.conv.bias",
        f"layer_list.{length - 1}.bn.running_mean",
        f"layer_list.{length - 2}.conv2.weight",
        f"layer_list.{length - 2}.bn1.bn.weight",
        f"layer_list.{length - 3}.layer_list.1.conv1.weight",
        "rkhs_block_5.shortcut.bias",
        "rkhs_block_7.bn_hid.bn.weight",
        "rkhs_block_7.bn_out.bn.num_batches_tracked",
    ):
        assert name in names


def test_gradients_reach_everything_that_is_used():
    training = start()
    with torch.no_grad():  # the residuals start at zero
        for name, p in training.named_parameters():
            if name.endswith("conv2.weight"):
                p.normal_(0, 0.1, generator=seeded())
    total(training.loss(batch(), seeded())).backward()
    for name, p in training.named_parameters():
        used = p.requires_grad
        assert used == (p.grad is not None and bool(p.grad.abs().max() > 0)), name
        assert used != (".bn1." in name or "bn_hid" in name or "layer_list.2.bn" in name), name


def test_features_are_the_global_vector():
    training = start().eval()
    images = torch.rand(3, 1, 8, 8, generator=seeded())
    x = images
    for layer in training.encoder.layer_list:
        x = layer(x)
    assert torch.equal(training.features(images), x.flatten(1))


@pytest.mark.parametrize(
    ("overrides", "size", "message"),
    [
        ({}, (9, 9), "images of 8, 28, 32, 64, 128 pixels, got 9"),
        ({}, (8, 28), "square images, got 8x28"),
        ({"embedding_dim": 16}, (8, 8), "at least 32, the width of the 7x7 map, got 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(overrides, size, message):
    with pytest.raises(InputError, match=message):
        start(overrides, size)
