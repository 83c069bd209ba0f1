"""The globals that a checkpoint's pickle may name, and which of them it may call.

Fewer than torch's own list: nothing that allocates by a number in the file, nothing that sets
attributes on tensors.
"""

import torch

__all__ = ["CALLS", "GLOBALS", "REBUILDS", "STATEFUL", "item_bytes"]

_STORAGES = {
    f"torch.{place}{kind}Storage": dtype.itemsize
    for place in ("", "cuda.")
    for kind, dtype in (
        ("Double", torch.float64),
        ("Float", torch.float32),
        ("Half", torch.float16),
        ("BFloat16", torch.bfloat16),
        ("Long", torch.int64),
        ("Int", torch.int32),
        ("Short", torch.int16),
        ("Char", torch.int8),
        ("Byte", torch.uint8),
        ("Bool", torch.bool),
        ("ComplexDouble", torch.complex128),
        ("ComplexFloat", torch.complex64),
    )
}
_UNTYPED = {"torch.storage.UntypedStorage": 1, "torch.UntypedStorage": 1}
_DTYPES = {
    f"torch.{name}": value.itemsize
    for name, value in vars(torch).items()
    if isinstance(value, torch.dtype)
}
_ITEM_BYTES = {**_STORAGES, **_UNTYPED, **_DTYPES}

# Functions that make a tensor over a storage, and where their arguments name the element type
# (None: the storage's own).
REBUILDS: dict[str, int | None] = {
    "torch._utils._rebuild_tensor": None,
    "torch._utils._rebuild_tensor_v2": None,
    "torch._utils._rebuild_tensor_v3": 6,
}
# Objects that may be given attributes: state dicts carry _metadata, namespaces their options.
STATEFUL = {"collections.OrderedDict", "argparse.Namespace"}
CALLS = {
    *REBUILDS,
    *STATEFUL,
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.device",
    "_codecs.encode",  # how protocol 2 writes bytes, as latin1
    "builtins.set",
    "builtins.complex",
}
GLOBALS = CALLS | set(_ITEM_BYTES)


def item_bytes(name: str) -> int:
    """Bytes per element of a storage class or dtype; KeyError for other globals.

    >>> item_bytes("torch.HalfStorage"), item_bytes("torch.int64")
    (2, 8)
    """
    return _ITEM_BYTES[name]
