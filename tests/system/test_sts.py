"""Strict transport security as a client lives it: it comes in plain text, is sent to TLS, and remembers that (IRCv3 sts)."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.system.daemon import Daemon, SocketClient

pytestmark = pytest.mark.system

POLICY = """
[sts]
enabled = true
port = {port}
duration_s = 86400
"""


def capabilities(client: SocketClient) -> dict[str, str]:
    """What CAP LS 302 offers, with its values."""
    client.sends("CAP LS 302")
    start = len(client.lines)
    client.until(r" CAP \S+ LS :")
    words = " ".join(line.rpartition(" :")[2] for line in client.lines[start:] if " LS " in line).split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


class Policy(NamedTuple):
    """What a client remembers of a host."""

    port: int
    duration_s: int


class StsClient:
    """A client that keeps to the specification: once it knows a policy it speaks TLS, and to the right certificate."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.policy: Policy | None = None
        self._trusted = ssl.create_default_context(cafile=str(daemon.folder / "slircd.crt"))

    def connects(self) -> SocketClient:
        """A connection as the policy wants it, negotiating."""
        port = self._daemon.ports["plain"] if self.policy is None else self.policy.port
        client = SocketClient(self._daemon, tls=self.policy is not None, context=self._trusted, port=port)
        words = dict(word.partition("=")[::2] for word in capabilities(client).get("sts", "").split(",") if word)
        if self.policy is None and "port" in words:
            client.close()
            self.policy = Policy(int(words["port"]), 0)
            return self.connects()
        if self.policy is not None and "duration" in words:
            self.policy = self.policy._replace(duration_s=int(words["duration"]))
        return client


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path)


def rehash(daemon: Daemon, old: str, new: str) -> None:
    """Change the configuration, and have the daemon read it."""
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace(old, new) if old else text + new)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_output("configuration read again")


def test_a_client_is_sent_to_tls_and_stays_there(daemon: Daemon) -> None:
    """Without a policy nothing is said; with one a client gets in over TLS, and is told when the policy ends."""
    with daemon:
        there = SocketClient(daemon)
        assert "sts" not in capabilities(there)
        assert "sts" not in capabilities(SocketClient(daemon, tls=True))
        rehash(daemon, "", POLICY.format(port=daemon.ports["tls"]))
        there.until(rf" CAP \* NEW :sts=port={daemon.ports['tls']}$")
        follower = StsClient(daemon)
        client = follower.connects()
        assert follower.policy == Policy(daemon.ports["tls"], 86_400)
        assert isinstance(client.socket, ssl.SSLSocket)
        client.sends("NICK ann", "USER ann 0 * :Ann", "CAP END")
        client.until(" 422 ")
        client.sends("WHOIS ann")
        client.until(" 671 ann ann ")
        rehash(daemon, "enabled = true\nport", "enabled = false\nport")
        client.until(" CAP ann NEW :sts=duration=0$")
        assert "sts" not in capabilities(SocketClient(daemon))


def test_who_pretends_to_be_the_server_is_found_out(daemon: Daemon, tmp_path: Path) -> None:
    """A client with a policy takes no other certificate, so whoever sends it elsewhere gets nothing from it."""
    other = tmp_path / "other"
    other.mkdir()
    with daemon, Daemon(other) as mallory:
        rehash(daemon, "", POLICY.format(port=mallory.ports["tls"]))
        with pytest.raises(ssl.SSLCertVerificationError):
            StsClient(daemon).connects()
