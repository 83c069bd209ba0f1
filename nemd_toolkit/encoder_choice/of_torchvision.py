"""Classifiers of torchvision, by name, without pretrained weights and without their last layer."""

from difflib import get_close_matches
from functools import partial

from torch import nn

from nemd_toolkit.checkpoints import State
from nemd_toolkit.encoder_choice.awaiting import Awaiting, Rows
from nemd_toolkit.encoder_choice.libraries import imported, quiet, unknown_name
from nemd_toolkit.encoder_choice.loading import LoadReport, load_into
from nemd_toolkit.errors import InputError

__all__ = ["torchvision_encoder"]


def torchvision_encoder(name: str) -> Awaiting:
    """Build a classifier of torchvision, whose last linear layer is replaced by the identity.

    Raises InputError for unknown names, and for classifiers that end otherwise (SqueezeNet).
    """
    torchvision = imported("torchvision")
    models = torchvision.models
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("torchvision", name, get_close_matches(name, known))
    with quiet():
        module: nn.Module = models.get_model(name, weights=None)
    head = [path for path, part in module.named_modules() if not list(part.children())][-1]
    if not isinstance(module.get_submodule(head), nn.Linear):
        raise InputError(
            f"encoder: expected a classifier that ends in a linear layer, got torchvision:{name}; "
            "write a function that returns the encoder, and give module:function"
        )
    module.set_submodule(head, nn.Identity())
    return Awaiting(
        described=f"torchvision:{name}",
        version=torchvision.__version__,
        module=module,
        load=partial(_load, module, f"{head}."),
    )


def _load(module: nn.Module, head: str, state: State) -> tuple[Rows, LoadReport]:
    return module, load_into(module, state, ignored=(head,))
