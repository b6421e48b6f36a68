"""How late the reactor is: what a long turn, the garbage collector or a busy machine does to everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

LAG_S: Final = 0.1
"""How often the reactor is looked at."""


class LagProbe(Service):
    """Measures how late the reactor is, ten times a second."""

    def __init__(self, reactor: Any, observe: Callable[[float], None]) -> None:
        self.setName("lag")
        self._reactor = reactor
        self._observe = observe
        self._due = 0.0
        self._call = LoopingCall(self._look)
        self._call.clock = reactor

    def startService(self) -> None:  # Twisted's name
        """Look for the first time when the start is over."""
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        self._due = self._reactor.seconds() + LAG_S
        self._call.start(LAG_S, now=False).addErrback(lambda _: None)

    def _look(self) -> None:
        now = self._reactor.seconds()
        self._observe(max(now - self._due, 0.0))
        # What a long turn has made it miss is one late call, not many.
        self._due += LAG_S
        if self._due <= now:
            self._due += LAG_S * ((now - self._due) // LAG_S + 1)

    def stopService(self) -> None:  # Twisted's name
        """Look no more."""
        super().stopService()
        if self._call.running:
            self._call.stop()
