"""Daemons that start in a moment: a process that has imported everything forks, and its child is `twistd -n slircd`.

What a start costs is two thirds imports; with them paid once, a test can start and kill hundreds of daemons.  The child
is a process like any other, with its own reactor, files and sockets, and runs what the command `twistd` runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from tests.system.daemon import Daemon


class Nursery:
    """The process that forks.  Use it as a context manager; several threads may, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.forking"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def ask(self, **words: Any) -> int:
        """`start` a daemon, with its working directory, environment and output: its PID; or `wait` for one: how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


class ForkedDaemon(Daemon):
    """A daemon out of a nursery."""

    def __init__(self, nursery: Nursery, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self._nursery = nursery
        self._pid = 0
        self._output: IO[str] | None = None

    @property
    def pid(self) -> int:
        return self._pid

    def start(self) -> Daemon:
        output = self.folder / "output"
        if not output.exists():
            os.mkfifo(output)
        self._pid = self._nursery.ask(
            start=str(self.config), cwd=str(self.folder), output=str(output), environ=self._environ
        )
        self._output = output.open()  # when the child has opened its end
        # The hashes are made at the first start; comparing them with the environment at each would take longest of all.
        self._environ = {name: value for name, value in self._environ.items() if "PASSWORD" not in name}
        self._listen(self._output)
        self.wait_for_output(r"slircd \S+ is up")
        return self

    def wait(self) -> int:
        status = self._nursery.ask(wait=self._pid)
        self._pid = 0
        self._drain()
        assert self._output is not None
        self._output.close()
        return status

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                self.kill()


def serve() -> None:
    """Fork a daemon for each line that asks for one."""
    from sqlalchemy.dialects.sqlite import pysqlite  # noqa: F401

    import slircd.app  # noqa: F401  # what the children need

    assert "twisted.internet.reactor" not in sys.modules, "children would share its descriptors"
    for line in sys.stdin:
        words = json.loads(line)
        if "wait" in words:
            answer = os.waitstatus_to_exitcode(os.waitpid(words["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                os.environ.update(words["environ"])
                _become_daemon(words["start"], words["cwd"], words["output"])
        print(answer, flush=True)  # noqa: T201  # the answer


def _become_daemon(config: str, cwd: str, output: str) -> None:
    written = os.open(output, os.O_WRONLY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(written)
    os.close(nothing)
    os.chdir(cwd)
    signal.set_wakeup_fd(-1)
    sys.argv = ["twistd", "-n", "--pidfile=", "slircd", "--config", config]
    from twisted.scripts.twistd import run

    run()
    os._exit(0)


if __name__ == "__main__":
    serve()
