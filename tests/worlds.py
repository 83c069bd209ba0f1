"""Embeddings whose state is known because we made them so: x = normalize(μ_k + s·g/√d).

The short functions come first. `make` gives a world of a kind, smooth in a severity from 0
(healthy) to 1 (complete), with what a true verdict says of it; `draw` gives a random one. Rows are
not rotated: every measure is blind to rotations, and the directions are random.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nemd_toolkit.prototypes import default_counts


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


def cone(offset=2.0, count=2000, dim=64, *, seed=0) -> Tensor:
    """Noise around a common mean of that length."""
    g = torch.Generator().manual_seed(seed)
    axis = F.normalize(torch.randn(1, dim, generator=g), dim=1)
    return F.normalize(torch.randn(count, dim, generator=g) / dim**0.5 + offset * axis, dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How large a world is, and how healthy it was before it fell ill."""

    count: int = 2000  # N
    dim: int = 64
    groups: int = 20  # true groups; own prototypes, where a world has them, are as many
    prototypes: tuple[int, ...] | None = None  # numbers for k-means; None: those of `nemd analyze`
    spread: float = 0.9  # noise within groups, as a share of the distance to the origin
    seed: int = 0

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of prototypes that k-means is asked for."""
        return self.prototypes or default_counts(self.count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """Rows, the prototypes to judge them by, and the answer."""

    kind: str
    variant: str
    severity: float
    setting: Setting  # as made: a kind may have changed numbers that were asked for
    rows: Tensor  # (n, d), unit
    group: Tensor  # (n,)
    own: Tensor | None  # (k, d): judge by these vectors, and by k-means where there are none
    codes: frozenset[str]  # the findings that name this kind; empty: none may be an issue
    state: str  # that a verdict has to give from STATED[kind] on


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """What is done to a healthy world; the defaults do nothing."""

    spread: float = 1.0  # factor on the noise within groups
    structure: float = 1.0  # factor on the groups' directions
    zipf: float = 0.0  # exponent of the groups' sizes
    weights: Callable[[int], Tensor] | None = None  # d → factor on each coordinate
    around: float = 1.0  # share of squared length that is left around a common direction
    own: bool = False  # give own prototypes: mean directions of the groups
    repeated: float = 0.0  # share of own prototypes, beyond five, that copy others
    jitter: float = 0.0  # length of what a copy differs by
    dead: float = 0.0  # share of own prototypes, beyond five, that no row is nearest to


CODES = {
    "healthy": (),
    "surplus": (),
    "long tail": (),
    "coagulated": ("NEMD002",),
    "duplicated": ("NEMD003",),
    "total": ("NEMD001",),
    "dimensional": ("NEMD006",),
    "cone": ("NEMD007",),
    "dead": ("NEMD004",),
    "imbalanced": ("NEMD005",),
    "noise": ("NEMD008",),
    "small": ("NEMD009",),
}
VARIANTS = {
    "healthy": ("k-means", "own"),
    "surplus": ("k-means",),  # fewer groups than k-means is asked for: no collapse
    "long tail": ("k-means",),  # groups of unequal size in the data: no collapse
    "coagulated": ("k-means", "own"),
    "duplicated": ("exact", "near", "apart"),
    "total": ("k-means",),
    "dimensional": ("rank", "power law"),
    "cone": ("k-means",),
    "dead": ("own",),
    "imbalanced": ("own",),
    "noise": ("k-means",),
    "small": ("members", "samples"),
    "mixed": (
        "coagulated+cone",
        "coagulated+dimensional",
        "coagulated+duplicated",
        "coagulated+dead",
        "cone+dimensional",
        "cone+imbalanced",
    ),
}
KINDS = tuple(VARIANTS)
STATES = dict.fromkeys(KINDS, "collapsed") | {
    "healthy": "healthy",
    "surplus": "healthy",
    "long tail": "healthy",
    "noise": "inconclusive",
    "small": "inconclusive",
}
# The severity from which on the verdict has to be right; below it lies the way from healthy to ill.
STATED = {
    "healthy": 0.0,
    "surplus": 0.0,
    "long tail": 0.0,
    "coagulated": 0.85,  # noise within groups at most a sixth of the distance to the origin
    "duplicated": 0.30,  # three in ten own prototypes (beyond five) copy another
    "total": 0.40,  # variance 6e-4
    "dimensional": 0.90,  # rank 3 at d = 16, 4 at 1024
    "cone": 0.80,  # 0.78 of the squared length in the mean row
    "dead": 0.30,
    "imbalanced": 0.80,  # Zipf's exponent 1.6
    "noise": 0.95,  # noise 20 times as strong as what the groups differ by
    "small": 0.60,  # 7 members, 25 samples
    "mixed": 0.90,
}
_JITTER = {"exact": 0.0, "near": 0.01, "apart": 0.1}  # cosine distances 0, 5e-5, 0.005
_LEFT = 5  # own prototypes that stay distinct and alive at severity 1
_SMALLEST = 2.0  # dimensions left at severity 1


def _recipe(kind: str, severity: float, variant: str) -> _Recipe:
    if kind == "mixed":
        first, second = (_recipe(part, severity, VARIANTS[part][0]) for part in variant.split("+"))
        changed = {
            name: getattr(second, name)
            for name in _Recipe.__slots__
            if getattr(second, name) != getattr(_Recipe(), name)
        }
        return replace(first, **changed)
    own = variant == "own"
    match kind:
        case "coagulated":
            return _Recipe(spread=1 - severity, own=own)
        case "duplicated":
            return _Recipe(own=True, repeated=severity, jitter=_JITTER[variant])
        case "total":
            return _Recipe(around=10 ** (-8 * severity) if severity < 1 else 0.0)
        case "dimensional":
            return _Recipe(weights=_spectra(severity)[variant])
        case "cone":
            return _Recipe(around=1 - 0.98 * severity)
        case "dead":
            return _Recipe(own=True, dead=severity)
        case "imbalanced":
            return _Recipe(own=own, zipf=2 * severity)
        case "long tail":
            return _Recipe(zipf=severity)  # Zipf's law at 1
        case "noise":
            return _Recipe(structure=1 - severity)
        case _:  # healthy; or made by numbers alone, see `_resized`
            return _Recipe(own=own)


def _spectra(severity: float) -> dict[str, Callable[[int], Tensor]]:
    def rank(dim: int) -> Tensor:
        left = dim ** (1 - severity) * min(_SMALLEST, dim) ** severity
        return (left - torch.arange(dim)).clamp(0, 1)

    def power_law(dim: int) -> Tensor:
        return torch.arange(1.0, dim + 1) ** (-6 * severity)

    return {"rank": rank, "power law": power_law}


def _resized(kind: str, severity: float, variant: str, setting: Setting) -> Setting:
    """Numbers that belong to the kind itself."""
    if kind == "surplus":
        most = max(setting.numbers)
        groups = round(most ** (1 - severity) * min(_LEFT, most) ** severity)
        return replace(setting, groups=max(2, groups))
    if kind == "small" and variant == "samples":
        count = max(3, round(500 * 150**-severity))
        return replace(setting, count=count, groups=min(setting.groups, 10, count), prototypes=None)
    if kind == "small":  # 50 members down to 2
        k = max(setting.numbers)
        count = round(k * 50 * 25**-severity)
        return replace(setting, count=count, groups=min(setting.groups, k), prototypes=(k,))
    return setting


def make(
    kind: str, severity: float, setting: Setting | None = None, variant: str | None = None
) -> World:
    """Make a world of a kind; same arguments, same bytes."""
    variant = variant or VARIANTS[kind][0]
    setting = _resized(kind, severity, variant, setting or Setting())
    recipe = _recipe(kind, severity, variant)
    g = torch.Generator().manual_seed(setting.seed)
    rows, group = _rows(recipe, setting, g)
    return World(
        kind=kind,
        variant=variant,
        severity=severity,
        setting=setting,
        rows=rows,
        group=group,
        own=_own(recipe, rows, group, setting.groups, g) if recipe.own else None,
        codes=frozenset(c for part in _parts(kind, variant) for c in CODES[part]),
        state=STATES[kind],
    )


def _parts(kind: str, variant: str) -> list[str]:
    """Kinds that a mixed world is made of; any other is made of its own."""
    return variant.split("+") if kind == "mixed" else [kind]


def _rows(recipe: _Recipe, setting: Setting, g: torch.Generator) -> tuple[Tensor, Tensor]:
    count, dim = setting.count, setting.dim
    groups = _kept(recipe, setting.groups)
    centres = F.normalize(torch.randn(setting.groups, dim, generator=g), dim=1)[:groups]
    axis = F.normalize(torch.randn(1, dim, generator=g), dim=1)
    noise = torch.randn(count, dim, generator=g) * setting.spread * recipe.spread / dim**0.5
    sizes = torch.arange(1.0, groups + 1) ** -recipe.zipf
    drawn = torch.multinomial(sizes, count, replacement=True, generator=g)
    drawn[:groups] = torch.arange(groups)[:count]  # no group is empty
    group = drawn[torch.randperm(count, generator=g)]
    rows = F.normalize(recipe.structure * centres[group] + noise, dim=1)
    if recipe.weights is not None:
        rows = F.normalize(rows * recipe.weights(dim), dim=1)
    if recipe.around < 1:
        rows = (1 - recipe.around) ** 0.5 * axis + recipe.around**0.5 * rows
        rows = F.normalize(rows.double(), dim=1).float()
    return rows, group


def _kept(recipe: _Recipe, groups: int) -> int:
    """Groups that have a prototype of their own; the other prototypes are copies, or dead."""
    lost = max(recipe.repeated, recipe.dead)
    return groups - round(lost * max(0, groups - _LEFT))


def _own(recipe: _Recipe, rows: Tensor, group: Tensor, k: int, g: torch.Generator) -> Tensor:
    kept = int(group.max()) + 1
    sums = torch.zeros(kept, rows.shape[1], dtype=torch.float64)
    means = F.normalize(sums.index_add_(0, group, rows.double()), dim=1).float()
    if recipe.dead:
        return torch.cat([means, _unreached(rows, means, k - kept, g)])
    which = torch.randint(0, kept, (k - kept,), generator=g)
    away = F.normalize(torch.randn(k - kept, rows.shape[1], generator=g), dim=1)
    return torch.cat([means, F.normalize(means[which] + recipe.jitter * away, dim=1)])


def _unreached(rows: Tensor, alive: Tensor, wanted: int, g: torch.Generator) -> Tensor:
    """Random directions that no row is nearest to."""
    best = (rows @ alive.T).amax(1, keepdim=True)
    found = rows.new_zeros(0, rows.shape[1])
    for _ in range(100):
        if len(found) >= wanted:
            return found[:wanted]
        drawn = F.normalize(torch.randn(100, rows.shape[1], generator=g), dim=1)
        found = torch.cat([found, drawn[((rows @ drawn.T) < best - 1e-4).all(0)]])
    raise ValueError(f"found {len(found)} of {wanted} directions that no row is nearest to")


def draw(kind: str, severity: float, seed: int, *, large: bool = False) -> World:
    """Make a world of random size and variant.

    d 16…1024; N 500…2,500, or 5,000…100,000 where large, at most 600,000 and 4 million numbers in
    all; k-means by default numbers in seven of ten, else one number in 5…500 with 40 rows each; a
    quarter to twice as many groups as the most prototypes, at most 2d; noise 0.6…1.1.
    """
    rng = np.random.default_rng(seed)
    variant = VARIANTS[kind][int(rng.integers(len(VARIANTS[kind])))]
    least, most, numbers = (5_000, 100_000, 4e6) if large else (500, 2_500, 6e5)
    count = round(_log_uniform(rng, least, most))
    parts = _parts(kind, variant)
    own = "own" in variant or bool({"duplicated", "dead"} & {*parts})
    dims = [d for d in (16, 32, 64, 128, 256, 512, 1024) if d * count <= numbers]
    # in few dimensions every direction is near some row, and none is dead
    dim = int(rng.choice(([d for d in dims if d >= 64] or [64]) if "dead" in parts else dims))
    k = round(_log_uniform(rng, 5, min(500, count / 40)))
    prototypes = None if rng.random() < 0.7 else (k,)
    setting = Setting(
        count=count, dim=dim, prototypes=prototypes, spread=rng.uniform(0.6, 1.1), seed=seed
    )
    most_prototypes = max(setting.numbers)
    groups = round(most_prototypes * _log_uniform(rng, 0.25, 2))
    groups = min(max(10 if own else 5, groups), 2 * dim, count // (40 if own else 10))
    return make(kind, severity, replace(setting, groups=groups), variant)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
