"""NCE against the authors' figures and a slow reference; how a bank moves; Z is settled once."""

import math

import pytest
import torch
import torch.nn.functional as F

from pauc_train.memory_bank import MemoryBank, Partition, nce
from pauc_train.methods.npid import proximity


def wave(*shape, phase=0.0):
    """Numbers that a formula gives: sin(1.7 i + phase), row after row."""
    return torch.sin(1.7 * torch.arange(math.prod(shape)) + phase).reshape(shape)


def bank_of(count=20, dim=6):
    bank = MemoryBank(count, dim, momentum=0.5, generator=torch.Generator().manual_seed(0))
    bank.memory.copy_(F.normalize(wave(count, dim, phase=0.3), dim=1))
    return bank


def slow_nce(logits, constant, count):
    losses = []
    for row in logits.tolist():
        noise = (len(row) - 1) / count
        model = [math.exp(x) / constant for x in row]
        loss = -math.log(model[0] / (model[0] + noise))
        loss -= sum(math.log(noise / (p + noise)) for p in model[1:])
        losses.append(loss)
    return sum(losses) / len(losses)


def test_nce_is_equations_6_and_7():
    logits = 5 * wave(7, 12)
    for constant in (0.3, 40.0, 1e6):
        value = nce(logits, torch.tensor(constant), count=33)
        assert value.item() == pytest.approx(slow_nce(logits, constant, 33), rel=1e-5)


def authors(queries, indices, drawn):
    """What NPID does on a batch: loss and bank after it, in the order of its code."""
    bank, partition = bank_of(), Partition()
    logits = bank.similarities(queries, indices, drawn) / 0.07
    value = nce(logits, partition.settle(logits, 20), count=20)
    bank.update(indices, queries)
    return value, bank.memory, partition.constant


def test_loss_bank_and_constant_are_those_of_the_authors_code():
    """Figures: CMC's NCE/NCEAverage.py and NCECriterion.py, both memories equal, K=8, T=.07."""
    queries = F.normalize(wave(4, 6, phase=1.0), dim=1)
    indices, drawn = torch.tensor([2, 5, 11, 19]), (torch.arange(32).reshape(4, 8) * 7) % 20
    value, memory, constant = authors(queries, indices, drawn)
    assert value.item() == pytest.approx(AUTHORS["loss"], rel=1e-5)
    assert constant.item() == pytest.approx(AUTHORS["constant"], rel=1e-5)
    assert memory.sum(1)[indices].tolist() == pytest.approx(AUTHORS["sums"], abs=1e-5)


AUTHORS = {
    "loss": 16.17391014,
    "constant": 2776437.75,
    "sums": [0.4095459282, 0.6306486726, -0.6774374843, 0.5554099679],
}


def test_nce_stays_finite_where_exponentials_do_not():
    logits = torch.tensor([[200.0, -200.0, 150.0]])
    assert nce(logits, torch.tensor(1.0), count=3).item() == pytest.approx(150 - math.log(2 / 3))


def test_a_bank_moves_the_images_asked_for_and_stays_on_the_sphere():
    bank = bank_of()
    before, new = bank.memory.clone(), F.normalize(wave(2, 6, phase=2.0), dim=1)
    bank.update(torch.tensor([4, 9]), new)
    for row, image in zip(new, (4, 9), strict=True):
        moved = [
            0.5 * a + 0.5 * b for a, b in zip(before[image].tolist(), row.tolist(), strict=True)
        ]
        norm = math.sqrt(sum(x * x for x in moved))
        assert bank.memory[image].tolist() == pytest.approx([x / norm for x in moved], abs=1e-6)
    rest = [i for i in range(20) if i not in (4, 9)]
    assert torch.equal(bank.memory[rest], before[rest])


def test_similarities_have_the_images_own_first():
    bank = bank_of()
    queries = wave(2, 6)
    drawn = torch.tensor([[0, 1, 1], [3, 19, 7]])
    found = bank.similarities(queries, torch.tensor([5, 6]), drawn)
    for row, query, places in zip(found, queries, ([5, 0, 1, 1], [6, 3, 19, 7]), strict=True):
        assert row.tolist() == pytest.approx(
            [float(query @ bank.memory[i]) for i in places], abs=1e-6
        )


def test_negatives_are_drawn_uniformly():
    drawn = bank_of().draw(torch.arange(4), 5000, torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 5000)
    shares = drawn.flatten().bincount(minlength=20) / 20_000
    torch.testing.assert_close(shares, torch.full((20,), 0.05), atol=0.006, rtol=0)


def test_the_constant_is_settled_on_the_first_batch_and_stays():
    partition = Partition()
    first = wave(3, 5)
    expected = 50 * sum(math.exp(x) for x in first.flatten().tolist()) / 15
    assert partition.settle(first, 50).item() == pytest.approx(expected, rel=1e-5)
    assert partition.settle(9 * first, 50).item() == pytest.approx(expected, rel=1e-5)
    assert partition.constant.item() == pytest.approx(expected, rel=1e-5)


def test_gradients_reach_queries_and_neither_bank_nor_constant():
    bank, partition = bank_of(), Partition()
    queries = wave(3, 6).requires_grad_(True)
    indices = torch.tensor([0, 1, 2])
    drawn = bank.draw(indices, 5, torch.Generator())
    logits = bank.similarities(queries, indices, drawn)
    nce(logits, partition.settle(logits, 20), count=20).backward()
    constant = float(partition.constant)
    logits = logits.detach()
    shares = logits.exp() / (logits.exp() + constant * 5 / 20)  # h
    shares[:, 0] -= 1
    columns = bank.memory[torch.cat([indices[:, None], drawn], dim=1)]
    torch.testing.assert_close(queries.grad, torch.einsum("bm,bmd->bd", shares, columns) / 3)


def test_proximity_is_the_mean_squared_distance():
    a, b = wave(5, 3), wave(5, 3, phase=2.0)
    expected = sum(math.dist(x, y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)) / 5
    assert proximity(a, b).item() == pytest.approx(expected, rel=1e-5)
