"""Optimisers: which parameters, at which rate; LARS against its formula."""

import pytest
import torch

from pauc_train.config import Config
from pauc_train.method import Rate, Training
from pauc_train.optim import Lars, make_optimizer, set_learning_rate


class Two(Training):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.encoder = torch.nn.Linear(3, 4)
        self.bank = torch.nn.Linear(4, 2, bias=False)
        self.frozen = torch.nn.Linear(2, 2).requires_grad_(False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))


def loss(model):
    return model.bank(model.encoder(torch.ones(5, 3))).square().mean()


def test_frozen_parameters_are_left_alone():
    held = [p for g in make_optimizer(Two(), Config()).param_groups for p in g["params"]]
    assert len(held) == 3


def test_parameters_with_rates_of_their_own():
    model = Two()
    model.rates = (Rate(prefix="bank", scale=-10.0, constant=True, decay=0.0),)
    config = Config(epochs=2, learning_rate=0.1, sgd_momentum=0.0)
    optimizer = make_optimizer(model, config)
    set_learning_rate(optimizer, config, 1.0)
    rates = {
        group["params"][0] is model.bank.weight: group["lr"] for group in optimizer.param_groups
    }
    assert rates == {True: 1.0, False: pytest.approx(0.05)}
    before = model.bank.weight.clone()
    loss(model).backward()
    slope = model.bank.weight.grad.clone()
    optimizer.step()
    torch.testing.assert_close(model.bank.weight, before + slope)  # it climbs, without decay


def test_lars_is_its_formula_for_matrices_and_sgd_for_vectors():
    model = Two()
    optimizer = Lars(
        [p for p in model.parameters() if p.requires_grad], lr=2.0, momentum=0.9, weight_decay=0.5
    )
    weight, bias = model.encoder.weight.detach().clone(), model.encoder.bias.detach().clone()
    speed_w, speed_b = torch.zeros_like(weight), torch.zeros_like(bias)
    for _ in range(3):
        optimizer.zero_grad()
        loss(model).backward()
        g, h = model.encoder.weight.grad.clone(), model.encoder.bias.grad.clone()
        g = g + 0.5 * weight
        speed_w = 0.9 * speed_w + 0.001 * weight.norm() / g.norm() * g
        speed_b = 0.9 * speed_b + h
        weight, bias = weight - 2.0 * speed_w, bias - 2.0 * speed_b
        optimizer.step()
        torch.testing.assert_close(model.encoder.weight.detach(), weight)
        torch.testing.assert_close(model.encoder.bias.detach(), bias)
    assert optimizer.param_groups[0]["weight_decay"] == 0.5
