"""Every error this package raises on purpose.

A message says what was expected, what came and what to do. The command line prints it as one
sentence and exits with code 2.
"""

__all__ = [
    "Collapsed",
    "InputError",
    "NemdError",
    "NotOptimal",
    "PartlyLoaded",
    "UnknownLayout",
    "UnsafeFile",
]


class NemdError(Exception):
    """Base of all errors raised here."""


class InputError(NemdError):
    """What the caller gave cannot be used as it is."""


class UnknownLayout(InputError):
    """A checkpoint was read, but no known encoder layout matches its keys."""


class UnsafeFile(InputError):
    """A file asks for code to be run, or claims more than it holds; nothing of it was executed."""


class PartlyLoaded(UserWarning):
    """An encoder is not the one that a checkpoint's weights belong to: some have no place in it."""


class NotOptimal(NemdError):
    """A transport solver stopped before the optimum; its number is withheld."""


class Collapsed(NemdError):
    """A training collapsed, and its monitor was asked not to let it go on."""
