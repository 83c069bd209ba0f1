"""Encoders of the user's own: a module or function, or the name of a function that makes one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from hashlib import sha256
from importlib import import_module
from inspect import getsourcefile
from pathlib import Path
from typing import Any

from torch import nn

from nemd_toolkit.checkpoints import State, shown
from nemd_toolkit.encoder_choice.awaiting import Awaiting, Rows
from nemd_toolkit.encoder_choice.libraries import quiet
from nemd_toolkit.encoder_choice.loading import LoadReport, load_into
from nemd_toolkit.errors import InputError

__all__ = ["callers_encoder", "imported_encoder"]


def callers_encoder(given: Rows) -> Awaiting:
    """Take a module, of which a copy gets the weights, or a function, which is used as it is."""
    if not isinstance(given, nn.Module):
        return Awaiting(
            described="a function of the caller's",
            version=None,
            module=None,
            load=lambda _: (given, LoadReport()),
        )
    module = deepcopy(given).eval()
    return Awaiting(
        described=f"the caller's {type(given).__name__}",
        version=None,
        module=module,
        load=partial(_load, module),
    )


def imported_encoder(spec: str) -> Awaiting:
    """Import `package.module`, call its `function`, which returns a module. This runs user's code.

    Modules in the current folder are found, too. Raises InputError, from the user's own exception,
    for whatever goes wrong.
    """
    path, _, name = spec.partition(":")
    with _current_folder(), quiet():
        make = _function(spec, path, name)
        try:
            module = make()
        except Exception as error:
            raise _failed(
                spec, f"one that fails when called without arguments ({_told(error)})"
            ) from error
    if not isinstance(module, nn.Module):
        raise _failed(spec, f"one that returns {type(module).__name__}")
    return Awaiting(
        described=spec,
        version=_digest(make),
        module=module.eval(),
        load=partial(_load, module),
    )


def _load(module: nn.Module, state: State) -> tuple[Rows, LoadReport]:
    return module, load_into(module, state)


def _function(spec: str, path: str, name: str) -> Callable[[], Any]:
    try:
        found = getattr(import_module(path), name, None)
    except Exception as error:
        raise _failed(spec, f"a module that cannot be imported ({_told(error)})") from error
    if not callable(found):
        raise _failed(spec, f"no function {shown(name)} in {shown(path)}")
    return found  # type: ignore[no-any-return]


def _failed(spec: str, got: str) -> InputError:
    return InputError(
        f"encoder: expected {shown(spec)} to be a function that returns a torch.nn.Module, got "
        f"{got}; write such a function, in a module that Python finds from here"
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {shown(error)}"


def _digest(make: Callable[[], Any]) -> str | None:
    """Tell one text of the function's file from another."""
    try:
        file = getsourcefile(make)
        return sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (TypeError, OSError):
        return None


@contextmanager
def _current_folder() -> Iterator[None]:
    """Let modules of the current folder be imported, behind all others."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
