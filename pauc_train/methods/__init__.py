"""The table of methods. A new method is one file, one line here, one test and one recipe table."""

from difflib import get_close_matches
from typing import Any

from nemd_toolkit.errors import InputError
from pauc_train.method import Method
from pauc_train.methods import (
    adco,
    amdim,
    barlow_twins,
    biased_cmc,
    byol,
    cld,
    cmc,
    cpc,
    cpcv2,
    debiased_cmc,
    infomin,
    loco,
    looc,
    mochi,
    moco,
    moco_align_uniform,
    mocov2,
    mocov3,
    npid,
    pauc,
    pcl,
    pclv2,
    pic,
    pirl,
    simclr,
    simclrv2,
    simsiam,
    swav,
    swd,
    vicreg,
)

__all__ = ["METHODS", "method_named"]

METHODS: dict[str, Method[Any]] = {
    method.name: method
    for method in (
        cpc.METHOD,
        cpcv2.METHOD,
        cmc.METHOD,
        biased_cmc.METHOD,
        debiased_cmc.METHOD,
        moco.METHOD,
        mocov2.METHOD,
        mocov3.METHOD,
        moco_align_uniform.METHOD,
        npid.METHOD,
        pirl.METHOD,
        infomin.METHOD,
        simclr.METHOD,
        simclrv2.METHOD,
        swd.METHOD,
        byol.METHOD,
        simsiam.METHOD,
        barlow_twins.METHOD,
        vicreg.METHOD,
        swav.METHOD,
        pcl.METHOD,
        pclv2.METHOD,
        cld.METHOD,
        looc.METHOD,
        adco.METHOD,
        mochi.METHOD,
        pic.METHOD,
        amdim.METHOD,
        loco.METHOD,
        pauc.METHOD,
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
