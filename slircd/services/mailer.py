"""Sending mail: through a command such as sendmail, or to an SMTP server, with TLS that verifies it."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from slircd.security.client_tls import client_tls

if TYPE_CHECKING:
    from slircd.config.sections import Mail


class MailError(Exception):
    """The mail could not be handed over; the text says why, for the operator's log."""


class Mailer(Protocol):
    """Sends a text to an address."""

    def send(self, to: str, subject: str, text: str) -> Deferred[None]:
        """Hand the mail over; fails with MailError."""


def compose(sender: str, to: str, subject: str, text: str) -> bytes:
    """The bytes of a mail."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message.as_bytes()


class SendmailMailer:
    """Runs a command with the recipient as last argument and the mail on its standard input."""

    def __init__(self, command: list[str], sender: str, reactor: Any) -> None:
        self._command = command
        self._sender = sender
        self._reactor = reactor

    def send(self, to: str, subject: str, text: str) -> Deferred[None]:
        """Hand the mail to the command."""
        protocol = _Sendmail(compose(self._sender, to, subject, text))
        # No shell, and "--" before the address: nothing that a user types is an option or a command.
        self._reactor.spawnProcess(protocol, self._command[0], [*self._command, "--", to], env=None)
        return protocol.done


class _Sendmail(ProcessProtocol):
    def __init__(self, mail: bytes) -> None:
        self._mail = mail
        self._errors = b""
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(self._mail)
        transport.closeStdin()

    def errReceived(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-500:]

    def processEnded(self, reason: Failure) -> None:
        if reason.check(ProcessDone):
            self.done.callback(None)
        else:
            text = self._errors.decode(errors="replace").strip()
            self.done.errback(MailError(f"{reason.getErrorMessage()} {text}".strip()))


class SMTPMailer:
    """Talks to an SMTP server: with TLS from the start, with STARTTLS, or (`none`) without, for a relay on loopback."""

    def __init__(self, config: Mail, password: str | None, reactor: Any) -> None:
        self._config = config
        self._password = password
        self._reactor = reactor

    def send(self, to: str, subject: str, text: str) -> Deferred[None]:
        """Hand the mail to the server."""
        from slircd.services.smtp import SenderFactory  # only for who sends mail: it costs a start its time

        config = self._config
        done: Deferred[Any] = Deferred()
        mail = BytesIO(compose(config.sender, to, subject, text))
        factory = SenderFactory(config, self._password, to, mail, done)
        endpoint: Any = HostnameEndpoint(self._reactor, config.smtp_host.encode(), config.smtp_port, timeout=30)
        if config.smtp_tls == "tls":
            endpoint = wrapClientTLS(client_tls(config.smtp_host), endpoint)
        endpoint.connect(factory).addErrback(_failed, done)
        return done.addCallbacks(lambda _: None, _as_mail_error)


def _failed(failure: Failure, done: Deferred[Any]) -> None:
    if not done.called:
        done.errback(failure)


def _as_mail_error(failure: Failure) -> None:
    raise MailError(failure.getErrorMessage())
