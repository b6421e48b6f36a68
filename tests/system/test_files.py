"""Whose eyes the files are for that the server and its tools write, whatever the umask."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.daemon import Daemon, SocketClient

pytestmark = pytest.mark.system

FOR_ALL = {"slircd.crt"}
"""What anybody may read."""

OPEN_UMASK = ["/bin/sh", "-c", 'umask 0 && exec "$0" "$@"']
"""Runs a command that would make files that anybody may write, if it left that to the umask."""


class CarelessDaemon(Daemon):
    def command(self) -> list[str]:
        return [*OPEN_UMASK, *super().command()]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


def test_files_are_private(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    daemon = CarelessDaemon(tmp_path / "run", more="[retention.state]\nkeep_events = 1")
    given = set(modes(daemon.folder))
    with daemon:
        ann = SocketClient(daemon).register("ann")
        ann.sends("JOIN #files")
        ann.until(r" 366 ")
        running = modes(daemon.folder)
        tool(daemon, "events", "export", "--db", "slircd.db", "live.ndjson")
    tool(daemon, "events", "export", "--db", "slircd.db", "log.ndjson.gz")
    tool(daemon, "events", "import", "--db", "new.db", "log.ndjson.gz")
    tool(daemon, "events", "prune", "--config", "slircd.toml")
    found = {**running, **modes(daemon.folder)}
    assert {"slircd.db", "slircd.db-wal", "slircd.key", "slircd-secrets.toml", "new.db", "live.ndjson"} <= set(found)
    for name, mode in found.items():
        if name not in given:
            assert f"{name} {mode:04o}" == f"{name} {0o644 if name in FOR_ALL else 0o600:04o}"


def tool(daemon: Daemon, *arguments: str) -> None:
    slircd = str(Path(sys.executable).with_name("slircd"))
    done = subprocess.run(
        [*OPEN_UMASK, slircd, *arguments], cwd=daemon.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
