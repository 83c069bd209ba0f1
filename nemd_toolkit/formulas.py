"""The formulas shared by measuring and training: tensors in, a differentiable 0-d tensor out.

Sources: Wang & Isola 2020 (alignment, uniformity); Li et al. 2021, PCL (InfoNCE with 1+r logits,
ProtoNCE, concentration); the PAUC poster, arXiv 2210.10194 (p-align, p-uniform, p-corr; two more
readings of p-corr are ours). What the poster leaves open is said at the default. Rows are unit
vectors; nothing here normalises silently.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = [
    "align",
    "batch_prototypes",
    "concentration",
    "info_nce",
    "p_align",
    "p_corr",
    "p_decorrelation",
    "p_jensen_shannon",
    "p_uniform",
    "proto_nce",
    "rescale_concentration",
    "uniform",
]


def align(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], *, power: float = 2.0
) -> Float[Tensor, ""]:
    """E‖x−y‖₂^power over positive pairs: 0 best, 4 worst at power 2 (Wang & Isola, Eq. 5).

    >>> float(align(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])))
    4.0
    """
    return (x - y).square().sum(1).pow(power / 2).mean()


def uniform(x: Float[Tensor, "n d"], *, t: float = 2.0) -> Float[Tensor, ""]:
    """Log E exp(−t‖x−y‖²) over distinct pairs; lower is more uniform (Wang & Isola, Eq. 6).

    At t=2: 0 when all rows are equal, −4 for the uniform law as d grows, never below −8.

    >>> float(uniform(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])))
    -8.0
    """
    _require_rows(x, 2, "uniform")
    exponents = -t * torch.pdist(x).square()
    largest = exponents.detach().max()  # so that nothing cancels near 0, where all rows are close
    return largest + (exponents - largest).expm1().mean().log1p()


def batch_prototypes(
    vectors: Float[Tensor, "n d"], assignment: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "k d"], Int[Tensor, " k"]]:
    """Mean direction of each prototype's members in a batch, with gradient, and which prototypes.

    PCL's centroids are constants of an epoch; a loss on them has no gradient. These have one.

    >>> v = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> batch_prototypes(v, torch.tensor([7, 7, 9]))
    (tensor([[ 0.7071,  0.7071], [ 0.0000, -1.0000]]), tensor([7, 9]))
    """
    present, place = assignment.unique(return_inverse=True)
    members = F.one_hot(place, len(present)).to(vectors.dtype)  # (n, k)
    return F.normalize(members.T @ vectors, dim=1), present


def p_align(
    prototypes: Float[Tensor, "k d"], positives: Float[Tensor, "k d"], *, s: float = 2.0
) -> Float[Tensor, ""]:
    """E‖c_p−c_q‖₂^s over positive prototypes: row i of both is one cluster seen from two views.

    The poster does not define its positive pairs; two views of one cluster is our reading, and the
    caller detaches the key side. s=2 as in Wang & Isola (ours). 0 best, 4 worst at s=2.

    >>> float(p_align(torch.eye(2), torch.eye(2).flip(0)))
    2.0
    """
    return align(prototypes, positives, power=s)


def p_uniform(prototypes: Float[Tensor, "k d"], *, t: float = 2.0) -> Float[Tensor, ""]:
    """E exp(−t‖c_p−c_q‖²) over distinct prototypes; in (0, 1], lower is more uniform.

    Literal, without Wang & Isola's logarithm, as on the poster. t=2 as theirs (ours).

    >>> float(p_uniform(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])))
    0.000335
    """
    _require_rows(prototypes, 2, "p_uniform")
    return (-t * torch.pdist(prototypes).square()).exp().mean()


def p_corr(prototypes: Float[Tensor, "k d"], *, temperature: float = 0.1) -> Float[Tensor, ""]:
    """E Σ c_p log(c_q ⊙ c_p⁻¹) = −E KL(c_p‖c_q) over ordered distinct prototypes; ≤ 0.

    The logarithm needs positive entries and unit vectors have negative ones: it is read on
    softmax(c / temperature) (ours; at 1 the term is nearly zero). Lower: more different.

    >>> float(p_corr(torch.eye(2), temperature=1.0))
    -0.4621
    """
    _require_rows(prototypes, 2, "p_corr")
    log = F.log_softmax(prototypes / temperature, dim=1)  # (k, d)
    own = log.exp()
    # Σ_p,q Σ c_p (log c_q − log c_p) = −k Σ_p Σ (c_p − c̄)(log c_p − mean log c): no (k, k) matrix,
    # and nothing cancels where prototypes are nearly equal
    return -((own - own.mean(0)) * (log - log.mean(0))).sum() / (len(prototypes) - 1)


def p_jensen_shannon(
    prototypes: Float[Tensor, "k d"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """Minus the Jensen–Shannon divergence of all softmax(c / temperature); in [−ln min(k, d), 0].

    A bounded reading of p-corr (ours): −E KL(c_p‖c̄) against the mean c̄, in place of every other
    prototype (Lin 1991, Eq. 5.1, equal weights). Lower: more different.

    >>> float(p_jensen_shannon(torch.eye(2), temperature=0.01))
    -0.6931
    """
    _require_rows(prototypes, 2, "p_jensen_shannon")
    log = F.log_softmax(prototypes / temperature, dim=1)  # (k, d)
    mean = torch.logsumexp(log, 0) - math.log(len(log))  # ln c̄
    return (log.exp() * (mean - log)).sum(1).mean()


def p_decorrelation(prototypes: Float[Tensor, "k d"]) -> Float[Tensor, ""]:
    """Mean squared correlation of two coordinates over prototypes; in [0, 1], lower is better.

    What "correlation" means in Barlow Twins and VICReg, taken over prototypes: a reading of
    p-corr's name, not of its formula (ours). Coordinates equal in all prototypes count 0.

    >>> float(p_decorrelation(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])))
    0.0
    """
    _require_rows(prototypes, 2, "p_decorrelation")
    centred = prototypes - prototypes.mean(0)
    scaled = F.normalize(centred, dim=0, eps=1e-6)  # (k, d)
    width = prototypes.shape[1]
    if width < 2:
        return prototypes.sum() * 0
    own = scaled.square().sum(0)  # 1, or 0 for a coordinate that does not vary
    total = (scaled @ scaled.T if len(scaled) < width else scaled.T @ scaled).square().sum()
    return (total - own.square().sum()) / (width * (width - 1))


def info_nce(
    query: Float[Tensor, "n d"],
    key: Float[Tensor, "n d"],
    queue: Float[Tensor, "r d"],
    *,
    temperature: float = 0.2,  # PCL main_pcl.py
) -> Float[Tensor, ""]:
    """−log softmax of the positive among 1+r logits, the mean over the batch (PCL builder.py).

    >>> q = torch.tensor([[1.0, 0.0]])
    >>> float(info_nce(q, q, torch.tensor([[0.0, 1.0]]), temperature=1.0))
    0.3133
    """
    positive = (query * key).sum(1, keepdim=True)  # (n, 1)
    logits = torch.cat([positive, query @ queue.T], dim=1) / temperature  # (n, 1 + r)
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


def proto_nce(
    query: Float[Tensor, "n d"],
    prototypes: Float[Tensor, "k d"],
    phi: Float[Tensor, " k"],
    assignment: Int[Tensor, " n"],
    *,
    negatives: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """−log [exp(v·c_s/φ_s) / Σ_j exp(v·c_j/φ_j)], the mean over the batch, for one clustering.

    j runs over the distinct prototypes of the batch and up to `negatives` others, drawn without
    replacement. PCL repeats a column for each sample of a cluster, which makes its own prototype a
    negative of a sample; here columns are distinct (deliberate, PAPER: the poster's denominator).

    >>> c = torch.eye(2)
    >>> float(proto_nce(c[:1], c, torch.ones(2), torch.tensor([0]), negatives=1))
    0.3133
    """
    present, label = assignment.unique(return_inverse=True)
    absent = torch.ones(len(prototypes), dtype=torch.bool)
    absent[present.cpu()] = False
    others = absent.nonzero().squeeze(1)
    drawn = others[torch.randperm(len(others), generator=generator)[:negatives]]
    columns = torch.cat([present, drawn.to(present.device)])
    logits = query @ prototypes[columns].T / phi[columns]  # (n, present + drawn)
    return F.cross_entropy(logits, label)


def concentration(
    squared_distances: Float[Tensor, " n"], assignment: Int[Tensor, " n"], k: int
) -> Float[Tensor, " k"]:
    """PCL's concentration before rescaling: mean distance to the centroid / ln(Z+10).

    `squared_distances` are to the un-normalised centroid, as PCL's index returns them; PCL takes
    their root. Clusters with at most one member get the largest value; then all are clipped to the
    10th…90th percentile. 0 means that members coincide with their centroid.

    >>> concentration(torch.tensor([4.0, 4.0, 1.0]), torch.tensor([0, 0, 1]), 2)
    tensor([0.8049, 0.8049])
    """
    sizes = torch.bincount(assignment, minlength=k)
    total = torch.zeros(k, dtype=squared_distances.dtype, device=squared_distances.device)
    total = total.index_add(0, assignment, squared_distances.clamp_min(0).sqrt())
    density = total / sizes.clamp_min(1) / (sizes.to(total.dtype) + 10).log()
    several = sizes > 1
    # as in PCL, the maximum is over all clusters, where a lone member counts 0
    density = torch.where(several, density, torch.where(several, density, 0.0).max())
    edges = torch.tensor([0.1, 0.9], dtype=density.dtype, device=density.device)
    low, high = torch.quantile(density, edges)
    return density.clamp(low, high)


def rescale_concentration(
    density: Float[Tensor, " k"], *, temperature: float = 0.2
) -> Float[Tensor, " k"]:
    """PCL's φ: the concentrations scaled to a mean of `temperature`.

    After rescaling φ looks normal even under total collapse; judge `concentration` itself. Raises
    InputError when a concentration is 0, where PCL's loss would be NaN.

    >>> rescale_concentration(torch.tensor([1.0, 3.0]))
    tensor([0.1000, 0.3000])
    """
    if not float(density.min()) > 0:
        raise InputError(
            "concentration: expected clusters with some spread, got "
            f"{int((density <= 0).sum())} of {len(density)} whose members all coincide with their "
            "centroid (total collapse, or fewer distinct samples than prototypes); lower the "
            "learning rate or the number of prototypes"
        )
    return temperature * density / density.mean()


def _require_rows(x: Tensor, least: int, name: str) -> None:
    if len(x) < least:
        raise InputError(f"{name}: expected at least {least} rows, got {len(x)}; give more")
