"""The daemon as operators meet it: start, stop, signals, mistakes."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from slircd.security.certificates import ensure_self_signed, now_utc
from tests.system.daemon import DEADLINE_S, Daemon, SocketClient, insecure, twistd

pytestmark = pytest.mark.system


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A start that is to fail."""
    return subprocess.run(
        [*twistd(), "-n", "--pidfile=", "slircd", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def query(daemon: Daemon, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(daemon.database) as connection:
        return connection.execute(sql).fetchall()


def test_first_start_chat_and_stop(tmp_path: Path) -> None:
    """Files are made with the right modes, people talk over plain and TLS, the log has it, a stop is orderly."""
    with Daemon(tmp_path) as daemon:
        for name, mode in {"slircd-secrets.toml": 0o600, "slircd.key": 0o600, "slircd.crt": 0o644}.items():
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
        ann = SocketClient(daemon).register("ann")
        bob = SocketClient(daemon, tls=True).register("bob")
        ann.sends("JOIN #c", "TOPIC #c :hello")
        ann.until("TOPIC #c")
        bob.sends("JOIN #c", "PRIVMSG #c :hi ann")
        ann.until(r"^:bob!\S+ PRIVMSG #c :hi ann$")
        bob.sends("WHOIS bob")
        bob.until(" 671 ")
        assert daemon.stop() in (0, -signal.SIGTERM)  # Twisted ends by the signal that it was sent
        ann.until("^ERROR :Closing Link")
        assert query(daemon, "SELECT count(*) FROM events WHERE event_type='channel.join'") == [(2,)]
        assert query(daemon, "SELECT event_type FROM events ORDER BY id DESC LIMIT 1") == [("server.stop",)]


def test_generated_passwords_are_shown_once(tmp_path: Path) -> None:
    """The first start shows them, they work, and no log line or later start shows them."""
    daemon = Daemon(tmp_path, environ={"SLIRCD_OPER_PASSWORD": "", "SLIRCD_ADMIN_PASSWORD": ""})
    with daemon:
        text = "".join(daemon.output)
        password = re.search(r"/OPER admin: (\S+)", text)
        assert password is not None
        client = SocketClient(daemon).register("ann")
        client.sends(f"OPER admin {password[1]}")
        client.until(" 381 ")
        daemon.stop()
    daemon.output.clear()
    with daemon:
        assert "/OPER admin:" not in "".join(daemon.output)


def test_state_survives_restarts(tmp_path: Path) -> None:
    """A permanent channel is as it was after a stop and after a kill."""
    with Daemon(tmp_path) as daemon:
        client = SocketClient(daemon).register("ann")
        client.sends("OPER admin sesame", "JOIN #c", "MODE #c +Pk key", "MODE #c +b bad!*@*", "TOPIC #c :stays")
        client.until("TOPIC #c")
        daemon.stop()
    for end in ("kill", "stop"):
        with daemon:
            client = SocketClient(daemon).register("bob")
            client.sends("JOIN #c key", "MODE #c b", "MODE #c")
            client.until(" 332 bob #c :stays")
            client.until(r" 367 bob #c bad!\*@\*")
            client.until(r" 324 bob #c \+Pntk key")
            getattr(daemon, end)()


def test_sighup(tmp_path: Path) -> None:
    """Certificates, MOTD and operators change without dropping anyone; a bad file changes nothing."""
    with Daemon(tmp_path) as daemon:
        client = SocketClient(daemon, tls=True).register("ann")
        before = peer(daemon)
        for name in ("slircd.crt", "slircd.key"):
            (tmp_path / name).unlink()
        ensure_self_signed(tmp_path / "slircd.crt", tmp_path / "slircd.key", "irc.test", now_utc(1_750_000_000))
        good = daemon.config.read_text()
        daemon.config.write_text(good.replace("[flood]", '[server.admin]\nname = "Somebody New"\n[flood]'))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_output("configuration read again")
        assert peer(daemon) != before
        client.sends("ADMIN")
        client.until("Somebody New")
        daemon.config.write_text("[server]\nbad = 1\n")
        daemon.signal(signal.SIGHUP)
        assert "nothing is changed" in daemon.wait_for_output("rehash")
        client.sends("ADMIN")
        client.until("Somebody New")
        daemon.config.write_text(good.replace("irc.test", "other.test"))
        client.sends("OPER admin sesame", "REHASH")
        client.until("need a restart to change: server.name")


def peer(daemon: Daemon) -> bytes:
    """The certificate that a new client is shown."""
    client = SocketClient(daemon, tls=True)
    assert isinstance(client.socket, ssl.SSLSocket)
    certificate = client.socket.getpeercert(binary_form=True)
    client.close()
    assert certificate is not None
    return certificate


def test_tls_versions_and_client_certificates(tmp_path: Path) -> None:
    """TLS 1.1 is refused; a client's certificate is asked for, and its fingerprint is kept and shown."""
    with Daemon(tmp_path) as daemon:
        old = insecure()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            SocketClient(daemon, tls=True, context=old)
        certificate, key = tmp_path / "me.crt", tmp_path / "me.key"
        ensure_self_signed(certificate, key, "ann.example", now_utc(1_750_000_000))
        context = insecure()
        context.load_cert_chain(certificate, key)
        client = SocketClient(daemon, tls=True, context=context).register("ann")
        fingerprint = x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(SHA256()).hex()
        client.sends("WHOIS ann")
        client.until(f" 276 ann ann :has client certificate fingerprint {fingerprint}")
        [row] = query(daemon, "SELECT payload FROM events WHERE event_type='user.connect' AND target='001000001'")
        assert fingerprint in str(row)


def test_endpoint_strings(tmp_path: Path) -> None:
    """Unix sockets and PROXY headers by endpoint string; the client's address is the one that the proxy tells."""
    path = tmp_path / "irc.sock"
    more = (
        f'[[listen]]\nendpoint = "unix:{path}"\n[[listen]]\nendpoint = "haproxy:unix:{path}2"\n'
        f'[[listen]]\nendpoint = "ssl:0:interface=127.0.0.1"\n[cloak]\nenabled = false\n'
    )
    with Daemon(tmp_path, more=more):
        for address, header, host in (
            (f"{path}", "", "localhost"),
            (f"{path}2", "PROXY TCP4 192.0.2.9 10.0.0.1 1 2\r\n", "192.0.2.9"),
        ):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(DEADLINE_S)
                connection.connect(address)
                connection.sendall(f"{header}NICK ann\r\nUSER ann 0 * :a\r\nQUIT\r\n".encode())
                received = b""
                while data := connection.recv(65536):
                    received += data
                assert f"ann!~ann@{host}".encode() in received


def test_mistakes_end_the_start_with_one_line(tmp_path: Path) -> None:
    """Configuration, certificates, a port or a log in use: exit status 1, words, and no traceback."""
    bad = tmp_path / "bad.toml"
    bad.write_text("[server]\nnam = 1\n")
    cases = {
        "unknown key": run(tmp_path, "--config", str(bad)),
        "cannot be read": run(tmp_path, "--config", "none.toml"),
    }
    (tmp_path / "x.crt").write_text("nonsense")
    (tmp_path / "x.key").write_text("nonsense")
    bad.write_text('[tls]\ncertificate = "x.crt"\nprivate_key = "x.key"\n[[listen]]\nport = 0\ntls = true\n')
    cases["x.crt: cannot be used as certificate"] = run(tmp_path, "--config", str(bad))
    bad.write_text('[[listen]]\nendpoint = "nosuch:1"\n')
    cases["listen[0].endpoint"] = run(tmp_path, "--config", str(bad))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bad.write_text(f"[[listen]]\nport = {taken.getsockname()[1]}\n")
        cases["cannot listen on 127.0.0.1"] = run(tmp_path, "--config", str(bad))
    folder = tmp_path / "running"
    folder.mkdir()
    with Daemon(folder) as daemon:
        cases["in use by another slircd"] = run(folder, "--config", str(daemon.config))
    for expected, done in cases.items():
        assert done.returncode == 1, expected
        assert expected in done.stderr + done.stdout
        assert "Traceback" not in done.stderr + done.stdout, expected


def test_upgrade_can_be_left_to_the_operator(tmp_path: Path) -> None:
    """`alembic upgrade head` at the root works on the daemon's database."""
    root = Path(__file__).parents[2]
    url = f"sqlite:///{tmp_path / 'log.db'}"
    for command in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"]):
        script = Path(twistd()[0]).with_name("alembic")
        done = subprocess.run(
            [str(script), "-x", f"url={url}", *command], cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
