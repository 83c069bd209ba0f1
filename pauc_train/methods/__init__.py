"""The table of methods. A new method is one file, one line here, one test and one recipe table."""

from nemd_toolkit.errors import InputError
from pauc_train.method import Method
from pauc_train.methods import moco, pauc, pcl

__all__ = ["METHODS", "method_named"]

METHODS: dict[str, Method] = {
    "moco": moco.METHOD,
    "pcl": pcl.METHOD,
    "pauc": pauc.METHOD,
}


def method_named(name: str) -> Method:
    """Look a method up; raises InputError for an unknown name.

    >>> method_named("pcl").year
    2021
    """
    if name not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
