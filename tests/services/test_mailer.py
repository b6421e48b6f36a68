"""Mail through a real command and a real SMTP server on loopback."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult, LoginPassword

from slircd.config.load import parse
from slircd.services.mailer import compose

RUN = """
import sys, tomllib
from twisted.internet import reactor
from slircd.app import make_mailer
from slircd.config.load import parse
mailer = make_mailer(parse(tomllib.loads(sys.argv[1]), "test"), reactor)
def done(result):
    print("sent" if result is None else f"failed: {result.getErrorMessage()}")
    reactor.stop()
reactor.callWhenRunning(lambda: mailer.send(sys.argv[2], "A subject", "The text, ünïcödé.").addBoth(done))
reactor.run()
"""


def send(config: str, to: str = "ann@example.org") -> str:
    """Send one mail from a process with a reactor of its own; what it says of it."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", RUN, config, to], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout.strip()


class Keep(Message):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[object] = []

    def handle_message(self, message: object) -> None:
        self.mails.append(message)


def authenticate(server: object, session: object, envelope: object, mechanism: str, data: object) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"me", b"geheim")
    return AuthResult(success=right, handled=False)


@pytest.fixture
def smtp() -> object:
    handler = Keep()
    controller = Controller(handler, hostname="127.0.0.1", port=0, authenticator=authenticate, auth_require_tls=False)
    # Port 0: the controller's own check of its start needs the port, so it is found out first.
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller.port = probe.getsockname()[1]
    controller.start()
    yield controller, handler
    controller.stop()


def test_smtp(smtp: tuple[Controller, Keep], tmp_path: Path) -> None:
    """A mail arrives as it was written, with log-in and without."""
    controller, handler = smtp
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    base = f'[mail]\nsender = "irc@example.net"\nsmtp_host = "127.0.0.1"\nsmtp_port = {controller.port}\nsmtp_tls = "none"\n'
    assert send(base) == "sent"
    assert send(f'{base}smtp_username = "me"\nsmtp_password_file = "{secret}"\n') == "sent"
    secret.write_text("wrong\n")
    assert send(f'{base}smtp_username = "me"\nsmtp_password_file = "{secret}"\n').startswith("failed")
    assert len(handler.mails) == 2
    assert (
        "<irc@example.net>" in str(handler.mails[0]["X-MailFrom"])
        or handler.mails[0]["X-MailFrom"] == "irc@example.net"
    )
    mail = handler.mails[0]
    assert (mail["From"], mail["To"], mail["Subject"]) == ("irc@example.net", "ann@example.org", "A subject")
    assert "ünïcödé" in mail.get_payload(decode=True).decode()


def test_starttls_is_not_left_out(smtp: tuple[Controller, Keep]) -> None:
    """Where STARTTLS is asked for and the server has none, nothing is sent in the clear."""
    controller, handler = smtp
    config = f'[mail]\nsmtp_host = "127.0.0.1"\nsmtp_port = {controller.port}\nsmtp_tls = "starttls"\n'
    assert send(config).startswith("failed")
    assert handler.mails == []


def test_nobody_listens() -> None:
    """An SMTP server that is not there is an error, not a hang."""
    assert send('[mail]\nsmtp_host = "127.0.0.1"\nsmtp_port = 1\nsmtp_tls = "none"\n').startswith("failed")


def test_sendmail(tmp_path: Path) -> None:
    """The command gets the mail on its input and the address as its last argument, never as an option."""
    command = tmp_path / "sendmail"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/mail\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    assert send(f'[mail]\nsendmail = ["{command}", "-i"]\n') == "sent"
    assert (tmp_path / "arguments").read_text() == "-i -- ann@example.org\n"
    assert "Subject: A subject" in (tmp_path / "mail").read_text()
    command.write_text("#!/bin/sh\necho no such user >&2\nexit 67\n")
    assert "no such user" in send(f'[mail]\nsendmail = ["{command}"]\n')


def test_composed_mail_cannot_be_injected() -> None:
    """A line break in an address or a subject is refused by the library, not sent on."""
    with pytest.raises(ValueError, match=r"linefeed|newline|CR"):
        compose("a@b.c", "x@y.z\nBcc: all@y.z", "s", "t")


def test_configuration_asks_for_mail_where_it_is_needed() -> None:
    """require_email without [mail] is a mistake in the configuration."""
    from slircd.config.load import ConfigError

    with pytest.raises(ConfigError, match=r"accounts\.require_email"):
        parse({"accounts": {"require_email": True}}, "f")
