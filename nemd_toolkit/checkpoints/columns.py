"""Telling a file of embeddings from a file of weights."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nemd_toolkit.checkpoints.content import Content

__all__ = ["embedding_columns"]

_VECTORS = ("vectors", "embeddings")
_COLUMNS = ("labels", "groups", "ids")


def embedding_columns(content: Content) -> dict[str, Any] | None:
    """Give vectors, labels, groups and ids, as far as present; None if it holds no embeddings.

    Embeddings are a bare (n, d) tensor, or one under `vectors` or `embeddings`.

    >>> import torch
    >>> from pathlib import Path
    >>> content = Content(path=Path("a.pt"), data={"embeddings": torch.ones(2, 3), "epoch": 1})
    >>> list(embedding_columns(content))
    ['vectors']
    """
    data = content.data
    if _is_matrix(data):
        return {"vectors": data}
    if not isinstance(data, Mapping):
        return None
    for name in _VECTORS:
        if _is_matrix(data.get(name)):
            columns = {column: data[column] for column in _COLUMNS if data.get(column) is not None}
            return {"vectors": data[name], **columns}
    return None


def _is_matrix(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2
