"""Memory that was freed, given back to the system: glibc keeps what threads have freed, for what they may ask next."""

from __future__ import annotations

import ctypes
import sys


def give_back_freed_memory() -> None:
    """Takes some milliseconds, in which others go on. Where the C library is not glibc, nothing is done."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
