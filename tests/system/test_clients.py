"""Two real clients, irssi and weechat, on a terminal, over TLS; and the operator's question in SQL.

They are Debian's; a machine that does not have them skips this, except in CI, which installs them and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import DEADLINE_S, Daemon

pytestmark = pytest.mark.system

PROGRAMS = ("irssi", "weechat", "tmux", "sqlite3")

IRSSI = """
servers = ({{ address = "127.0.0.1"; chatnet = "test"; port = "{port}"; use_tls = "yes"; tls_verify = "no"; autoconnect = "yes"; }});
chatnets = {{ test = {{ type = "IRC"; }}; }};
settings = {{ core = {{ real_name = "Ann"; user_name = "ann"; nick = "ann"; }}; }};
"""


class Terminal:
    """A program in a tmux of its own."""

    def __init__(self, name: str, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self.socket = f"slircd-test-{os.getpid()}-{name}"
        environ = {**os.environ, "TERM": "xterm-256color", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        environ.pop("TMUX", None)
        self.environ = environ
        self.tmux("new-session", "-d", "-x", "160", "-y", "50", *command)

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self.socket, *words], env=self.environ, capture_output=True, text=True, check=True
        )
        return done.stdout

    def types(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def shows(self, text: str) -> None:
        """Wait until the screen has `text`."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in (screen := self.tmux("capture-pane", "-p", "-J")):
            assert time.monotonic() < deadline, f"{text!r} is not on the screen:\n{screen}"
            time.sleep(0.05)

    def close(self) -> None:
        self.tmux("kill-server")


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[tuple[Daemon, Terminal, Terminal]]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing and "CI" in os.environ:
        pytest.fail(f"CI has to install {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    with Daemon(tmp_path) as daemon:
        port = daemon.ports["tls"]
        homes = {name: tmp_path / name for name in ("irssi", "weechat")}
        for home in homes.values():
            home.mkdir()
        (homes["irssi"] / "config").write_text(IRSSI.format(port=port))
        version = subprocess.run(["weechat", "--version"], capture_output=True, text=True, check=True).stdout
        tls = "ssl" if int(version.split(".")[0]) < 4 else "tls"  # WeeChat 4 renamed the option
        server = f"/server add test 127.0.0.1/{port} -{tls} -no{tls}_verify -nicks=bob -username=bob"
        terminals = [
            Terminal("irssi", homes["irssi"], ["irssi", f"--home={homes['irssi']}"]),
            Terminal(
                "weechat",
                homes["weechat"],
                ["weechat", "-d", str(homes["weechat"]), "-r", server, "-r", "/connect test"],
            ),
        ]
        try:
            yield daemon, terminals[0], terminals[1]
        finally:
            for terminal in terminals:
                terminal.close()


def test_irssi_and_weechat(clients: tuple[Daemon, Terminal, Terminal]) -> None:
    """They join over TLS, talk, change topic and modes, and the log answers."""
    daemon, irssi, weechat = clients
    irssi.shows("Your host is irc.test")
    weechat.types("/buffer test")
    weechat.shows("Your host is irc.test")
    irssi.types("/join #meet")
    irssi.shows("Irssi: #meet")
    weechat.types("/join #meet")
    irssi.shows("bob [~bob@localhost] has joined #meet")
    weechat.shows("@ann")
    irssi.types("hello from irssi")
    weechat.shows("hello from irssi")
    weechat.types("hello from weechat, ünïcödé 😀")
    irssi.shows("hello from weechat, ünïcödé")
    irssi.types("/topic #meet recorded in flight")
    weechat.shows("recorded in flight")
    irssi.types("/mode #meet +ov bob bob")
    weechat.shows("@bob")
    weechat.types("/mode #meet +m-t")
    irssi.shows("mode/#meet [+m-t] by bob")
    weechat.types("/kick ann see you")
    irssi.shows("see you")

    def sql(text: str) -> list[str]:
        done = subprocess.run(
            ["sqlite3", "slircd.db", text], cwd=daemon.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    joins = sql("SELECT * FROM events WHERE event_type='channel.join' LIMIT 5;")
    assert len(joins) == 2
    assert '"member":"ann"' in joins[0]
    assert '"member":"bob"' in joins[1]
    assert len(sql("SELECT id FROM events WHERE event_type='user.connect' AND payload LIKE '%\"secure\":true%';")) == 2
    changes = sql("SELECT event_type FROM events WHERE target='#meet' ORDER BY id;")
    assert changes == [
        "channel.create",
        "channel.join",
        "channel.join",
        "channel.topic_change",
        "channel.mode_change",
        "channel.mode_change",
        "channel.kick",
    ]
