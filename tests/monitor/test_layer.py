"""A layer's outputs are read without changing the model."""

import pytest
import torch
from torch import nn

from nemd_toolkit.errors import InputError
from nemd_toolkit.monitor import LayerOutputs


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU())


def test_the_first_output_inside_is_taken_and_no_other(model):
    outputs = LayerOutputs(model, "0")
    model(torch.ones(2, 3))
    assert outputs.rows is None
    with outputs.taken():
        wanted = model[0](torch.ones(5, 3))
        model(torch.zeros(5, 3))
    assert torch.equal(outputs.rows, wanted)
    model(torch.zeros(2, 3))
    assert len(outputs.rows) == 5
    outputs.start()
    assert outputs.stop() is None


def test_gradients_are_as_without_it(model):
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    found = []
    for watched in (False, True):
        outputs = LayerOutputs(model, "0") if watched else None
        model.zero_grad()
        if outputs:
            outputs.start()
        model(x).square().sum().backward()
        found.append(model[0].weight.grad.clone())
    assert torch.equal(*found)
    outputs.remove()
    assert not model[0]._forward_hooks


def test_read_makes_rows_of_other_outputs(model):
    outputs = LayerOutputs(model, "1", read=lambda y: y[:, :2])
    with outputs.taken():
        model(torch.ones(5, 3))
    assert outputs.rows.shape == (5, 2)


def test_a_layer_that_is_not_there_and_outputs_that_are_no_rows_are_refused(model):
    with pytest.raises(InputError, match="on top there are 0, 1"):
        LayerOutputs(model, "head")
    outputs = LayerOutputs(model, "0")
    with outputs.taken(), pytest.raises(InputError, match=r"got \(2, 5, 4\); give read="):
        model(torch.ones(2, 5, 3))
