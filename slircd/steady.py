"""A reactor whose time nobody can set.

Twisted reckons with the machine's clock: where that is set back by ten minutes, all that was due comes ten minutes late,
and where it is set forward, every timeout is over at once.  What is due after so many seconds is a matter of the
monotonic clock; what time it is, IRCServer.epoch_s knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def keep_steady(reactor: Any, monotonic_s: Callable[[], float]) -> None:
    """Have `reactor.seconds`, and with it all delayed calls, go by a monotonic clock from now on.

    It begins where the reactor's own clock stands, so what is scheduled already stays right.
    """
    offset_s = reactor.seconds() - monotonic_s()
    reactor.seconds = lambda: monotonic_s() + offset_s
