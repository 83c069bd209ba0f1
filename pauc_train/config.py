"""What every training run can be told, each setting with one default and where that comes from.

A method adds settings of its own by a subclass, and changes defaults to those of its paper. "PCL"
stands for salesforce/PCL's main_pcl.py.
"""

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from math import inf
from typing import Any, Literal, get_args, get_origin

from nemd_toolkit.encoders import ARCHITECTURES
from nemd_toolkit.errors import InputError
from pauc_train.views import VIEWS

__all__ = ["LARGEST_IMAGE", "MANY", "Config", "setting", "typed"]

LARGEST_IMAGE = 8192  # pixels of a side
MANY = 10**7  # more is taken for a slip


def setting(
    default: Any,
    *,
    least: int | float | None = None,
    most: int | float | None = None,
    above: int | float | None = None,
    known: Sequence[str] = (),
) -> Any:
    """Declare a setting: its default, and which values it takes (numbers are always finite).

    least, most: bounds that are allowed; above: one that is not. For lists they hold for each
    entry. known: the words that are allowed.

    >>> @dataclass(frozen=True, kw_only=True)
    ... class Mine(Config):
    ...     weight: float = setting(1.0, least=0)
    >>> Mine(weight=0.5).weight
    0.5
    """
    rule = _Rule(least=least, most=most, above=above, known=tuple(known))
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    least: int | float | None
    most: int | float | None
    above: int | float | None
    known: tuple[str, ...]


def _whole(default: int, least: int = 1, most: int = MANY) -> Any:
    return setting(default, least=least, most=most)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one run. Raises InputError for values that no run could use."""

    # encoder
    arch: str = setting("resnet50", known=tuple(ARCHITECTURES))  # PCL
    embedding_dim: int = _whole(128, most=65536)  # PCL
    image_size: int = _whole(0, 0, LARGEST_IMAGE)  # 0: as the images are; folders: pixels (ours)
    views: str = setting("photos", known=tuple(VIEWS))  # a preset of views.py
    # optimisation
    epochs: int = _whole(200)  # PCL
    batch_size: int = _whole(256, 2)  # PCL, of all processes; batch normalisation needs two
    optimizer: Literal["sgd", "lars", "adamw"] = "sgd"  # PCL
    learning_rate: float = setting(0.03, above=0)  # PCL
    sgd_momentum: float = setting(0.9, least=0, most=1)  # PCL; of LARS, too
    weight_decay: float = setting(1e-4, least=0)  # PCL
    # cosine: at every step; cosine-by-epoch: constant in an epoch, as PCL --cos; step: as PCL
    schedule: Literal["cosine", "cosine-by-epoch", "step", "constant"] = "cosine-by-epoch"
    milestones: tuple[float, ...] = setting((0.6, 0.8), above=0, most=1)  # PCL: 120, 160 of 200
    rate_warmup_epochs: float = setting(0.0, least=0)  # the rate rises linearly from 0 (Goyal)
    accumulate: int = _whole(1)  # batches whose gradients make one step
    # the machine
    precision: Literal["float32", "bfloat16"] = "float32"  # of the networks; losses stay float32
    channels_last: bool = True  # 1.1 to 1.6 times as fast on a processor, on a GPU with bfloat16
    compile: bool = False  # torch.compile of the networks
    workers: int = _whole(0, 0, 256)  # threads that prepare batches ahead; 0: none
    threads: int = _whole(
        0, 0, 256
    )  # 0: torch's choice. Sums, and so bytes, depend on their number
    save_every: int = _whole(5)  # PCL: epochs between numbered checkpoints

    def __post_init__(self) -> None:
        for declared in fields(self):
            _check(declared, getattr(self, declared.name))

    def plain(self) -> dict[str, Any]:
        """Give settings as numbers, strings and lists, for checkpoints and JSON."""
        values = {declared.name: getattr(self, declared.name) for declared in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _check(declared: "Field[Any]", value: Any) -> None:
    rule = declared.metadata.get("rule")
    words = rule.known if rule else get_args(declared.type)
    if isinstance(value, str):
        if words and value not in words:
            raise InputError(f"{declared.name}: expected one of {', '.join(words)}, got {value!r}")
        return
    if isinstance(value, tuple) and not value:
        raise InputError(f"{declared.name}: expected at least one number, got an empty list")
    for number in value if isinstance(value, tuple) else (value,):
        wanted = _complaint(number, rule) if type(number) in (int, float) else None
        if wanted:
            got = list(value) if isinstance(value, tuple) else value
            raise InputError(f"{declared.name}: expected {wanted}, got {got}")


def _complaint(number: int | float, rule: _Rule | None) -> str | None:
    """Say what was expected instead of this number; None if it fits."""
    low, high, above = (rule.least, rule.most, rule.above) if rule else (None, None, None)
    too_low = (low is not None and number < low) or (above is not None and number <= above)
    too_high = high is not None and number > high
    if -inf < number < inf and not too_low and not too_high:
        return None
    if isinstance(number, int):
        return f"at most {high}" if too_high else f"at least {low}"
    if low is not None and high is not None:
        return f"{low:g}…{high:g}"
    bounds = {"at least": low, "more than": above, "at most": high}
    said = [f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None]
    return ", ".join(["a finite number", *said])


def typed(declared: "Field[Any]", value: Any) -> Any:
    """Give the value of a recipe as the setting's type; raises InputError for another type."""
    key, kind = declared.name, declared.type
    if get_origin(kind) is tuple:
        entry = get_args(kind)[0]
        if isinstance(value, list | tuple) and all(_is(entry, part) for part in value):
            return tuple(_as_float(part) if entry is float else part for part in value)
    elif _is(kind, value):
        return _as_float(value) if kind is float else value
    raise InputError(f"{key}: expected {_name(kind)}, got {value!r}")


def _is(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return type(value) in (int, float) if kind is float else type(value) is kind


def _as_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf  # refused as not finite


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of " + ("whole numbers" if get_args(kind)[0] is int else "numbers")
    return {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}[kind]
