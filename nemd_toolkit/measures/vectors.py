"""What learned prototypes say without any data: how they lie on the sphere."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.spectrum import Spectrum, measure_spectrum
from nemd_toolkit.measures.vector_pairs import compare_all, uniform_repeats
from nemd_toolkit.sphere import to_sphere

__all__ = ["VectorGeometry", "measure_vectors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorGeometry:
    """At least two directions in R^d, alone."""

    k: int
    dim: int
    zero: int  # of the k: vectors without a length, left out below
    duplicates: tuple[tuple[float, float], ...]  # (ε, share that repeats an earlier one), in [0, 1)
    uniform_duplicates: tuple[tuple[float, float], ...]  # of as many uniform directions
    koleo: float  # −mean ln distance to the nearest; lower is more spread
    uniform: float  # mean exp(−2‖p−q‖²) over pairs, in (0, 1]; lower is more spread
    spectrum: Spectrum  # with that of uniform directions
    negative_share: float  # of the squared length, in negative coordinates

    @property
    def counted(self) -> int:
        """How many have a length."""
        return self.k - self.zero

    @property
    def mean_cosine(self) -> float:
        """Over distinct pairs, in [−1/(K−1), 1]; 0 for uniform directions."""
        count, resultant = self.counted, 1.0 - self.spectrum.variance
        return min(1.0, (count * resultant - 1) / (count - 1))

    def share_repeated(self, epsilon: float = 0.025) -> float:
        """Share of vectors within this cosine distance of an earlier one."""
        return dict(self.duplicates)[epsilon]

    def distinct(self, epsilon: float = 0.025) -> int:
        """How many are left when vectors within this cosine distance of an earlier one go."""
        return round(self.counted * (1.0 - self.share_repeated(epsilon)))


def measure_vectors(vectors: Float[Tensor, "k d"], *, seed: int = 0) -> VectorGeometry | None:
    """Measure prototype vectors by themselves, beside uniform ones of the same K and d.

    Duplicates, KoLeo and PAUC's p-uniform as for prototypes with data, over all pairs, in blocks;
    the spectrum. None where fewer than two have a length. Raises InputError for vectors that are
    not finite.

    >>> import torch
    >>> found = measure_vectors(torch.eye(4)[[0, 1, 2, 2]])
    >>> found.share_repeated(), found.distinct(), found.mean_cosine
    (0.25, 3, 0.1667)
    """
    if not bool(vectors.isfinite().all()):
        raise InputError(
            "prototypes: expected finite vectors, got NaN or infinity; take an earlier checkpoint"
        )
    kept = vectors[vectors.norm(dim=1) > 0].double()
    if len(kept) < 2:
        return None
    unit = to_sphere(kept, name="prototypes")
    pairs = compare_all(unit)
    return VectorGeometry(
        k=len(vectors),
        dim=int(vectors.shape[1]),
        zero=len(vectors) - len(kept),
        duplicates=pairs.duplicates,
        uniform_duplicates=uniform_repeats(len(kept), int(vectors.shape[1]), seed=seed),
        koleo=pairs.koleo,
        uniform=pairs.uniform,
        spectrum=measure_spectrum(unit, seed=seed),
        negative_share=float(unit.clamp_max(0.0).square().sum()) / len(unit),
    )
