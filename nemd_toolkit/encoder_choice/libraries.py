"""Importing an optional library, or saying in one sentence how to get it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.errors import InputError

__all__ = ["imported", "quiet", "unknown_name"]


def imported(name: str) -> Any:
    """Import a library. Raises InputError, naming the extra, where it is missing or broken.

    >>> imported("nothing_of_this_name")
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: encoder: expected nothing_of_this_name to be installed, got \
none; run pip install 'nemd-toolkit[nothing_of_this_name]'
    """
    try:
        with quiet():
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, None):
            raise _broken(name, error) from None
        raise InputError(
            f"encoder: expected {name} to be installed, got none; run pip install "
            f"'nemd-toolkit[{name}]'"
        ) from None
    # AttributeError: the second try after a failed one
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise _broken(name, error) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep libraries' warnings, and the state of torch's random numbers, away from the caller.

    Inside, random weights are the same every time.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


def unknown_name(library: str, name: str, near: list[str]) -> InputError:
    """Make the error for a model that the library does not know."""
    such = f" such as {', '.join(near)}" if near else ""
    return InputError(
        f"encoder: expected a model of {library}{such}, got {shown(name)}; choose one that "
        f"{library} {version(library)} lists"
    )


def _broken(name: str, error: Exception) -> InputError:
    if "torchvision" in str(error):  # such as: operator torchvision::nms does not exist
        needs = "" if name == "torchvision" else f", which {name} needs"
        return InputError(
            f"encoder: expected a torchvision built for torch {torch.__version__}{needs}, got one "
            f"that does not import ({shown(error)}); install torch and torchvision together, from "
            f"the same place, with pip install 'nemd-toolkit[{name}]'"
        )
    return InputError(
        f"encoder: expected {name} to import, got {type(error).__name__} ({shown(error)}); "
        f"run pip install 'nemd-toolkit[{name}]'"
    )
