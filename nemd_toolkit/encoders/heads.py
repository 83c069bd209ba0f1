"""Heads on top of a backbone, built from the names and shapes that nn.Sequential left in a file."""

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from nemd_toolkit.errors import InputError

__all__ = ["head_from_state_dict"]

_NUMBERED = re.compile(r"(\d{1,4})\.(.+)")
_MOST_MODULES = 64
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def head_from_state_dict(
    state: Mapping[str, Tensor], activation: Literal["relu", "gelu"] = "relu"
) -> nn.Sequential:
    """Build the MLP that these names and shapes describe: (b, d) to (b, e), not normalised.

    Names are those of nn.Sequential (`0.weight`, `1.running_mean` …) or of one Linear (`weight`,
    `bias`). Matrices are Linear layers, with or without bias; what has running statistics is
    BatchNorm1d, with or without weights of its own; other vectors are LayerNorm. A number that is
    missing stands for the activation; one after the last number cannot be seen, and none is added.
    Raises InputError for anything else.

    >>> state = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).state_dict()
    >>> head_from_state_dict(state)(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    """
    if "weight" in state and state["weight"].ndim == 2:
        state = {f"0.{name}": value for name, value in state.items()}
    found = _by_number(state)
    last = max(found)
    modules = []
    with torch.device("meta"):  # shapes only: a false width in a stranger's file takes no memory
        for number in range(last + 1):
            parts = found.get(number)
            modules.append(_module(parts) if parts else _ACTIVATIONS[activation]())
    head = nn.Sequential(*modules)
    # PyTorch's counts of batches are missing in converted files, and play no part here
    counts = {name: torch.tensor(0) for name in head.state_dict() if name.endswith("_tracked")}
    try:
        head.load_state_dict({**counts, **state}, strict=True, assign=True)
    except RuntimeError as error:
        detail = re.sub(r"\s+", " ", str(error)).strip()
        raise InputError(
            f"head: expected linear and norm layers in a row, got others ({detail[:200]}); "
            "use the backbone"
        ) from None
    return head.float().eval()


def _by_number(state: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        match = _NUMBERED.fullmatch(name)
        if match is None or int(match[1]) >= _MOST_MODULES:
            raise InputError(
                f"head: expected names as nn.Sequential gives, such as 0.weight, got {name!r}; "
                "use the backbone"
            )
        found.setdefault(int(match[1]), {})[match[2]] = value
    if not found:
        raise InputError("head: expected at least one layer, got none; use the backbone")
    return found


def _module(parts: Mapping[str, Tensor]) -> nn.Module:
    weight = parts.get("weight")
    if "running_mean" in parts:
        return nn.BatchNorm1d(parts["running_mean"].numel(), affine=weight is not None)
    if weight is None or weight.ndim not in (1, 2):
        raise InputError(
            f"head: expected a matrix or vector as weight, got {', '.join(parts)}; use the backbone"
        )
    if weight.ndim == 1:
        return nn.LayerNorm(len(weight))
    return nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in parts)
