"""How well frozen features tell classes apart: weighted kNN and a linear probe.

Sources: Wu et al. 2018 (NPID) for the kNN and its k and temperature (they use k=200; k=20 is
DINO's choice and fits small sets).
"""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["knn_accuracy", "linear_probe_accuracy"]

_BLOCK = 16_777_216  # entries of one block of similarities: 64 MB in float32
_PROBE_ITERATIONS = 300  # of L-BFGS; an accuracy moves little long before it converges


def knn_accuracy(
    train: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " n"] | NDArray[np.integer],
    test: Float[Tensor, "m d"],
    test_labels: Int[Tensor, " m"] | NDArray[np.integer],
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Share of test rows whose class wins among their k nearest by cosine, in [0, 1].

    Each neighbour votes with exp(cosine / temperature). Rows are normalised here; a row of zeros
    has cosine 0 with every other. With fewer than k training rows all of them vote. Raises
    InputError for empty sets and labels of another length.

    >>> train = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> knn_accuracy(train, torch.tensor([0, 1]), torch.tensor([[3.0, 1.0]]), torch.tensor([0]))
    1.0
    """
    known, wanted = _labels(train, train_labels), _labels(test, test_labels)
    classes = int(max(known.max(), wanted.max())) + 1
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    right = 0
    rows = max(1, _BLOCK // len(train))
    for block, answers in zip(test.split(rows), wanted.split(rows), strict=True):
        near = (block @ train.T).topk(min(k, len(train)), dim=1)  # (rows, k)
        # less the largest similarity: the winner is the same, and exp cannot overflow
        weights = ((near.values - near.values[:, :1]) / temperature).exp()
        votes = torch.zeros(len(block), classes, dtype=weights.dtype)
        votes.scatter_add_(1, known[near.indices], weights)
        right += int((votes.argmax(1) == answers).sum())
    return right / len(test)


def linear_probe_accuracy(
    train: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " n"] | NDArray[np.integer],
    test: Float[Tensor, "m d"],
    test_labels: Int[Tensor, " m"] | NDArray[np.integer],
) -> float:
    """Share of test rows that logistic regression on standardised features gets right.

    scikit-learn's default regularisation (C=1). Raises InputError if the training set has fewer
    than two classes, is empty, or has labels of another length.

    >>> train = torch.tensor([[-1.0], [1.0]])
    >>> linear_probe_accuracy(train, np.array([0, 1]), torch.tensor([[2.0]]), np.array([1]))
    1.0
    """
    known, wanted = _labels(train, train_labels), _labels(test, test_labels)
    if len(known.unique()) < 2:
        raise InputError("linear probe: expected at least two classes, got one; give more labels")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_PROBE_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(train.double().numpy(), known.numpy())
    return float(probe.score(test.double().numpy(), wanted.numpy()))


def _labels(rows: Tensor, labels: Tensor | NDArray[np.integer]) -> Tensor:
    column = torch.as_tensor(labels).long()
    if len(rows) < 1 or len(column) != len(rows) or int(column.min()) < 0:
        raise InputError(
            f"labels: expected one class number from 0 for each of {len(rows)} rows (at least 1), "
            f"got {len(column)}; give rows and labels of one set"
        )
    return column
