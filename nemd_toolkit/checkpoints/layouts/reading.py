"""From what a file holds to a reading of it: find the layout, take its parts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nemd_toolkit.checkpoints.content import Content
from nemd_toolkit.checkpoints.layouts.configured import configured
from nemd_toolkit.checkpoints.layouts.distillation import DISTILLATION
from nemd_toolkit.checkpoints.layouts.inputs import fitted
from nemd_toolkit.checkpoints.layouts.layout import IMAGENET, Layout, Part
from nemd_toolkit.checkpoints.layouts.lightly import LIGHTLY
from nemd_toolkit.checkpoints.layouts.memory_bank import MEMORY_BANK
from nemd_toolkit.checkpoints.layouts.momentum import MOMENTUM
from nemd_toolkit.checkpoints.layouts.names import tensors
from nemd_toolkit.checkpoints.layouts.parts import Branch, Reading, State
from nemd_toolkit.checkpoints.layouts.pauc_train import FORMAT, read_pauc_train
from nemd_toolkit.checkpoints.layouts.plain import PLAIN
from nemd_toolkit.checkpoints.layouts.prototypical import PROTOTYPICAL
from nemd_toolkit.checkpoints.layouts.sololearn import SOLO_LEARN
from nemd_toolkit.checkpoints.layouts.special import SPECIAL, viewed
from nemd_toolkit.checkpoints.layouts.stable import STABLE
from nemd_toolkit.checkpoints.layouts.transformers import HUGGING_FACE, VISION_TRANSFORMERS
from nemd_toolkit.checkpoints.layouts.twins import TWINS
from nemd_toolkit.checkpoints.layouts.vissl import VISSL
from nemd_toolkit.checkpoints.stubs import Stub
from nemd_toolkit.checkpoints.wording import shown
from nemd_toolkit.errors import InputError, UnknownLayout

__all__ = ["LAYOUTS", "STATE_DICT", "layout_names", "read_layout"]

# In order: what is told by many names comes before what is told by few.
LAYOUTS: tuple[Layout, ...] = (
    *MOMENTUM,
    *MEMORY_BANK,
    *PROTOTYPICAL,
    *SPECIAL,
    *TWINS,
    *HUGGING_FACE,
    *DISTILLATION,
    *VISSL,
    *SOLO_LEARN,
    *LIGHTLY,
    *STABLE,
    *VISION_TRANSFORMERS,
    *PLAIN,
)
# All tensors as one encoder, by name only: for encoders of other kinds, which --encoder names.
STATE_DICT = Layout(
    name="state-dict",
    title="a state dict of any kind",
    source="none: whatever holds tensors",
    marks=(),
    parts={"encoder": Part(backbone="")},
    default="encoder",
    image=replace(IMAGENET, normalised=False),
)
_ARCHES = ("arch", "model_name", "backbone", "encoder")
_SETTINGS = ("args", "opt", "hyper_parameters", "hyperparams", "config", "cfg", "hparams")


def layout_names() -> tuple[str, ...]:
    """Names for --layout.

    >>> layout_names()[:2]
    ('pauc-train/1', 'pcl/moco')
    """
    return tuple(dict.fromkeys([FORMAT, *(layout.name for layout in (*LAYOUTS, STATE_DICT))]))


def read_layout(content: Content, wanted: str | None = None) -> Reading:
    """Recognise the layout by its names, or take the one that is `wanted`.

    Raises UnknownLayout where none fits, InputError for an unknown or unfitting `wanted`.
    """
    state = tensors(content.data)
    ours = read_pauc_train(content, state)
    if ours is not None and wanted in (None, FORMAT):
        return _completed(ours, content)
    for layout in _candidates(wanted, content):
        fits = layout.fits(state, named=wanted is not None)
        branches = layout.branches(state) if fits else {}
        if branches:
            return _completed(_reading(layout, state, branches), content)
    raise UnknownLayout(
        f"{content.path}: expected "
        + (
            f"the layout {wanted}"
            if wanted
            else f"one of {len(layout_names()) - 1} layouts that nemd recognises"
        )
        + f", got {_described(content, state)}; name the layout with --layout, or analyse "
        "with the network that --encoder names, or embed the images yourself and give the "
        "embeddings"
    )


def _candidates(wanted: str | None, content: Content) -> tuple[Layout, ...]:
    if wanted is None:
        return LAYOUTS
    found = tuple(layout for layout in (*LAYOUTS, STATE_DICT) if layout.name == wanted)
    if not found and wanted != FORMAT:
        raise InputError(
            f"--layout: expected one of {', '.join(layout_names())}, got {wanted!r}; "
            f"leave it out to have {content.path} recognised"
        )
    return found


def _default(layout: Layout, branches: Mapping[str, Branch]) -> str:
    return layout.default if layout.default in branches else next(iter(branches), "")


def _reading(layout: Layout, state: State, branches: Mapping[str, Branch]) -> Reading:
    default = _default(layout, branches)
    *marks, last = [f"{mark}*" if mark.endswith(".") else mark for mark in layout.marks] or [
        "tensors"
    ]
    names = f"{', '.join(marks)} and {last}" if marks else last
    return Reading(
        layout=layout.name,
        title=layout.title,
        why=f"it holds {names}{_left_out(layout, state, branches)}",
        image=fitted(
            layout.image, branches[default].backbone, small=layout.small, any_size=layout.any_size
        ),
        branches=branches,
        default_branch=default,
    )


def _left_out(layout: Layout, state: State, branches: Mapping[str, Branch]) -> str:
    parts = [part for b in branches.values() for part in (b.backbone, *(h.state for h in b.heads))]
    taken = {id(value) for part in parts for value in part.values()}
    heads = [at for part in layout.parts.values() for at in part.heads]
    whole = [at.prefix for at in heads]
    whole += [at.prefix for part in layout.parts.values() for at in part.prototypes]
    # some are rewritten, so they are not found again
    whole += [prefix for at in heads for prefix in at.then]
    left = [k for k, v in state.items() if id(v) not in taken and not k.startswith(tuple(whole))]
    if not left:
        return ""
    return "; 1 other entry is left out" if len(left) == 1 else f"; {len(left)} others are left out"


def _completed(reading: Reading, content: Content) -> Reading:
    """Add what any file may say of itself."""
    data = content.data if isinstance(content.data, Mapping) else {}
    arch = next((data[name] for name in _ARCHES if isinstance(data.get(name), str)), None)
    epoch = data.get("epoch")
    whole = epoch if isinstance(epoch, int) and not isinstance(epoch, bool) else None
    settings = next((s for s in (_plain(data.get(name)) for name in _SETTINGS) if s), {})
    image = viewed(reading.image, settings)
    image = configured(image, content) if content.container == "folder" else image
    return replace(reading, arch=arch, epoch=whole, settings=settings, image=image)


def _plain(value: Any) -> dict[str, object]:
    """Give settings that are text or numbers, from a dictionary or an options object."""
    inside = value.attributes if isinstance(value, Stub) else value
    inside = (
        vars(inside) if hasattr(inside, "__dict__") and not isinstance(inside, type) else inside
    )
    if not isinstance(inside, Mapping):
        return {}
    kinds = str | int | float | bool
    return {shown(key): item for key, item in inside.items() if isinstance(item, kinds)}


def _described(content: Content, state: State) -> str:
    if not state:
        kind = type(content.data).__name__
        return "no tensors" if isinstance(content.data, Mapping) else f"a {kind} without tensors"
    families = Counter(shown(key.partition(".")[0]) for key in state)
    most = ", ".join(f"{name}.* ({count})" for name, count in families.most_common(6))
    return f"the keys {most}" + (" and others" if len(families) > 6 else "")
