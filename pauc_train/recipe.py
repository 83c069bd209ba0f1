"""From a recipe (TOML) and the command line to the settings of a method.

A recipe changes defaults for a kind of data; a table in it named like a method changes them for
that method only; `--set key=value` has the last word.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import Field, fields
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from nemd_toolkit.errors import InputError
from pauc_train.config import Config, typed
from pauc_train.methods import METHODS, method_named

__all__ = ["load_config", "parse_setting", "recipe_for"]


def load_config(
    method: str, recipe: Path | str | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Read the recipe (a TOML file, or the name of a packaged one), then apply the overrides.

    A recipe may hold settings that only other methods have. Raises InputError for a setting that
    no method has, naming the closest known one, for a wrong type or value, and for an override
    that this method lacks.

    >>> load_config("pcl", "digits", {"epochs": 3}).epochs
    3
    """
    wanted: type[Config] = method_named(method).config
    settings = _read(recipe) if recipe is not None else {}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    general = {key: value for key, value in settings.items() if key not in tables}
    known = _settings_of_all()
    for table in (general, *tables.values()):  # a misspelt setting must not wait for its method
        for key, value in table.items():
            _check_alone(known, key, value)
    for name in tables:
        _require_method(name)
    own = {declared.name: declared for declared in fields(wanted)}
    for key in overrides or {}:
        if key not in own:
            _require_known(known, key)
            raise InputError(f"{key}: {method} has no such setting; it has {', '.join(own)}")
    merged = {**general, **tables.get(method, {}), **(overrides or {})}
    return wanted(**{k: typed(own[k], v) for k, v in merged.items() if k in own})


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


def _settings_of_all() -> dict[str, list[tuple[type[Config], "Field[Any]"]]]:
    """Every setting's name, and the methods' settings that have it."""
    known: dict[str, list[tuple[type[Config], Field[Any]]]] = {}
    for kind in dict.fromkeys(method.config for method in METHODS.values()):
        for declared in fields(kind):
            known.setdefault(declared.name, []).append((kind, declared))
    return known


def _require_known(known: Mapping[str, Any], key: str) -> None:
    if key not in known:
        close = get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        raise InputError(f"setting {key!r} is not known; {hint}")


def _require_method(name: str) -> None:
    if name not in METHODS:
        close = get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(METHODS)}"
        raise InputError(f"recipe: expected tables named like methods, got [{name}]; {hint}")


def _check_alone(
    known: Mapping[str, list[tuple[type[Config], "Field[Any]"]]], key: str, value: Any
) -> None:
    """Raise InputError unless some method takes this value for this setting."""
    _require_known(known, key)
    complaint: InputError | None = None
    for kind, declared in known[key]:
        try:
            kind(**{key: typed(declared, value)})
        except InputError as error:
            complaint = complaint or error
        else:
            return
    if complaint:
        raise complaint
