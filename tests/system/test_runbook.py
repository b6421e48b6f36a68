"""The runbook's commands, run top to bottom on a real server.

A block marked `sh` is run by bash in the server's folder, with a `systemctl` that starts and stops the real daemon; each
command must succeed.  A block marked `irc` is typed by an operator; nothing in it may be answered with an error.  Blocks
marked `text` need root or the network, and are not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slircd.events.store import SQLStore
from tests.harness import World
from tests.postgres import Postgres
from tests.system.daemon import DEADLINE_S, SocketClient
from tests.system.ports import free_port

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "RUNBOOK.md"

SYSTEMCTL = """#!{python}
import os, signal, socket, subprocess, sys, time
verb, pidfile = sys.argv[1], "pid"

def up():
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", {port}), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server does not come up")

def stop():
    pid = int(open(pidfile).read())
    os.kill(pid, signal.SIGTERM)
    while os.path.exists(f"/proc/{{pid}}") and open(f"/proc/{{pid}}/stat").read().split()[2] != "Z":
        time.sleep(0.05)

def start():
    with open("process.log", "ab") as log:
        daemon = subprocess.Popen(
            [{slircd!r}, "{config}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    open(pidfile, "w").write(str(daemon.pid))
    up()

if verb in ("stop", "restart"):
    stop()
if verb in ("start", "restart"):
    start()
if verb == "reload":
    os.kill(int(open(pidfile).read()), signal.SIGHUP)
"""


def blocks() -> list[tuple[str, str]]:
    """Kind and text of each block of the runbook."""
    return re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)


class Host:
    """The machine of the runbook: its folders, its ports and its systemctl, mapped to a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"6667": free_port(), "6697": free_port(), "8080": free_port()}
        self.config = folder / "config.toml"
        self.config.write_text(
            '[server]\nname = "irc.test"\n[flood]\nenabled = false\n[passwords]\ncost = "minimum"\n'
            f"[[listen]]\nport = {self.ports['6667']}\n[[listen]]\nport = {self.ports['6697']}\ntls = true\n"
            f"[admin]\nport = {self.ports['8080']}\n"
        )
        programs = folder / "bin"
        programs.mkdir()
        fake = programs / "systemctl"
        slircd = str(Path(sys.executable).with_name("slircd"))
        fake.write_text(
            SYSTEMCTL.format(python=sys.executable, port=self.ports["6667"], slircd=slircd, config=self.config)
        )
        fake.chmod(0o755)
        self._clients: list[SocketClient] = []
        self.environ = {
            **os.environ,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SLIRCD_OPER_PASSWORD": "sesame",
            "SLIRCD_ADMIN_PASSWORD": "sesame",
        }

    def translate(self, text: str) -> str:
        """A command of the runbook, for this machine."""
        for port, own in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
        for old, new in (
            ("/etc/slircd/config.toml", str(self.config)),
            ("/opt/slircd/share/slircd/alembic.ini", str(ROOT / "alembic.ini")),
            ("sqlite:////var/lib/slircd/", f"sqlite:///{self.folder}/"),
            ("admin:PASSWORD", "admin:sesame"),
        ):
            text = text.replace(old, new)
        return text

    def run(self, text: str, **environ: str) -> str:
        """Run a block; every command must succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.translate(text)],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{self.log()}"
        return done.stdout

    def log(self) -> str:
        log = self.folder / "process.log"
        return log.read_text()[-2000:] if log.exists() else ""

    def client(self) -> SocketClient:
        self._clients.append(SocketClient(None, port=self.ports["6667"]))
        return self._clients[-1]

    def close(self) -> None:
        """Stop what was started."""
        for client in self._clients:
            client.close()
        if (self.folder / "pid").exists():
            subprocess.run([self.folder / "bin" / "systemctl", "stop"], cwd=self.folder, check=False)


def begin_long_ago(database: Path) -> None:
    """A log with a past, so that questions about an hour ago have an answer."""
    world = World()
    ann = world.client("ann")
    ann.sends("JOIN #help", "TOPIC #help :then")
    ann.disconnects()
    store = SQLStore(f"sqlite:///{database}", call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    store.append(list(world.store.rows))
    store.close()


def people(host: Host) -> None:
    """Some who have done something that the questions of the runbook find."""
    ann, bob = host.client().register("ann"), host.client().register("bob")
    ann.sends("JOIN #help")
    ann.synchronise()
    bob.sends("JOIN #help")
    bob.synchronise()
    ann.sends("TOPIC #help :how may we help", "MODE #help +m", "KICK #help bob :bye")
    ann.synchronise()


def test_commands(tmp_path: Path) -> None:
    """All of them, in their order."""
    host = Host(tmp_path)
    begin_long_ago(tmp_path / "slircd.db")
    kinds = [kind for kind, _ in blocks()]
    assert {"sh", "irc"} <= set(kinds) <= {"sh", "sh postgresql", "irc", "text"}
    try:
        for kind, text in blocks():
            if kind == "sh":
                host.run(text)
                if "systemctl start" in text or "systemctl restart" in text:
                    people(host)
            elif kind == "irc":
                typed(host, text)
    finally:
        host.close()


def typed(host: Host, text: str) -> None:
    """An operator types the lines, while a user `troll` is there."""
    troll = host.client().register("troll")
    oper = host.client().register("watch")
    oper.sends("OPER admin sesame")
    oper.until(" 381 ")
    for line in text.splitlines():
        before = len(oper.lines)
        oper.sends(line)
        oper.synchronise()
        answers = oper.lines[before:]
        wrong = [answer for answer in answers if re.match(r":\S+ (4\d\d|5\d\d|FAIL) |.* NOTICE watch :FAIL ", answer)]
        assert not wrong, f"{line}: {wrong}"
    for client in (oper, troll):
        client.close()


def test_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    """Backup and restore of a log in PostgreSQL."""
    host = Host(tmp_path)
    postgres.sql("CREATE DATABASE runbook")
    url = postgres.url("runbook")
    with host.config.open("a") as file:
        file.write(f'[database]\nurl = "{url}"\n')
    programs = str(Path(shutil.which("pg_dump") or "/usr/bin/pg_dump").parent)
    [text] = [text for kind, text in blocks() if kind == "sh postgresql"]
    try:
        host.run("systemctl start slircd")
        people(host)
        environ = {
            "DATABASE": url.replace("postgresql+psycopg://", "postgresql://"),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(postgres.port),
            "PGUSER": "postgres",
            "PATH": f"{host.environ['PATH']}:{programs}",
        }
        assert int(host.run(text, **environ).strip().splitlines()[-1]) > 10
        host.run(f"slircd-replay --db {url.replace('/runbook', '/restored')} --verify")
    finally:
        host.close()
