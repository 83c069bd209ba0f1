"""How many directions the embeddings use.

"RankMe" differs tenfold between codes, so each number names its definition. The centred rank calls
total collapse healthy, the uncentred one hardly sees a cone: both are given, with the share of
variance that is left around the mean.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.measures.covariance import covariance_around
from nemd_toolkit.measures.null import uniform_points
from nemd_toolkit.measures.power_law import PowerLaw, fit_power_law
from nemd_toolkit.sphere import mean_row

__all__ = [
    "Spectrum",
    "effective_rank",
    "measure_spectrum",
    "participation_ratio",
    "rankme",
    "w2_uniformity",
]

NULL_ROWS = 20_000  # rows of the uniform sample, at most; its spectrum is flat long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Singular values of the (N, d) matrix divided by √N, and ranks computed from them."""

    singular: Float[np.ndarray, " r"]  # of the rows as they are, descending
    singular_centred: Float[np.ndarray, " r"]  # after subtracting the mean row
    rankme: float  # RankMe (Garrido et al. 2023): uncentred singular values, ε = 1e-7
    effective_rank: float  # Roy & Vetterli 2007: uncentred singular values, no ε
    effective_rank_centred: float  # the same, centred; 0 when no variance is left
    participation_ratio: float  # (Σλ)²/Σλ² of the centred covariance; 0 when none is left
    power_law: PowerLaw  # α-ReQ (Agrawal et al. 2022) of the centred covariance
    w2_uniformity: float  # Fang et al. 2024, in [0, √2]; lower is more uniform
    variance: float  # share of squared length around the mean: 1 − R²; 0 = all rows equal
    cap: int  # no rank can exceed min(N − 1, d)
    null_singular: Float[np.ndarray, " r"]  # centred, of as many uniform points
    null_effective_rank: float  # centred
    null_rows: int  # uniform points drawn: min(N, 20,000)

    @property
    def log10_covariance(self) -> Float[np.ndarray, " s"]:
        """DirectCLR's spectrum: log₁₀ of the covariance's singular values, descending.

        Jing et al. 2022, Fig. 2; the covariance is centred and over N. At most 0 for unit rows,
        −log₁₀ d each for the uniform law. Those at the rounding level have no logarithm and are
        left out: collapse is a fall, or an end before min(N − 1, d).
        """
        positive = self.singular_centred[self.singular_centred > 0]
        logarithms: np.ndarray = 2.0 * np.log10(positive)  # of their squares
        return logarithms


def measure_spectrum(points: Float[Tensor, "n d"], *, seed: int = 0) -> Spectrum:
    """Measure the spectrum of unit rows beside that of uniform points of the same N and d.

    >>> spectrum = measure_spectrum(torch.eye(4).repeat(5, 1))
    >>> spectrum.effective_rank, spectrum.effective_rank_centred, spectrum.variance
    (4.0, 3.0, 0.75)
    """
    n, d = points.shape
    mean = mean_row(points)
    covariance = covariance_around(points, mean)
    raw = _singular(covariance + torch.outer(mean, mean), n)  # adding loses no digits
    centred = _singular(covariance, n)
    null_rows = min(n, NULL_ROWS)
    null_points = uniform_points(null_rows, d, seed=seed + 1)
    null = _singular(covariance_around(null_points, mean_row(null_points)), null_rows)
    return Spectrum(
        singular=raw,
        singular_centred=centred,
        rankme=rankme(raw),
        effective_rank=effective_rank(raw),
        effective_rank_centred=effective_rank(centred),
        participation_ratio=participation_ratio(centred),
        power_law=fit_power_law(np.square(centred)),
        w2_uniformity=w2_uniformity(raw, centred, d),
        variance=float(np.square(centred).sum()),
        cap=min(n - 1, d),
        null_singular=null,
        null_effective_rank=effective_rank(null),
        null_rows=null_rows,
    )


def rankme(singular: Float[np.ndarray, " r"], epsilon: float = 1e-7) -> float:
    """exp(−Σ p log p) with p = σ/Σσ + ε of uncentred rows, as in RankMe's Eq. 2.

    In about [1, r], r = min(N, d) its cap; higher is better by the authors. Uniform points have
    0.80 d at N = d and 0.99 d at N = 10 d, so compare at equal N or well above d.

    >>> rankme(np.array([1.0, 1.0, 0.0]))
    2.0000
    """
    p = singular / singular.sum() + epsilon
    return float(np.exp(-(p * np.log(p)).sum()))


def effective_rank(singular: Float[np.ndarray, " r"]) -> float:
    """exp(−Σ p log p) with p = σ/Σσ (Roy & Vetterli 2007); higher is more directions.

    In [1, r], 0 for an all-zero spectrum; r = min(N, d), and one less of centred rows where N ≤ d.
    It grows with N (uniform points have 0.80 d at N = d, 0.99 d at 10 d), so it stands beside that
    of as many uniform points.

    >>> effective_rank(np.array([1.0, 1.0, 0.0])), effective_rank(np.zeros(3))
    (2.0, 0.0)
    """
    positive = singular[singular > 0]
    if len(positive) == 0:
        return 0.0
    p = positive / positive.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio(singular: Float[np.ndarray, " r"]) -> float:
    """(Σλ)²/Σλ² with λ = σ² of the centred covariance (as in Gao et al. 2017).

    In [1, r], 0 for an all-zero spectrum; higher is more directions. Cap r = min(N − 1, d); uniform
    points have 0.50 d at N = d and 0.91 d at 10 d. Squares let the largest variances decide, so it
    lies below the effective rank.

    >>> participation_ratio(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    variances = np.square(singular)
    total = variances.sum()
    return float(total**2 / np.square(variances).sum()) if total > 0 else 0.0


def w2_uniformity(
    singular: Float[np.ndarray, " r"], singular_centred: Float[np.ndarray, " r"], dim: int
) -> float:
    """W₂ between Gaussians: that of the rows' mean and covariance, and N(0, I/d).

    √(‖μ‖² + 1 + tr Σ − 2/√d · tr Σ^½) (Fang et al. 2024), Σ over N; ‖μ‖² + tr Σ is the sum of the
    squared uncentred singular values over √N. 0 for a mean of 0 and equal variances, √2 for equal
    rows; unlike Wang & Isola's uniformity it sees dimensional collapse. Rows of r dimensions have
    at least √(2 − 2√(r/d)), and so have r + 1 rows.

    >>> flat = np.full(4, 0.5)
    >>> w2_uniformity(flat, flat, 4), w2_uniformity(np.ones(1), np.zeros(1), 4)
    (0.0, 1.4142)
    """
    squared = np.square(singular).sum() + 1 - 2 / np.sqrt(dim) * singular_centred.sum()
    return float(np.sqrt(max(0.0, squared)))


def _singular(moments: Float[Tensor, "d d"], n: int) -> np.ndarray:
    """Singular values / √n of n rows, descending; those at the rounding level of them are 0.

    From the second moments in float64, so that n is not limited.
    """
    d = len(moments)
    # float32 rows err by 6e-8 each way; what is below that squared is no direction of the data
    floor = max(float(np.finfo(np.float32).eps) ** 2, d * float(np.finfo(float).eps))
    variances = torch.linalg.eigvalsh(moments).flip(0)[: min(n, d)]
    return torch.where(variances > floor, variances, 0.0).sqrt().numpy()
