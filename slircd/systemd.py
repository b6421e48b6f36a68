"""What a service manager is told (sd_notify(3)): ready, reloading, stopping, how it goes, and that we are alive.

Without `NOTIFY_SOCKET` in the environment nothing is sent and nothing costs.  The message is a datagram of lines, so
it is written here rather than with a library.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import txaio
from twisted.application.service import Service
from twisted.internet.task import LoopingCall

txaio.use_twisted()
log = txaio.make_logger()

STATUS_S: Final = 30.0
"""Seconds between two STATUS lines where no watchdog asks for more."""


class Notifier:
    """The socket of the service manager, or nothing."""

    def __init__(self, environ: MutableMapping[str, str], pid: int, monotonic_s: Callable[[], float]) -> None:
        """Takes what concerns this process out of `environ`, so that no child inherits it.

        `monotonic_s` is CLOCK_MONOTONIC in seconds, as systemd measures a reload by it.
        """
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._monotonic_s = monotonic_s
        watchdog, owner = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", str(pid))
        wanted = bool(self._address) and watchdog.isdigit() and owner == str(pid)
        self.watchdog_s: float | None = int(watchdog) / 1e6 if wanted else None
        """Seconds after which the manager takes silence for death; None if it does not watch."""

    @property
    def enabled(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def send(self, **fields: str) -> None:
        """Send fields such as READY="1"; a manager that cannot be reached is logged, never an error."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        message = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.setblocking(False)
                manager.sendto(message.encode(), address)
        except OSError as error:
            log.warn("the service manager cannot be told {message!r}: {error}", message=message, error=error)

    def reloading(self) -> None:
        """The configuration is being read again; READY follows."""
        self.send(RELOADING="1", MONOTONIC_USEC=str(int(self._monotonic_s() * 1_000_000)))

    def ready(self, status: str) -> None:
        """Clients are served."""
        self.send(READY="1", STATUS=status)


class ManagerService(Service):
    """Tells the service manager when the server is up, how it goes, and when it stops; the last child of the tree.

    The watchdog is fed by the reactor, at a third of its period, so a reactor that hangs is what it finds.
    """

    def __init__(self, notifier: Notifier, reactor: Any, status: Callable[[], str]) -> None:
        """`status` is one line on how it goes."""
        self.setName("manager")
        self._notifier = notifier
        self._reactor = reactor
        self._status = status
        self._beat = LoopingCall(self._report)
        self._beat.clock = reactor

    def startService(self) -> None:  # noqa: N802  # Twisted's name
        """Say READY when the reactor runs: signals have their handlers then, and the ports are open."""
        super().startService()
        if self._notifier.enabled:
            self._reactor.callWhenRunning(self._ready)

    def _ready(self) -> None:
        self._notifier.ready(self._status())
        watchdog_s = self._notifier.watchdog_s
        beating = self._beat.start(STATUS_S if watchdog_s is None else min(watchdog_s / 3, STATUS_S))
        beating.addErrback(lambda failure: log.failure("the service manager is told nothing more", failure=failure))

    def _report(self) -> None:
        fields = {"STATUS": self._status()}
        if self._notifier.watchdog_s is not None:
            fields["WATCHDOG"] = "1"
        self._notifier.send(**fields)

    def stopService(self) -> None:  # noqa: N802  # Twisted's name
        """Say STOPPING, before anything else stops."""
        super().stopService()
        if self._beat.running:
            self._beat.stop()
        self._notifier.send(STOPPING="1", STATUS="closing clients and the log")


def from_environment(monotonic_s: Callable[[], float]) -> Notifier:
    """The notifier of this process."""
    return Notifier(os.environ, os.getpid(), monotonic_s)
