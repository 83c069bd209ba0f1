"""AdCo: its loss, and two players who move against each other."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from pauc_train.methods.adco import adversarial
from pauc_train.optim import make_optimizer, set_learning_rate
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "adversaries": 30}


def slow_loss(query, key, bank, temperature):
    losses = []
    for place, q in enumerate(query.tolist()):
        columns = [*key.tolist(), *F.normalize(bank, dim=0).T.tolist()]
        cosines = [sum(a * b for a, b in zip(q, c, strict=True)) for c in columns]
        parts = [math.exp(cosine / temperature) for cosine in cosines]
        losses.append(-math.log(parts[place] / sum(parts)))
    return sum(losses) / len(losses)


def unit(x):
    return F.normalize(x, dim=1)


def symmetrical(queries, keys, bank, temperature):
    halves = [
        adversarial(q, k, q @ F.normalize(bank, dim=0), temperature=temperature)
        for q, k in zip(queries, keys, strict=True)
    ]
    return (halves[0] + halves[1]) / 2


def test_loss_and_gradient_are_those_of_the_authors():
    """Numbers: update_sym_network of maple-research-lab/AdCo (fd65f12), run on the same input."""
    outputs = [wave(12, 6, phase).requires_grad_(True) for phase in (0.0, 0.4)]
    keys = [unit(wave(12, 6, phase)) for phase in (1.7, 0.9)]
    bank = wave(24, 6, 2.2).T
    queries = [unit(x) for x in outputs]
    value = symmetrical(queries, keys, bank, 0.12)
    slow = [slow_loss(q, k, bank, 0.12) for q, k in zip(queries, keys, strict=True)]
    assert value.item() == pytest.approx(sum(slow) / 2, rel=1e-5)
    assert value.item() == pytest.approx(5.0902271, rel=1e-5)
    value.backward()
    theirs = [-0.06216237, -0.04061769, -0.00295635, 0.03453706, 0.05713152, 0.05664801]
    assert outputs[0].grad[0].tolist() == pytest.approx(theirs, abs=1e-6)


def test_two_steps_of_the_negatives_are_those_of_the_authors():
    """Numbers as above, with --memory_lr 3, --mem_t 0.02, --mem_wd 1e-4, momentum 0.9."""
    queries = [unit(wave(12, 6, phase)) for phase in (0.0, 0.4)]
    keys = [unit(wave(12, 6, phase)) for phase in (1.7, 0.9)]
    training = started("adco", embedding_dim=6, adversaries=24)
    bank = training.Memory_Bank
    with torch.no_grad():
        bank.W.copy_(wave(24, 6, 2.2).T)
    optimizer = make_optimizer(training, training.config)
    set_learning_rate(optimizer, training.config, 150)  # theirs follows no schedule
    squares = []
    for _ in range(2):
        optimizer.zero_grad()
        halves = [
            adversarial(q, k, bank(q), temperature=0.02) for q, k in zip(queries, keys, strict=True)
        ]
        ((halves[0] + halves[1]) / 2).backward()
        optimizer.step()
        squares.append(bank.W.square().sum().item())
    assert squares == pytest.approx([114.757126, 227.902893], rel=1e-4)
    theirs = [0.66239250, 0.32718959, -0.98320895, 0.63686812, 0.35874602, -0.98862636]
    assert bank.W[:, 5].tolist() == pytest.approx(theirs, abs=1e-5)


def test_loss_of_a_batch_has_a_temperature_for_each_player():
    training = started("adco", **SMALL)
    batch = batch_of(8, 8)
    fixed = copy.deepcopy(training)
    found = training(batch, torch.Generator())
    queries = [unit(fixed.encoder_q(view)) for view in batch.views]
    first, second = (unit(fixed.encoder_k(view)) for view in batch.views)
    pairs = list(zip(queries, (second, first), strict=True))
    for name, temperature in (("encoder", 0.12), ("adversaries", 0.02)):
        slow = [slow_loss(q, k, fixed.Memory_Bank.W, temperature) for q, k in pairs]
        assert found[name].value.item() == pytest.approx(sum(slow) / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("term", "player"), [("encoder", "encoder_q"), ("adversaries", "Memory_Bank")]
)
def test_each_term_moves_its_player_only(term, player):
    training = started("adco", **SMALL)
    training(batch_of(8, 8), torch.Generator())[term].value.backward()
    reached = {n.split(".")[0] for n, p in training.named_parameters() if p.grad is not None}
    assert reached == {player}


def test_the_encoder_descends_and_the_negatives_climb():
    training = started("adco", learning_rate=0.001, adversary_rate=0.001, **SMALL)
    optimizer = make_optimizer(training, training.config)
    batch = batch_of(8, 8)
    first = {name: term.value for name, term in training(batch, torch.Generator()).items()}
    first["adversaries"].backward()
    optimizer.step()
    climbed = training(batch, torch.Generator())["adversaries"].value
    assert climbed > first["adversaries"]
    optimizer.zero_grad()
    second = training(batch, torch.Generator())["encoder"].value
    second.backward()
    optimizer.step()
    assert training(batch, torch.Generator())["encoder"].value < second


def test_a_step_moves_query_encoder_and_negatives_and_the_key_encoder_in_the_next():
    training = started("adco", key_momentum=0.9, **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    name = "conv1.weight"
    start, first = before[f"encoder_k.{name}"], training.encoder_q.get_parameter(name).clone()
    torch.testing.assert_close(training.encoder_k.get_parameter(name), start)
    stepped(training, batch_of(8, 8))
    assert moved(before, training) == {"encoder_q", "encoder_k", "Memory_Bank"}
    torch.testing.assert_close(
        training.encoder_k.get_parameter(name), 0.9 * start + 0.1 * first, rtol=1e-5, atol=1e-7
    )
