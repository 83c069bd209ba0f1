"""NCE and softmax against the authors' figures and slow references; how a bank moves; Z."""

import math

import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.errors import InputError
from pauc_train.memory_bank import BankLoss, BankLossConfig, MemoryBank, nce
from pauc_train.methods.npid import proximity


def wave(*shape, phase=0.0):
    """Numbers that a formula gives: sin(1.7 i + phase), row after row."""
    return torch.sin(1.7 * torch.arange(math.prod(shape)) + phase).reshape(shape)


def settings(**changed):
    return BankLossConfig(embedding_dim=6, **{"bank_negatives": 8, **changed})


def bank_of(count=20, phase=0.3, **changed):
    bank = MemoryBank(count, settings(**changed), torch.Generator().manual_seed(0))
    bank.memory.copy_(F.normalize(wave(count, 6, phase=phase), dim=1))
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


INDICES, DRAWN = torch.tensor([2, 5, 11, 19]), (torch.arange(32).reshape(4, 8) * 7) % 20
# CMC's NCE/NCEAverage.py with NCECriterion.py (and with use_softmax), K=8, T=.07, momentum .5
AUTHORS = {
    "nce": (17.024791717529297, 14.60669994354248, 2794613.0, 4168264.0),
    "softmax": (15.971028327941895, 13.4927396774292, 0.0, 0.0),
}
SUMS = (
    (0.4095459282398224, 0.630648672580719, -0.6774374842643738, 0.5554099678993225),
    (-0.09607812762260437, 0.7522867918014526, -0.25059694051742554, 0.7567769289016724),
)


@pytest.mark.parametrize("objective", ["nce", "softmax"])
def test_losses_banks_and_constants_are_those_of_the_authors_code(objective):
    first, second = (F.normalize(wave(4, 6, phase=phase), dim=1) for phase in (1.0, 2.0))
    own, other = bank_of(phase=0.3), bank_of(phase=0.8)
    losses = [BankLoss(20, settings(objective=objective)) for _ in range(2)]
    values = [
        loss.of(bank.logits(queries, INDICES, DRAWN)).item()
        for loss, bank, queries in zip(losses, (other, own), (first, second), strict=True)
    ]
    found = [*values, *(loss.constant.item() for loss in losses)]
    assert found == pytest.approx(AUTHORS[objective], rel=1e-5)
    own.update(INDICES, first)
    other.update(INDICES, second)
    for bank, sums in zip((own, other), SUMS, strict=True):
        assert bank.memory.sum(1)[INDICES].tolist() == pytest.approx(sums, abs=1e-5)


def test_without_drawn_images_it_is_the_softmax_over_all():
    """NPID's Eq. 2, in loops over the whole bank."""
    bank = bank_of(bank_negatives=0, temperature=0.3)
    queries = F.normalize(wave(3, 6, phase=2.0), dim=1)
    indices = torch.tensor([19, 0, 7])
    drawn = bank.draw(indices, torch.Generator())
    for image, others in zip(indices.tolist(), drawn.tolist(), strict=True):
        assert sorted([image, *others]) == list(range(20))
    expected = 0.0
    for query, image in zip(queries, indices.tolist(), strict=True):
        powers = [math.exp(float(query @ vector) / 0.3) for vector in bank.memory]
        expected -= math.log(powers[image] / sum(powers)) / 3
    loss = BankLoss(20, settings(objective="softmax"))
    assert loss.of(bank.logits(queries, indices, drawn)).item() == pytest.approx(expected, rel=1e-5)


def test_nce_needs_drawn_images():
    with pytest.raises(InputError, match="bank_negatives: expected at least 1 .* objective=soft"):
        BankLoss(20, settings(bank_negatives=0))


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


@pytest.mark.parametrize("count", [30, 8])  # in the second as many as there are
def test_logits_have_the_images_own_first(count):
    bank = bank_of(count)
    queries = wave(2, 6)
    drawn = torch.tensor([[0, 1, 1, 2, 3, 4, 5, 6], [3, 7, 7, 0, 1, 2, 4, 5]])
    found = bank.logits(queries, torch.tensor([5, 6]), drawn)
    for row, query, own, others in zip(found, queries, (5, 6), drawn.tolist(), strict=True):
        expected = [float(query @ bank.memory[i]) / 0.07 for i in (own, *others)]
        assert row.tolist() == pytest.approx(expected, abs=1e-5)


def test_negatives_are_drawn_uniformly():
    bank = bank_of(bank_negatives=5000)
    drawn = bank.draw(torch.arange(4), torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 5000)
    shares = drawn.flatten().bincount(minlength=20) / 20_000
    torch.testing.assert_close(shares, torch.full((20,), 0.05), atol=0.006, rtol=0)


def test_the_constant_is_settled_on_the_first_batch_and_stays():
    loss = BankLoss(50, settings())
    first = wave(3, 5)
    expected = 50 * sum(math.exp(x) for x in first.flatten().tolist()) / 15
    for logits in (first, 9 * first):
        value = loss.of(logits)
        assert loss.constant.item() == pytest.approx(expected, rel=1e-5)
        assert value.item() == pytest.approx(slow_nce(logits, expected, 50), rel=1e-5)


def test_gradients_reach_queries_and_neither_bank_nor_constant():
    bank, loss = bank_of(bank_negatives=5, temperature=1.0), BankLoss(20, settings())
    queries = wave(3, 6).requires_grad_(True)
    indices = torch.tensor([0, 1, 2])
    drawn = bank.draw(indices, torch.Generator())
    logits = bank.logits(queries, indices, drawn)
    loss.of(logits).backward()
    shares = logits.detach().exp()
    shares = shares / (shares + float(loss.constant) * 5 / 20)  # h
    shares[:, 0] -= 1
    columns = bank.memory[torch.cat([indices[:, None], drawn], dim=1)]
    torch.testing.assert_close(queries.grad, torch.einsum("bm,bmd->bd", shares, columns) / 3)


def test_proximity_is_the_mean_squared_distance():
    a, b = wave(5, 3), wave(5, 3, phase=2.0)
    expected = sum(math.dist(x, y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)) / 5
    assert proximity(a, b).item() == pytest.approx(expected, rel=1e-5)
