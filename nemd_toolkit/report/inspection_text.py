"""An inspection as text for a terminal, 80 columns wide: what it is, what it holds, what to do."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemd_toolkit.checkpoints import shown
from nemd_toolkit.report.text import MARKS

__all__ = ["inspection_lines"]

_WIDTH = 80
_INDENT = 13  # of what stands beside a name
_FEW = 8
_CONTAINERS = {
    "zip": "PyTorch",
    "legacy": "PyTorch's old format",
    "torchscript": "TorchScript",
    "folder": "a folder as Hugging Face saves it",
}
_SPACES = {"rgb": "RGB", "lab": "Lab", "ycbcr": "YCbCr", "ydbdr": "YDbDr"}
# Settings that say what was trained, and how; a file may hold a hundred others.
_TELLING = """
    arch model model_name model_type architecture method backbone encoder_size dataset data view
    epochs max_epochs batch_size lr base_lr learning_rate weight_decay temperature softmax_t
    moco_t nce_t teacher_temp moco_dim moco_k moco_m feat_dim feature_dim out_dim num_prototypes
    nmb_prototypes num_cluster pcl_r mlp mlp_head normlinear patch_size hidden_size
    num_attention_heads n_rkhs
"""


def inspection_lines(document: Mapping[str, Any]) -> list[str]:
    """Give the document as lines that a person reads; only commands may be longer than 80."""
    lines = [
        *_wrapped(shown(document["source"]), 0),
        *_wrapped(f"Recognised as {shown(document['title'])}.", 0),
        "",
        *_beside("layout", f"{document['layout']}, since {document['why']}"),
        *_beside("file", _file(document)),
    ]
    lines += _trained(document)
    lines += _encoders(document)
    lines += _beside("images", _image(document["image"]))
    names = document["not_executed"]
    if names:
        more = f" and {len(names) - 6} more" if names[6:] else ""
        listed = ", ".join(shown(name) for name in names[:6])
        lines += _beside("not run", f"{listed}{more}: kept as names, never executed")
    if document["prototypes"]:
        for own in document["prototypes"]:
            lines += ["", *_prototypes(own, len(document["branches"]))]
        lines += ["", *_wrapped(_blind(document["prototypes"]), 0)]
    else:
        lines += _beside("prototypes", "none of its own; `nemd analyze` finds some by k-means")
    lines += ["", "What you can do with it:"]
    for entry in document["commands"]:
        lines += ["", *_wrapped(entry["purpose"], 2), f"    {entry['command']}"]
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _beside(name: str, text: str) -> list[str]:
    """Text that hangs beside a name."""
    first, *rest = _wrapped(text, _INDENT)
    return [f"  {name:<{_INDENT - 2}}{first.lstrip()}", *rest]


def _file(document: Mapping[str, Any]) -> str:
    container = _CONTAINERS.get(document["container"], document["container"])
    return f"{_bytes(document['bytes'])}, {container}, sha256 {document['sha256'][:12]}…"


def _trained(document: Mapping[str, Any]) -> Iterator[str]:
    """Say what the file tells of its training, where it does."""
    told = [
        f"method {shown(document['method'])}" if document["method"] else "",
        f"architecture {shown(document['arch'])}" if document["arch"] else "",
        f"data {shown(document['trained_on'])}" if document["trained_on"] else "",
        "" if document["epoch"] is None else f"saved at epoch {document['epoch']:,}",
    ]
    if any(told):
        yield from _beside("training", ", ".join(filter(None, told)))
    settings = document["settings"]
    if settings:
        telling = [name for name in settings if name.lower() in _TELLING.split()]
        few = (telling or list(settings))[:_FEW]
        text = ", ".join(f"{shown(name)}={shown(settings[name])[:40]}" for name in few)
        left = len(settings) - len(few)
        yield from _beside("settings", text + (f"; {left} more with --json" if left else ""))


def _encoders(document: Mapping[str, Any]) -> Iterator[str]:
    branches = document["branches"]
    default, first = document["default_branch"], ""
    ordered = {default: branches[default], **branches}
    several = len(branches) > 1
    for number, (name, branch) in enumerate(ordered.items()):
        heads = "".join(
            f", {shown(layer)}{'' if width is None else f' ({width:,} wide)'}"
            for layer, width in branch["heads"].items()
        )
        which = f"{shown(name)}: " if several else ""
        body = f"{branch['encoder']}, {_millions(branch['parameters'])} parameters"
        if number and body == first:
            body = "the same"
        first = body if number == 0 else first
        analysed = "" if number else f". Analysed by default: its {branch['default_layer']}"
        word = "encoders" if several else "encoder"
        yield from _beside("" if number else word, f"{which}{body}{heads}{analysed}")


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} million" if count >= 1e5 else f"{count:,}"


def _prototypes(own: Mapping[str, Any], branches: int) -> Iterator[str]:
    """One set of prototypes, and what their vectors alone say."""
    of = f" of the {' and the '.join(shown(name) for name in own['branches'])}"
    bias = ", with a bias" if own["bias"] else ""
    yield from _wrapped(
        f"Its own prototypes{of if branches > 1 else ''}: {own['k']:,} of dimension {own['dim']}, "
        f"compared with the {shown(own['layer'])}'s output ({shown(own['name'])}){bias}.",
        0,
    )
    if not own["finite"]:
        yield from _wrapped("They hold NaN or infinity; take an earlier checkpoint.", 0)
    elif own["geometry"] is None:
        yield from _wrapped("Fewer than two have a length, so nothing can be compared.", 0)
    else:
        yield from _judged(own)


def _judged(own: Mapping[str, Any]) -> Iterator[str]:
    zero = own["geometry"]["zero"]
    if zero:
        yield from _wrapped(f"{zero:,} have no length and are left out here.", 0)
    verdict = own["verdict"]
    codes = f" ({', '.join(verdict['codes'])})" if verdict["codes"] else ""
    headline = "The vectors alone show no collapse"
    if verdict["state"] == "collapsed":
        headline = f"The vectors alone show a collapse{codes}"
    yield from _wrapped(f"{headline}:", 0)
    for finding in own["findings"]:
        if finding["measured"]:
            name = f"{MARKS[finding['status']]} {finding['code']} {finding['name']}"
            yield from _item(f"{name}: {finding['message']}")
    for code in verdict["codes"]:
        yield f"  What {code} means, and what to do:  nemd explain {code}"


def _blind(sets: Sequence[Mapping[str, Any]]) -> str:
    """Say what vectors alone cannot show, and where it is shown."""
    findings = next((own["findings"] for own in sets if own["findings"]), ())
    blind = [f"{f['name']} ({f['code']})" for f in findings if not f["measured"]]
    what = " and ".join(blind) or "coagulation and dead prototypes"
    return (
        f"Vectors alone cannot show {what}: these are about the samples around prototypes. The "
        "command below with --prototypes own measures them."
    )


def _item(text: str) -> list[str]:
    first, *rest = textwrap.wrap(text, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return [f"  {first}", *(f"    {line}" for line in rest)]


def _image(image: Mapping[str, Any]) -> str:
    size = "any size" if image["size"] is None else "{}x{}".format(*image["size"])
    resize = f" (the centre, of a shorter side of {image['resize']})" if image["resize"] else ""
    resize = " (squeezed)" if image["squeezed"] else resize
    mean, std = (" ".join(f"{value:.3g}" for value in image[name]) for name in ("mean", "std"))
    scaled = f"mean {mean}, std {std}"
    if not any(image["mean"]) and {*image["std"]} == {1.0}:
        scaled = "pixels in [0, 1] as they are"
    told = "" if image["mean_and_std_told"] else " (the usual ones; the file does not say)"
    kind = "grey" if image["channels"] == 1 else _SPACES[image["space"]]
    return f"{kind}, {size}{resize}; {scaled}{told}"


def _bytes(size: int | float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
