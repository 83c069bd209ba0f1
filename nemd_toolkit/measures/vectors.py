"""What learned prototypes say without any data: how they lie on the sphere."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.instance import all_pairs_p_uniform, koleo
from nemd_toolkit.measures.spectrum import Spectrum, measure_spectrum
from nemd_toolkit.measures.spread import duplicate_curve
from nemd_toolkit.sphere import to_sphere

__all__ = ["VectorGeometry", "measure_vectors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorGeometry:
    """K directions in R^d, alone; None where fewer than two have a length."""

    k: int
    dim: int
    zero: int  # vectors without a length, left out below
    duplicates: tuple[tuple[float, float], ...]  # (ε, share that repeats an earlier one), in [0, 1)
    koleo: float | None  # −mean ln distance to the nearest; lower is more spread
    uniform: float | None  # mean exp(−2‖p−q‖²) over pairs, in (0, 1]; lower is more spread
    spectrum: Spectrum | None

    def share_repeated(self, epsilon: float = 0.025) -> float:
        """Share of vectors within this cosine distance of an earlier one."""
        return dict(self.duplicates).get(epsilon, 0.0)


def measure_vectors(vectors: Float[Tensor, "k d"], *, seed: int = 0) -> VectorGeometry:
    """Measure prototype vectors by themselves: duplicates, KoLeo, uniformity, spectrum.

    Formulas as for prototypes with data (`duplicate_curve`, `koleo`, PAUC's p-uniform), over all
    pairs, in blocks. Raises InputError for vectors that are not finite.

    >>> import torch
    >>> measure_vectors(torch.eye(4)[[0, 1, 2, 2]]).share_repeated()
    0.25
    """
    if not bool(vectors.isfinite().all()):
        raise InputError(
            "prototypes: expected finite vectors, got NaN or infinity; take an earlier checkpoint"
        )
    kept = vectors[vectors.norm(dim=1) > 0].double()
    several = len(kept) > 1
    unit = to_sphere(kept, name="prototypes") if several else kept
    return VectorGeometry(
        k=len(vectors),
        dim=int(vectors.shape[1]),
        zero=len(vectors) - len(kept),
        duplicates=duplicate_curve(unit) if several else (),
        koleo=koleo(unit) if several else None,
        uniform=all_pairs_p_uniform(unit) if several else None,
        spectrum=measure_spectrum(unit, seed=seed) if several else None,
    )
