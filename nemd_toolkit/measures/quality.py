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

__all__ = ["knn_accuracy", "linear_probe_accuracy", "linear_probe_scores"]

_BLOCK = 16_777_216  # entries of one block of similarities: 64 MB in float32
_MOST_ROWS = 200_000  # of L-BFGS, which goes over all rows hundreds of times
_SGD_EPOCHS, _SGD_BATCH, _SGD_RATE = 30, 256, 0.1
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
    *,
    top: int = 1,
) -> float:
    """Share of test rows whose class is among the `top` highest of a linear probe, in [0, 1].

    The probe is `linear_probe_scores`. Raises InputError if the training set has fewer than two
    classes, is empty, or has labels of another length.

    >>> train = torch.tensor([[-1.0], [1.0]])
    >>> linear_probe_accuracy(train, np.array([0, 1]), torch.tensor([[2.0]]), np.array([1]))
    1.0
    """
    wanted = _labels(test, test_labels)
    scores, classes = linear_probe_scores(train, train_labels, test)
    best = classes[scores.topk(min(top, len(classes)), dim=1).indices]
    return float((best == wanted[:, None]).any(1).double().mean())


def linear_probe_scores(
    train: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " n"] | NDArray[np.integer],
    test: Float[Tensor, "m d"],
) -> tuple[Float[Tensor, "m c"], Int[Tensor, " c"]]:
    """Logits of logistic regression on standardised features, and the classes they are of.

    Up to 200,000 rows L-BFGS with scikit-learn's default penalty (C=1); for more, SGD over random
    batches with the same penalty, 30 epochs, a fixed seed. Raises InputError as
    `linear_probe_accuracy`.

    >>> train = torch.tensor([[-1.0], [1.0]])
    >>> linear_probe_scores(train, np.array([3, 5]), torch.tensor([[2.0]]))[1]
    tensor([3, 5])
    """
    known = _labels(train, train_labels)
    classes, target = known.unique(return_inverse=True)
    if len(classes) < 2:
        raise InputError("linear probe: expected at least two classes, got one; give more labels")
    if len(train) > _MOST_ROWS:
        return _by_sgd(train, target, test, len(classes)), classes
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_PROBE_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(train.double().numpy(), target.numpy())
    logits = torch.from_numpy(probe.decision_function(test.double().numpy()))
    return (torch.stack([-logits, logits], dim=1) if logits.ndim == 1 else logits), classes


def _by_sgd(train: Tensor, target: Tensor, test: Tensor, classes: int) -> Tensor:
    """Logistic regression by SGD with momentum, half a cosine of rates, C=1 as in scikit-learn."""
    mean, spread = train.mean(0), train.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    generator = torch.Generator().manual_seed(0)
    weight = torch.zeros(classes, train.shape[1], requires_grad=True, dtype=train.dtype)
    bias = torch.zeros(classes, requires_grad=True, dtype=train.dtype)
    groups: list[dict[str, object]] = [
        {"params": [weight], "weight_decay": 1 / len(train)},
        {"params": [bias]},
    ]
    # no steeper than the loss bends: its Hessian is at most half the features' correlation
    bend = 0.5 * float(torch.linalg.eigvalsh(torch.corrcoef(train.T).nan_to_num())[-1])
    rate = min(_SGD_RATE, 1.0 / max(bend, 1e-12))
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    steps = _SGD_EPOCHS * -(-len(train) // _SGD_BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(_SGD_EPOCHS):
        for part in torch.randperm(len(train), generator=generator).split(_SGD_BATCH):
            rows = (train[part] - mean) / spread
            optimizer.zero_grad()
            F.cross_entropy(rows @ weight.T + bias, target[part]).backward()
            optimizer.step()
            schedule.step()
    return (((test - mean) / spread) @ weight.T + bias).detach()


def _labels(rows: Tensor, labels: Tensor | NDArray[np.integer]) -> Tensor:
    column = torch.as_tensor(labels).long()
    if len(rows) < 1 or len(column) != len(rows) or int(column.min()) < 0:
        raise InputError(
            f"labels: expected one class number from 0 for each of {len(rows)} rows (at least 1), "
            f"got {len(column)}; give rows and labels of one set"
        )
    return column
