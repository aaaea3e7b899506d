"""The machine that a job runs on: how many cores it may use, and how its memory is handed back.

Runs in containers.
"""

from __future__ import annotations

import ctypes
import os

# Of glibc's malloc.h, with the largest value for the first that it takes.
_MMAP_THRESHOLD, _LARGEST_THRESHOLD = -3, 32 * 2**20
_TRIM_THRESHOLD, _KEPT_BYTES = -1, 64 * 2**20


def cores() -> int:
    """Those that this process may use, where the system says so: macOS knows no affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let this process use freed blocks again, up to 64 MiB, instead of fetching each photograph's anew.

    Of the time that the system takes for a photograph, that is the larger part. Other C libraries than glibc have no
    such setting, and nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
