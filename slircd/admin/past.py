"""Questions about the past: whatever reads the log does so away from the reactor.

A question is a function of a module, `question(reader, **arguments)`, with plain values as arguments, that returns the
bytes of the answer.  It must not touch the server: what it knows is the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred


class Past(Protocol):
    """Whoever answers questions about the past."""

    def ask(self, question: Callable[..., bytes], **arguments: Any) -> Deferred[bytes]:
        """The bytes that `question(reader, **arguments)` returns, or what it raised."""
