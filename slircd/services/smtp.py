"""One mail to an SMTP server, with Twisted's client."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.mail.smtp import ESMTPSender

from slircd.security.client_tls import client_tls

if TYPE_CHECKING:
    from slircd.config.sections import Mail

TIMEOUT_S: Final = 60
"""Seconds that an SMTP server has for each answer."""


class SenderFactory(Factory):
    """One mail to one recipient."""

    noisy = False
    domain = b"slircd"

    def __init__(self, config: Mail, password: str | None, to: str, mail: BytesIO, done: Deferred[Any]) -> None:
        self.fromEmail = config.sender
        self.toEmail = [to.encode()]
        self.file = mail
        self.result = done
        self.retries = 0
        self.sendFinished = False
        self.currentProtocol: Any = None
        self._config = config
        self._password = password

    def buildProtocol(self, addr: object) -> Any:
        config = self._config
        starttls = config.smtp_tls == "starttls"
        context = client_tls(config.smtp_host) if starttls else None
        username = config.smtp_username.encode() if config.smtp_username else None
        secret = (self._password or "").encode()
        protocol = _Sender(username, secret, context, self.domain)
        protocol.requireTransportSecurity = starttls
        protocol.requireAuthentication = username is not None
        protocol.timeout = TIMEOUT_S  # type: ignore[assignment]  # its default is None
        protocol.factory = self
        self.currentProtocol = protocol
        return protocol


class _Sender(ESMTPSender):
    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        done: Deferred[Any] = self.factory.result
        if not done.called:
            done.errback(reason)
