"""The real daemon as a process, and clients on real sockets."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

DEADLINE_S = 60
"""How long any condition may take on the slowest machine; nothing waits that long when all is well."""

CONFIG = """
[server]
name = "irc.test"
network = "TestNet"
{server}

[[listen]]
port = 0

[[listen]]
port = 0
tls = true

[flood]
enabled = false

[passwords]
cost = "minimum"

[admin]
port = 0

{more}
"""

_PORT = re.compile(
    r"listening on IPv4Address\(type='TCP', host='127\.0\.0\.1', port=(\d+)\) for (TLS|plain IRC)( over WebSocket)?"
)


_ADMIN = re.compile(r"listening on IPv4Address\(type='TCP', host='127\.0\.0\.1', port=(\d+)\) for the admin API")


def twistd() -> list[str]:
    """The command of this environment."""
    return [sys.executable, "-m", "twisted.scripts.twistd"] if not _script().exists() else [str(_script())]


def _script() -> Path:
    return Path(sys.executable).with_name("twistd")


class Daemon:
    """`twistd -n slircd` in a folder of its own."""

    def __init__(
        self, folder: Path, *, server: str = "", more: str = "", environ: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.config = folder / "slircd.toml"
        self.ports: dict[str, int] = {}
        self.output: list[str] = []
        self.clients: list[SocketClient] = []
        self._environ = {
            **os.environ,
            "SLIRCD_OPER_PASSWORD": "sesame",
            "SLIRCD_ADMIN_PASSWORD": "sesame",
            **(environ or {}),
        }
        self.passed: tuple[int, ...] = ()
        """Descriptors that it inherits."""
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        if not self.config.exists():
            self.config.write_text(CONFIG.format(server=server, more=more))

    @property
    def database(self) -> Path:
        return self.folder / "slircd.db"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """What starts it."""
        return [*twistd(), "-n", "--pidfile=", "slircd", "--config", str(self.config)]

    def start(self) -> Daemon:
        """Start it, and wait until it says that it is up."""
        self._process = subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=self.passed,
        )
        assert self._process.stdout is not None
        self._listen(self._process.stdout)
        self.wait_for_output(r"slircd \S+ is up")
        return self

    def _listen(self, output: IO[str]) -> None:
        """Take what it says from here on."""
        self._lines = queue.Queue()
        threading.Thread(target=self._read, args=(output, self._lines), daemon=True).start()

    @staticmethod
    def _read(output: IO[str], lines: queue.Queue[str | None]) -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    def _drain(self) -> None:
        """Take what it said to its end."""
        while (line := self._lines.get(timeout=DEADLINE_S)) is not None:
            self.output.append(line)

    def wait_for_output(self, pattern: str) -> str:
        """The next line of its output that matches."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.1))
            assert line is not None, "slircd ended:\n" + "".join(self.output[-40:])
            self.output.append(line)
            admin = _ADMIN.search(line)
            if admin is not None:
                self.ports["admin"] = int(admin[1])
            port = _PORT.search(line)
            if port is not None:
                over_tls = port[2] == "TLS"
                kind = ("wss" if over_tls else "websocket") if port[3] else ("tls" if over_tls else "plain")
                self.ports[kind] = int(port[1])
            if re.search(pattern, line):
                return line

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status."""
        assert self._process is not None
        status = self._process.wait(DEADLINE_S)
        assert self._process.stdout is not None
        self._drain()
        self._process.stdout.close()
        return status

    def stop(self) -> int:
        """Stop it in order."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill it."""
        self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.kill()


class SocketClient:
    """A client on a real socket, with TLS or without."""

    def __init__(
        self,
        daemon: Daemon | None,
        *,
        tls: bool = False,
        context: ssl.SSLContext | None = None,
        port: int | None = None,
    ) -> None:
        if port is None:
            assert daemon is not None
            port = daemon.ports["tls" if tls else "plain"]
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        if tls:
            plain = self.socket
            try:
                self.socket = (context or insecure()).wrap_socket(plain, server_hostname="irc.test")
            except ssl.SSLError:
                plain.close()
                raise
        if daemon is not None:
            daemon.clients.append(self)
        self._buffer = b""
        self.lines: list[str] = []

    def sends(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def line(self) -> str:
        """The next line; EOFError at the end."""
        while b"\r\n" not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        self.lines.append(line.decode())
        return self.lines[-1]

    def until(self, pattern: str) -> str:
        """Read until a line matches."""
        while True:
            line = self.line()
            if re.search(pattern, line):
                return line

    def register(self, nick: str) -> SocketClient:
        self.sends(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        self.until(rf" MODE {nick} | 422 | 376 ")
        self.synchronise()
        return self

    def synchronise(self) -> None:
        """All that the server had to say so far has come."""
        self.sends("PING sync")
        self.until(r" PONG \S+ :sync$")

    def close(self) -> None:
        self.socket.close()


def insecure() -> ssl.SSLContext:
    """A context that takes the self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
