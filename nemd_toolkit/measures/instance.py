"""Alignment, uniformity and correlation of single embeddings and of prototypes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import hyp0f1
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.formulas import align, p_align, p_corr, uniform
from nemd_toolkit.measures.neighbours import nearest_others, one_of_each_group
from nemd_toolkit.prototypes import Prototypes
from nemd_toolkit.row_sums import sum_over_rows
from nemd_toolkit.scratch import block_rows, rows_at
from nemd_toolkit.sphere import resultant

__all__ = [
    "Instance",
    "PrototypeGeometry",
    "all_pairs_p_uniform",
    "instance_corr",
    "koleo",
    "measure_instance",
    "measure_prototypes",
    "uniformity_of_noise",
]

ROWS = 4_096  # rows that uniformity and KoLeo are taken over, at most: pairs grow as the square
KOLEO_EPSILON = 1e-8  # added to distances; as in DINOv2
_ROWS, _COLUMNS = 128, 1_024  # cosines of prototypes that a thread has at a time: 1 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Wang & Isola's two numbers, p-corr and KoLeo on single embeddings, and the common offset."""

    align: float | None  # E‖x−y‖² over views of one sample, in [0, 4]; None without groups
    uniform: float  # log E exp(−2‖x−y‖²), in [−8, 0]; lower is more uniform
    uniform_rows: int  # rows that uniformity was taken over
    corr: float | None  # the poster's p-corr on rows (ours), in [−28.3, 0]; None for one row
    koleo: float | None  # in [−log 2, 18.42]; lower is more spread; None for one sample
    koleo_rows: int  # rows that KoLeo was taken over: one of each group of views
    mean_cosine: float  # over distinct pairs, in [−1/(N−1), 1]
    resultant: float  # length of the mean row, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrototypeGeometry:
    """The poster's three terms and KoLeo on prototypes' mean directions; None if undefined."""

    align: float
    align_positives: Literal["views", "members"]  # what `align` compared, see measure_prototypes
    uniform: float | None  # E exp(−2‖c_p−c_q‖²), in (0, 1]; lower is more uniform
    corr: float | None  # −E KL(c_p‖c_q) at softmax temperature 0.1, ≤ 0; lower is more different
    koleo: float | None  # in [−log 2, 18.42]; lower is more spread, high where prototypes repeat


def measure_instance(embeddings: Embeddings, *, seed: int = 0) -> Instance:
    """Measure single embeddings.

    Alignment and uniformity are Wang & Isola's Eqs. 5 and 6, see `formulas`; KoLeo and uniformity
    are taken over at most 4,096 random rows, alignment, correlation, mean cosine and resultant over
    all. Uniform rows have a resultant of about 1/√N and a mean cosine of 0.

    >>> e = Embeddings([[1.0, 0.0], [-1.0, 0.0]], groups=[0, 0])
    >>> found = measure_instance(e)
    >>> found.align, found.uniform, found.mean_cosine
    (4.0, -8.0, -1.0)
    """
    points = embeddings.vectors
    n = len(points)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(n, generator=generator)[:ROWS]
    samples = one_of_each_group(embeddings)
    samples = samples[torch.randperm(len(samples), generator=generator)[:ROWS]]
    views = _view_pairs(embeddings)
    return Instance(
        align=None if views is None else _align(points, views),
        uniform=min(0.0, float(uniform(rows_at(points, rows).double()))) if n > 1 else 0.0,
        uniform_rows=len(rows),
        corr=instance_corr(points) if n > 1 else None,
        koleo=koleo(rows_at(points, samples)) if len(samples) > 1 else None,
        koleo_rows=len(samples),
        mean_cosine=_mean_cosine(points),
        resultant=resultant(points),
    )


def measure_prototypes(prototypes: Prototypes) -> PrototypeGeometry:
    """Measure p-align, p-uniform and p-corr of one clustering.

    With groups, p-align compares each prototype's mean directions in the first and in the second
    views ("views"). Without, it is E‖v_i − c_s(i)‖² of members to their prototype ("members").
    """
    directions = prototypes.mean_directions()
    several = len(directions) > 1
    alignment, positives = _prototype_align(prototypes, directions)
    return PrototypeGeometry(
        align=alignment,
        align_positives=positives,
        uniform=all_pairs_p_uniform(directions) if several else None,
        corr=min(0.0, float(p_corr(directions))) if several else None,
        koleo=koleo(directions) if several else None,
    )


def uniformity_of_noise(dim: int) -> float:
    """Uniformity of the uniform law on the sphere of R^dim, −4 + log 0F1(dim/2; 4).

    The mean of exp(4 cos) over the sphere is 0F1(d/2; 4) (von Mises–Fisher's constant at κ = 4,
    Mardia & Jupp 2000, Eq. 9.3.4). From −1.58 for a circle down to −4 for large dim.

    >>> uniformity_of_noise(2), uniformity_of_noise(512)
    (-1.5750, -3.9844)
    """
    return -4.0 + float(np.log(hyp0f1(dim / 2, 4.0)))


def koleo(points: Float[Tensor, "n d"]) -> float:
    """−E log(min_j≠i ‖x_i − x_j‖ + ε) of unit rows: how close nearest neighbours are.

    Kozachenko & Leonenko's entropy, negative and without its constants (Sablayrolles et al. 2018;
    ε = 1e-8 as in DINOv2). −log 2 for two poles, 18.42 where every row repeats another; more rows
    lie closer, so compare at equal n. Raises InputError for fewer than two rows.

    >>> koleo(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    -0.6931
    """
    squares = nearest_others(points, torch.arange(len(points)), k=1).squares
    return float(-(squares.sqrt() + KOLEO_EPSILON).log().mean())


def instance_corr(points: Float[Tensor, "n d"], *, temperature: float = 0.1) -> float:
    """Take the poster's p-corr over single embeddings in place of prototypes; that is ours.

    −E Σ s(x) log(s(x)/s(y)) = −E KL(s(x)‖s(y)), s = softmax(· / temperature), over all ordered
    pairs of distinct rows: `formulas.p_corr` in blocks, over every row in time n·d, by
    Σ_x,y Σ s(x) (log s(x) − log s(y)) = n Σ_x Σ (s(x) − mean s)(log s(x) − mean log s).
    In [−2√2/temperature, 0] for unit rows: 0 for equal rows, lower is more different; uniform rows
    have about −1/(temperature² d) for large d, so compare at equal d. Raises InputError for fewer
    than two rows.

    >>> instance_corr(torch.eye(2), temperature=1.0)
    -0.4621
    """
    n = len(points)
    if n < 2:
        raise InputError(f"instance corr: expected at least 2 rows, got {n}; give more")
    some = (points[:1_000].double() / temperature).log_softmax(1)
    shift, log_shift = some.exp().mean(0), some.mean(0)  # any will do; a near one costs no digits

    def add(sums: Tensor, block: Tensor, _: slice) -> None:
        log = (block.double() / temperature).log_softmax(1)
        share = log.exp() - shift
        log -= log_shift
        sums[0] += share.sum(0)
        sums[1] += log.sum(0)
        sums[2] += (share * log).sum(0)

    own, logs, products = sum_over_rows(points, (3, points.shape[1]), add)
    return min(0.0, (float(own @ logs) / n - float(products.sum())) / (n - 1))


def _align(
    points: Float[Tensor, "n d"], views: tuple[Int[Tensor, " g"], Int[Tensor, " g"]]
) -> float:
    """`align` in float64, a block of pairs at a time."""

    def add(total: Tensor, pairs: slice) -> None:
        first, second = (rows_at(points, view[pairs]).double() for view in views)
        total += len(first) * align(first, second)

    count = len(views[0])
    return float(ranks.summed(count, block_rows(points.shape[1]), (), add)) / count


def _mean_cosine(points: Float[Tensor, "n d"]) -> float:
    """(‖Σ x‖² − Σ ‖x‖²) / (n(n − 1)), the mean of x·y over distinct pairs; 1 for one row."""
    n = len(points)
    if n == 1:
        return 1.0

    def add(sums: Tensor, block: Tensor, _: slice) -> None:
        rows = block.double()
        sums[0] += rows.sum(0)
        sums[1] += rows.square_().sum(0)

    total, squares = sum_over_rows(points, (2, points.shape[1]), add)
    return min(1.0, float(total.square().sum() - squares.sum()) / (n * (n - 1)))


def all_pairs_p_uniform(directions: Float[Tensor, "u d"]) -> float:
    """`p_uniform` at its t = 2, without holding all K² distances at once; processes share them."""
    count = len(directions)
    starts = range(0, count, _ROWS)

    def add(total: Tensor, place: slice) -> None:
        # with the rows as far from the end: the later they are, the fewer come after them
        for start in {starts[place.start], starts[-1 - place.start]}:
            rows = directions[start : start + _ROWS]
            for columns in directions[start:].split(_COLUMNS):
                total += 2 * _closeness(rows, columns).sum()  # both orders
            total -= _closeness(rows, rows).sum()

    total = float(ranks.summed(-(-len(starts) // 2), 1, (), add))
    return min(1.0, (total - count) / (count * (count - 1)))  # less the diagonal of ones


def _closeness(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """exp(−2‖x−y‖²) = exp(4(cos − 1)) of unit rows."""
    return (x @ y.T).sub_(1).mul_(4).exp_()


def _prototype_align(
    prototypes: Prototypes, directions: Float[Tensor, "u d"]
) -> tuple[float, Literal["views", "members"]]:
    points = prototypes.embeddings.vectors
    views = _view_pairs(prototypes.embeddings)
    if views is not None:
        shared = prototypes.assignment[views[0]]  # both views count for the first view's prototype
        first, second = (_directions(points, view, shared) for view in views)
        return float(p_align(first, second)), "views"
    rows = prototypes.used_assignment()

    def add(total: Tensor, block: Tensor, places: slice) -> None:
        total += len(block) * align(block.double(), directions[rows[places]])

    return float(sum_over_rows(points, (), add)) / len(points), "members"


def _directions(
    points: Float[Tensor, "n d"], rows: Int[Tensor, " g"], assignment: Int[Tensor, " g"]
) -> Tensor:
    """`batch_prototypes` of some rows in float64, without its (g, k) matrix."""
    present, place = assignment.unique(return_inverse=True)
    sums = torch.zeros(len(present), points.shape[1], dtype=torch.float64)
    step = block_rows(points.shape[1])
    for some, of in zip(rows.split(step), place.split(step), strict=True):
        sums.index_add_(0, of, rows_at(points, some).double())
    return torch.nn.functional.normalize(sums, dim=1)


def _view_pairs(embeddings: Embeddings) -> tuple[Int[Tensor, " g"], Int[Tensor, " g"]] | None:
    """First and second row of every group with at least two rows."""
    if embeddings.groups is None:
        return None
    _, group = np.unique(embeddings.groups, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    sizes = np.bincount(group)
    starts = starts[sizes > 1]
    if len(starts) == 0:
        return None
    return torch.as_tensor(order[starts]), torch.as_tensor(order[starts + 1])
