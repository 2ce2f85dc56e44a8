"""A value that must reach the server it is for, and nothing else."""

from __future__ import annotations

import ctypes
from contextlib import suppress

PR_SET_DUMPABLE = 4  # of linux/prctl.h


def keep_memory_private() -> None:
    """Let no other process of our user read our memory and environment; nor is a core of them dumped.

    The tracking server is of our user, since no other one may read it: what is broken into there must not find the
    database's password here. Root may still look.
    """
    with suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


class Secret:
    """Hold a password, token or DSN so that printing, logging or comparing it by accident shows nothing.

    Not a `str` on purpose: an f-string, `json.dumps` or a traceback with locals shows `***`.
    Equal secrets are equal and hash alike, so that a plan notices a changed password.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))
