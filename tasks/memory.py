"""Give memory that is free, but kept for reuse, back to the system before a step that needs much of it."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa


def give_back() -> None:
    """Let Arrow's pool and glibc's heaps return their free pages; elsewhere than on glibc the heaps stay as they are.

    Threads that encode leave tens of megabytes of holes in their heaps, which other threads' allocations do not use.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
