"""What the live side counts for the metrics: plain numbers on the way of a line, made into series when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slircd.network.session import Session


class Measures:
    """Counts since the start.  Reasons are words of a closed set, never what a client sent."""

    __slots__ = (
        "_bytes_in",
        "_bytes_out",
        "_lines_in",
        "_lines_out",
        "command_seconds",
        "cut",
        "delayed",
        "refused",
    )

    def __init__(self) -> None:
        self.command_seconds: dict[str, float] = {}
        """Seconds that each command took, all its runs together, waiting for hashes and databases included."""
        self.refused: dict[str, int] = dict.fromkeys(("limit", "ban", "dnsbl", "log"), 0)
        """Connections that were turned away: limits of addresses and of the server, bans, block lists, a full log."""
        self.cut: dict[str, int] = dict.fromkeys(("sendq", "recvq", "ping", "registration", "handshake"), 0)
        """Connections that were ended: read too slowly, sent too fast, did not answer, did not register, or not even
        finish the handshake of TLS."""
        self.delayed = 0
        """Lines that waited for the flood bucket."""
        self._lines_in = self._bytes_in = self._lines_out = self._bytes_out = 0

    def took(self, command: str, seconds: float) -> None:
        """A command is done."""
        self.command_seconds[command] = self.command_seconds.get(command, 0.0) + seconds

    def ended(self, session: Session) -> None:
        """A session is gone: keep what it counted."""
        self._lines_in += session.received
        self._bytes_in += session.received_bytes
        self._lines_out += session.outbox.lines_sent
        self._bytes_out += session.outbox.bytes_sent

    def traffic(self, sessions: dict[Session, None]) -> dict[str, tuple[int, int]]:
        """Lines and bytes of all sessions, by direction `in` and `out`; `sessions` are those that live."""
        lines_in, bytes_in, lines_out, bytes_out = self._lines_in, self._bytes_in, self._lines_out, self._bytes_out
        for session in sessions:
            lines_in += session.received
            bytes_in += session.received_bytes
            lines_out += session.outbox.lines_sent
            bytes_out += session.outbox.bytes_sent
        return {"in": (lines_in, bytes_in), "out": (lines_out, bytes_out)}
