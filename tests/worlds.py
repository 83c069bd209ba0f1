"""Embeddings whose state is known because we made them so: x = normalize(μ_k + s·g/√d)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def clusters(count=3000, dim=48, groups=12, spread=0.9, *, seed=0) -> tuple[Tensor, Tensor]:
    """DESIGN §3's ladder: rows around `groups` random directions; spread 0 is a point each."""
    g = torch.Generator().manual_seed(seed)
    centres = F.normalize(torch.randn(groups, dim, generator=g), dim=1)
    group = torch.randint(0, groups, (count,), generator=g)
    noise = torch.randn(count, dim, generator=g) / dim**0.5
    return F.normalize(centres[group] + spread * noise, dim=1), group


def noise(count=2000, dim=64, *, seed=0) -> Tensor:
    """Draw from the uniform law."""
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=g), dim=1)


def equal(count=2000, dim=64, jitter=0.0, *, seed=0) -> Tensor:
    """Total collapse, with jitter of that relative size."""
    g = torch.Generator().manual_seed(seed)
    return F.normalize(
        torch.ones(count, dim) + jitter * torch.randn(count, dim, generator=g), dim=1
    )


def rank(dimensions=2, count=2000, dim=64, *, seed=0) -> Tensor:
    """Dimensional collapse: rows in a random subspace."""
    g = torch.Generator().manual_seed(seed)
    basis = torch.randn(dimensions, dim, generator=g)
    return F.normalize(torch.randn(count, dimensions, generator=g) @ basis, dim=1)


def points(distinct=8, count=2000, dim=64, *, seed=0) -> Tensor:
    """Coagulation carried to the end: a few distinct rows."""
    g = torch.Generator().manual_seed(seed)
    places = F.normalize(torch.randn(distinct, dim, generator=g), dim=1)
    return places[torch.randint(0, distinct, (count,), generator=g)]


def cone(offset=1.5, count=2000, dim=64, *, seed=0) -> Tensor:
    """Noise around a common mean of that length."""
    g = torch.Generator().manual_seed(seed)
    axis = F.normalize(torch.randn(1, dim, generator=g), dim=1)
    return F.normalize(torch.randn(count, dim, generator=g) / dim**0.5 + offset * axis, dim=1)
