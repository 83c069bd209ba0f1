"""All tensors of a file under one name each, whatever they were wrapped in."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nemd_toolkit.checkpoints.stubs import Stub

__all__ = ["appended", "below", "tensors"]

# The one of these at the top that holds tensors is the model, and its name is left out.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
# What optimisers, schedulers and loggers keep is no part of a model.
_TRAINING = {
    *("optimizer", "optimizers", "optimizer_states", "opt_state", "optimizer_state_dict"),
    *("scheduler", "lr_scheduler", "lr_schedulers", "scaler", "fp16_scaler", "amp"),
    *("callbacks", "loops", "rng_state", "args", "opt", "hyper_parameters"),
}
# DistributedDataParallel and torch.compile wrap modules; module objects sort what they hold.
_SKIPPED = {"module", "_orig_mod", "_parameters", "_buffers", "_modules"}
_DEEPEST = 64
_NUMBER = re.compile(r"[0-9]+\.")


def tensors(data: Any) -> dict[str, Tensor]:
    """Tensors by dotted name: mappings, lists and pickled modules unfolded, wrappers left out.

    >>> import torch
    >>> one = torch.ones(1)
    >>> list(tensors({"epoch": 3, "state_dict": {"module.encoder_q.conv1.weight": one}}))
    ['encoder_q.conv1.weight']
    >>> list(tensors({"student": {"module.head.bias": one}, "optimizer": {"0": one}}))
    ['student.head.bias']
    """
    if not isinstance(data, Mapping):
        return _unfolded(data)
    for name in _WRAPPERS:
        inside = _unfolded(data[name]) if name in data else {}
        if inside:
            rest = _unfolded({key: value for key, value in data.items() if key != name})
            return rest | inside
    return _unfolded(data)


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Entries whose name starts with the prefix, without it.

    >>> import torch
    >>> below({"head.bias": torch.ones(1), "body.bias": torch.zeros(1)}, "head.")
    {'bias': tensor([1.])}
    """
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def appended(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two numbered modules as one, with a gap between them, where an activation stands.

    >>> import torch
    >>> one = torch.ones(1)
    >>> list(appended({"0.weight": one, "1.weight": one}, {"0.bias": one}))
    ['0.weight', '1.weight', '3.bias']
    >>> list(appended({"weight": one}, {"weight": one, "bias": one}))
    ['0.weight', '2.weight', '2.bias']
    """
    if not (first and second):
        return {**first, **second}
    first = first if _numbered(first) else {f"0.{key}": value for key, value in first.items()}
    second = second if _numbered(second) else {f"0.{key}": value for key, value in second.items()}
    shift = max(int(key.partition(".")[0]) for key in first if _NUMBER.match(key)) + 2
    words = {key: key.partition(".") for key in second}
    shifted = {
        f"{int(number) + shift}.{rest}" if _NUMBER.match(key) else key: second[key]
        for key, (number, _, rest) in words.items()
    }
    return {**first, **shifted}


def _numbered(state: Mapping[str, Tensor]) -> bool:
    return any(_NUMBER.match(key) for key in state)


def _unfolded(data: Any) -> dict[str, Tensor]:
    """Walk what is held, each container once: a file may hold itself, or one list many times."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    left: list[tuple[tuple[str, ...], Any]] = [((), data)]
    while left:
        path, value = left.pop()
        if isinstance(value, Tensor):
            found[".".join(path)] = value
        elif id(value) not in seen and len(path) <= _DEEPEST:
            inside = _inside(value, top=not path)
            if inside:
                seen.add(id(value))
            left += [((*path, *words), inner) for words, inner in reversed(inside)]
    return found


def _inside(value: Any, *, top: bool) -> list[tuple[list[str], Any]]:
    """Entries of a container, each with the words that it adds to the name."""
    if isinstance(value, Stub):
        value = value.attributes
    if isinstance(value, list | tuple):
        return [([str(number)], inner) for number, inner in enumerate(value)]
    if not isinstance(value, Mapping):
        return []
    return [
        ([word for word in str(key).split(".") if word not in _SKIPPED], inner)
        for key, inner in value.items()
        if isinstance(key, str | int) and not (top and key in _TRAINING)
    ]
