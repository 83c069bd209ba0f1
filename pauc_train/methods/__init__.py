"""The table of methods. A new method is one file, one line here, one test and one recipe table."""

from difflib import get_close_matches
from typing import Any

from nemd_toolkit.errors import InputError
from pauc_train.method import Method
from pauc_train.methods import (
    biased_cmc,
    cmc,
    debiased_cmc,
    moco,
    mocov2,
    npid,
    pauc,
    pcl,
    pclv2,
    pirl,
)

__all__ = ["METHODS", "method_named"]

METHODS: dict[str, Method[Any]] = {
    method.name: method
    for method in (
        moco.METHOD,
        mocov2.METHOD,
        pcl.METHOD,
        pclv2.METHOD,
        pauc.METHOD,
        npid.METHOD,
        pirl.METHOD,
        cmc.METHOD,
        biased_cmc.METHOD,
        debiased_cmc.METHOD,
    )
}


def method_named(name: str) -> Method[Any]:
    """Look a method up; raises InputError for an unknown name.

    >>> method_named("pcl").year
    2021
    """
    if name not in METHODS:
        close = get_close_matches(name, METHODS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got {name!r}{hint}")
    return METHODS[name]
