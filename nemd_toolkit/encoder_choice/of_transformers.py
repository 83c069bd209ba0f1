"""Vision models of Hugging Face transformers, by a folder with config.json; nothing is fetched.

A file's names may be older than the library's: it translates them itself when it loads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nemd_toolkit.checkpoints import State, shown
from nemd_toolkit.encoder_choice.awaiting import Awaiting, Rows
from nemd_toolkit.encoder_choice.libraries import imported, quiet
from nemd_toolkit.encoder_choice.loading import LoadReport, report_of
from nemd_toolkit.errors import InputError

__all__ = ["transformers_encoder"]

_MOST_TIMES = 10  # as large as the checkpoint; a stranger's config.json may ask for anything


def transformers_encoder(folder: str, state: State) -> Awaiting:
    """Build the model that a folder's config.json describes, of about the size of `state`.

    Raises InputError for folders without a configuration of a vision model.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(
            f"encoder: expected a folder with config.json, got {folder}; name the folder that "
            "save_pretrained wrote"
        )
    transformers = imported("transformers")
    with _silent(transformers):
        config = _config(transformers, folder, state)
        try:
            with torch.device("meta"):
                model = transformers.AutoModel.from_config(config, trust_remote_code=False)
        except Exception as error:
            raise _no_model(folder, error) from error
    if model.main_input_name != "pixel_values":
        raise InputError(
            f"encoder: expected the config.json of a model that takes images, got "
            f"{type(model).__name__} in {folder}; name the folder of the vision model"
        )
    size, held = (sum(v.numel() for v in part.values()) for part in (model.state_dict(), state))
    if size > _MOST_TIMES * held:
        raise InputError(
            f"encoder: expected a model about as large as the checkpoint ({held:,} numbers), got "
            f"one of {size:,} in {folder}; name the folder that belongs to these weights"
        )
    digest = sha256(path.read_bytes()).hexdigest()
    return Awaiting(
        described=f"transformers:{folder}",
        version=f"{transformers.__version__} {digest}",
        module=model,
        load=partial(_load, transformers, type(model), config),
    )


class _Pooled(nn.Module):
    """One row for each image, as the model's family means it.

    That is the pooler's output, which is the mean, a norm or attention in most families. ViT's and
    DeiT's dense pooler is seldom trained, so there, and without pooler, it is the class token.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        if _dense(model):
            model.pooler = None  # type: ignore[assignment]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        found = self.model(pixel_values=x)
        pooled: Tensor | None = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        last: Tensor = found.last_hidden_state
        return last[:, 0] if last.ndim == 3 else last.flatten(2).mean(2)


def _dense(model: nn.Module) -> bool:
    return hasattr(getattr(model, "pooler", None), "dense")


def _config(transformers: Any, folder: str, state: State) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        layers = max(getattr(config, "num_hidden_layers", 0), sum(getattr(config, "depths", ())))
    except Exception as error:
        raise _no_model(folder, error) from error
    if layers > len(state):
        raise InputError(
            f"encoder: expected no more layers than the checkpoint has tensors ({len(state):,}), "
            f"got {layers:,} in {folder}; name the folder that belongs to these weights"
        )
    config.torch_dtype = torch.float32
    if hasattr(config, "mask_ratio"):  # MAE's encoder leaves out random patches
        config.mask_ratio = 0.0
    return config


def _load(transformers: Any, kind: Any, config: Any, state: State) -> tuple[Rows, LoadReport]:
    with _silent(transformers):
        try:
            model, told = kind.from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, with both shapes
                local_files_only=True,
            )
        except Exception as error:
            raise _no_model("its folder", error) from error
    for name, held, own in sorted(told["mismatched_keys"], key=str):
        raise InputError(
            f"encoder: expected {shown(name)} of shape {tuple(own)} as in the encoder, got "
            f"{tuple(held)} in the checkpoint; choose the encoder that these weights were trained "
            "with"
        )
    useless = ("pooler.",) if _dense(model) else ()
    report = report_of(model, state, told["missing_keys"], told["unexpected_keys"], useless)
    return _Pooled(model).float(), report


def _no_model(folder: str, error: Exception) -> InputError:
    return InputError(
        f"encoder: expected a config.json that transformers can build a model from, got another in "
        f"{folder} ({type(error).__name__}: {shown(error)}); name the folder of a vision model"
    )


@contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """Leave it to our report to say what was loaded."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
