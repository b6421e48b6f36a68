"""Questions about the past: whatever reads the log does so away from the reactor.

A question is a function of a module, `question(reader, **arguments)`, with plain values as arguments, that returns the
bytes of the answer.  It must not touch the server: what it knows is the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from slircd.events.reader import LogReader


class Past(Protocol):
    """Whoever answers questions about the past."""

    def ask(self, question: Callable[..., bytes], **arguments: Any) -> Deferred[bytes]:
        """The bytes that `question(reader, **arguments)` returns, or what it raised."""


class PastInThreads:
    """Answers in threads of this process, each question with a reader of its own."""

    def __init__(self, location: str) -> None:
        """`location` is the URL of the log."""
        self._location = location

    def ask(self, question: Callable[..., bytes], **arguments: Any) -> Deferred[bytes]:
        """Run the question in a thread."""
        return deferToThread(self._run, question, arguments)

    def _run(self, question: Callable[..., bytes], arguments: dict[str, Any]) -> bytes:
        with LogReader(self._location) as reader:
            return question(reader, **arguments)
