"""From the names that a repository gives its modules to torchvision's and to numbers."""

from collections.abc import Callable, Mapping

import torch

from nemd_toolkit.checkpoints.layouts.parts import State
from nemd_toolkit.checkpoints.layouts.plain import resnet_names

__all__ = ["normed_linear", "numbered_resnet", "only_resnet", "relabelled"]


def relabelled(names: Mapping[str, str]) -> Callable[[State], State]:
    """Make a function that gives the first word of each name another one.

    >>> one = torch.ones(1)
    >>> list(relabelled({"l1": "0", "l2": "3"})({"l1.weight": one, "l2.bias": one, "2": one}))
    ['0.weight', '3.bias', '2']
    """

    def relabel(state: State) -> State:
        words = {key: key.partition(".") for key in state}
        return {names.get(w[0], w[0]) + w[1] + w[2]: state[key] for key, w in words.items()}

    return relabel


def numbered_resnet(first_stage: int) -> Callable[[State], State]:
    """Make a function for a ResNet whose children stand in a Sequential: 0 conv1, 1 bn1, ….

    >>> one = torch.ones(1)
    >>> list(numbered_resnet(4)({"0.weight": one, "4.0.bn1.bias": one, "7.1.conv1.weight": one}))
    ['conv1.weight', 'layer1.0.bn1.bias', 'layer4.1.conv1.weight']
    """
    stages = {str(first_stage + stage): f"layer{stage + 1}" for stage in range(4)}
    return relabelled({"0": "conv1", "1": "bn1", **stages})


def only_resnet(state: State) -> State:
    """Drop a ResNet's unused `fc`; leave names of other networks as they are.

    >>> one = torch.ones(1)
    >>> list(only_resnet({"conv1.weight": one, "fc.weight": one})), list(only_resnet({"a": one}))
    (['conv1.weight'], ['a'])
    """
    return resnet_names(state) if "conv1.weight" in state else state


def normed_linear(state: State) -> State:
    """Bring CLD's last layer to a plain linear one.

    Its NormLinear compares directions: columns of `weight` (d x k) are brought to length 1, and it
    has no bias. The length of its input does not matter, since its output is brought to length 1.

    >>> normed_linear({"weight": torch.tensor([[3.0], [4.0]])})
    {'weight': tensor([[0.6000, 0.8000]])}
    >>> list(normed_linear({"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2)}))
    ['0.weight', '0.bias']
    """
    weights = [key for key in state if key.rpartition(".")[2] == "weight"]
    if not weights:
        return state
    last = max(weights, key=lambda key: int(key.partition(".")[0]) if "." in key else 0)
    if f"{last.removesuffix('weight')}bias" in state or state[last].ndim != 2:
        return state
    return {**state, last: torch.nn.functional.normalize(state[last].float(), dim=0).T}
