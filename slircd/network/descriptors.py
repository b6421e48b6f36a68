"""Files that the process may have open: each connection is one, and a flood of them must leave some for everything else.

A server without descriptors cannot accept, which is harmless, nor read its log, make a checkpoint or start a plugin,
which is not.
"""

from __future__ import annotations

import resource
from typing import Final

RESERVED: Final = 128
"""Descriptors for what is no client: the log, listeners, admin API, children, name servers."""

MOST: Final = 1 << 20
"""Where a system says that there is no limit."""


def raise_limit() -> int:
    """Let the process have as many files open as it may; returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def room_for_clients(files: int) -> int:
    """How many clients a process may have that may have so many files open: at least half as many as files."""
    return max(files - RESERVED, files // 2)
