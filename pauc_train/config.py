"""What a training run can be told, each setting with one default and where that comes from.

A recipe (TOML) changes defaults for a kind of data; a table in it named like a method changes them
for that method only; `--set key=value` has the last word. "PCL" stands for its main_pcl.py.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from importlib import resources
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from nemd_toolkit.encoders import ARCHITECTURES
from nemd_toolkit.errors import InputError
from pauc_train.views import VIEWS

__all__ = ["LARGEST_IMAGE", "Config", "load_config", "parse_setting", "recipe_for"]

LARGEST_IMAGE = 8192  # pixels of a side


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one run. Raises InputError for values that no run could use."""

    # encoder
    arch: str = "resnet50"  # PCL
    head: Literal["linear", "mlp"] = "mlp"  # PCL-v2 (--mlp)
    embedding_dim: int = 128  # PCL
    image_size: int = 0  # 0: as the images are; folders: pixels of each side (ours)
    # optimisation
    epochs: int = 200  # PCL
    batch_size: int = 256  # PCL
    learning_rate: float = 0.03  # PCL; cosine schedule as PCL-v2 (--cos)
    sgd_momentum: float = 0.9  # PCL
    weight_decay: float = 1e-4  # PCL
    # contrast
    temperature: float = 0.2  # PCL; also the mean of φ
    instance_weight: float = 1.0  # PCL has no such weight; 0 leaves InfoNCE out (ablation)
    queue_size: int = 16384  # PCL, --pcl-r
    key_momentum: float = 0.999  # PCL, --moco-m
    views: str = "photos"  # a preset of views.py
    # prototypes
    clusters: tuple[int, ...] = (25000, 50000, 100000)  # PCL, for ImageNet-1K
    prototype_weight: float = 1.0  # PCL has no such weight: ProtoNCE counts like InfoNCE
    warmup_epochs: int = 20  # PCL: epochs before the first clustering
    negatives: int = 16384  # PCL, --pcl-r: other prototypes drawn as negatives
    kmeans_iterations: int = 20  # PCL, faiss niter
    kmeans_restarts: int = 5  # PCL, faiss nredo
    # PAUC; the poster names these and gives no values: all ours, not from the paper. Measured on
    # digits (reports/LOG.md, 2026-11-23), where α=β=γ=0 has NEMD score .68 and RankMe 20.8:
    alpha: float = 0.1  # weight of p-align; 1 raised the score to .74 and lowered RankMe to 19.2
    beta: float = 3.0  # weight of p-uniform; 3 alone: RankMe 21.9, kNN unchanged within noise
    gamma: float = 0.01  # weight of p-corr; .1 raised the score to .72, 1 collapsed RankMe to 6
    align_power: float = 2.0  # s; as Wang & Isola
    uniform_t: float = 2.0  # t; as Wang & Isola
    corr_temperature: float = 0.1  # of the softmax that makes entries positive
    # keeping
    save_every: int = 5  # PCL: epochs between numbered checkpoints
    threads: int = 0  # ours; 0: torch's own choice. Sums, and so bytes, depend on their number

    def __post_init__(self) -> None:
        _one_of("arch", self.arch, ARCHITECTURES)
        _one_of("views", self.views, VIEWS)
        _one_of("head", self.head, ("linear", "mlp"))
        for name, (least, most) in _WHOLE.items():
            _between(name, getattr(self, name), least, most)
        for name in _ABOVE_ZERO:
            if not 0 < getattr(self, name) < inf:
                raise InputError(
                    f"{name}: expected a finite number, more than 0, got {getattr(self, name)}"
                )
        for name in ("alpha", "beta", "gamma"):
            if not isfinite(getattr(self, name)):
                raise InputError(f"{name}: expected a finite number, got {getattr(self, name)}")
        for name in ("weight_decay", "instance_weight", "prototype_weight"):
            if not 0 <= getattr(self, name) < inf:
                raise InputError(
                    f"{name}: expected a finite number, at least 0, got {getattr(self, name)}"
                )
        for name in ("sgd_momentum", "key_momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0…1, got {getattr(self, name)}")
        if not self.clusters or not 2 <= min(self.clusters) <= max(self.clusters) <= _MANY:
            raise InputError(
                f"clusters: expected numbers of prototypes from 2 to {_MANY}, got "
                f"{list(self.clusters)}; give for instance [50, 100]"
            )

    def plain(self) -> dict[str, Any]:
        """Give settings as numbers, strings and lists, for checkpoints and JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


_MANY = 10**7  # more is taken for a slip
_WHOLE = {  # least and most
    "image_size": (0, LARGEST_IMAGE),
    "embedding_dim": (1, 65536),
    "epochs": (1, _MANY),
    "batch_size": (2, _MANY),  # batch normalisation needs two
    "queue_size": (1, _MANY),
    "warmup_epochs": (0, _MANY),
    "negatives": (0, _MANY),
    "kmeans_iterations": (1, _MANY),
    "kmeans_restarts": (1, _MANY),
    "save_every": (1, _MANY),
    "threads": (0, 256),
}
_ABOVE_ZERO = ("learning_rate", "temperature", "align_power", "uniform_t", "corr_temperature")


def load_config(
    method: str, recipe: Path | str | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Read the recipe (a TOML file, or the name of a packaged one), then apply the overrides.

    Raises InputError for an unknown setting, naming the closest known one, and for a wrong type.

    >>> load_config("pcl", "digits", {"epochs": 3}).epochs
    3
    """
    settings = _read(recipe) if recipe is not None else {}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    general = {key: value for key, value in settings.items() if key not in tables}
    for table in tables.values():
        replace(Config(), **_typed(table))  # a misspelt setting must not wait for its method
    return replace(Config(), **_typed({**general, **tables.get(method, {}), **(overrides or {})}))


def recipe_for(data: str) -> str | None:
    """Name of the packaged recipe for a data specification, if there is one.

    >>> recipe_for("fashion-mnist:somewhere")
    'fashion-mnist'
    """
    kind = data.partition(":")[0]
    return kind if (_recipes() / f"{kind}.toml").is_file() else None


def parse_setting(text: str) -> tuple[str, Any]:
    """Read one `key=value` of the command line; the value is TOML, or a bare word.

    >>> parse_setting("clusters=[10, 20]"), parse_setting("arch=resnet18")
    (('clusters', [10, 20]), ('arch', 'resnet18'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set: expected key=value, got {text!r}; for instance --set epochs=10")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except ValueError:  # no TOML, or a number of thousands of digits
        return key.strip(), value.strip()


def _recipes() -> Any:  # importlib's Traversable moves between modules from 3.11 to 3.14
    return resources.files("pauc_train") / "recipes"


def _read(recipe: Path | str) -> dict[str, Any]:
    packaged = _recipes() / f"{recipe}.toml"
    try:
        text = (packaged if packaged.is_file() else Path(recipe)).read_text(encoding="utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise InputError(f"recipe: cannot read {recipe} ({error.strerror})") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise InputError(f"recipe: expected TOML in {recipe}, got {error}") from None


def _typed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _value(key, value) for key, value in settings.items()}


def _value(key: str, value: Any) -> Any:
    kinds = {field.name: field.type for field in fields(Config)}
    if key not in kinds:
        close = get_close_matches(key, kinds, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(kinds)}"
        raise InputError(f"setting {key!r} is not known; {hint}")
    kind = kinds[key]
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        if all(type(entry) is int for entry in value):
            return tuple(value)
    elif kind is float and type(value) in (int, float):
        return value if isinstance(value, float) else _as_float(value)
    elif value in get_args(kind) if get_origin(kind) is Literal else type(value) is kind:
        return value
    raise InputError(f"{key}: expected {_name(kind)}, got {value!r}")


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf  # refused as not finite


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of whole numbers"
    return {int: "a whole number", float: "a number", str: "a word"}[kind]


def _one_of(name: str, value: str, known: Any) -> None:
    if value not in known:
        raise InputError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def _between(name: str, value: int, least: int, most: int) -> None:
    if value < least:
        raise InputError(f"{name}: expected at least {least}, got {value}")
    if value > most:
        raise InputError(f"{name}: expected at most {most}, got {value}")
