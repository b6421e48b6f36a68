"""Where the daemon runs: its folder, a small disk, a database of its own, and a clock that can be set."""

from __future__ import annotations

import os
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import IO, Any

from slircd.security.certificates import ensure_self_signed, now_utc
from tests.events.test_faults import fill
from tests.postgres import Postgres
from tests.system.daemon import DEADLINE_S, Daemon
from tests.system.ports import free_port

DISK_MB = 256
CONFIG = """
[server]
name = "irc.test"
network = "TestNet"
motd = "{motd}"

[[listen]]
address = "0.0.0.0"
port = {plain}

[[listen]]
address = "0.0.0.0"
port = {tls}
tls = true

[[listen]]
port = {websocket}
websocket = true

[database]
url = "{url}"
stall_ms = 1500

[flood]
burst = 200
rate_per_s = 100

[throttle]
connections = 500
attempts = 5000

[timeouts]
ping_interval_s = 20
ping_timeout_s = 20

[limits]
whowas = 200
sendq_bytes = 262144

[passwords]
cost = "minimum"

[accounts]
sasl_plain_without_tls = true

[bouncer]
multiclient = "off"

[history]
channels = true

[checkpoints]
every = 2000
keep = 5
check_s = 60

[retention]
check_hours = 0.02

[retention.state]
keep_events = 30000

[retention.families."message.*"]
keep_events = 5000

[admin]
port = {admin}

[plugins]
autoload = ["witness", "seen"]

[plugins.grants]
seen = ["send", "storage"]

[plugins.limits]
restarts = 1000
deadline_ms = 2000
start_ms = 30000
"""

CLOCK = """\
# The machine's clock, as this process sees it, is set by writing a number of seconds into a file; the monotonic one
# goes on as ever.  (libfaketime breaks absolute sleeps, on which time.sleep rests.)
import mmap, struct, time

with open({file!r}, "rb") as _file:
    _offset = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
_time, _unpack = time.time, struct.Struct("d").unpack_from
time.time = lambda: _time() + _unpack(_offset)[0]
time.time_ns = lambda: int(time.time() * 1e9)
"""

WITNESS = """\
local p = {}
function p.on_load(api)
  local seen = 0
  api.register_event_listener("channel.join", function(event) seen = seen + 1 end)
  api.register_command("WITNESS", function(ctx, args) ctx.reply("works " .. args[1]) end)
end
return p
"""

ATTACK = """\
local p = {{}}
function p.on_load(api)
  api.register_command("ATTACK_{name}", function(ctx)
    local reply = ctx.reply
{body}
    reply("contained")
  end)
end
return p
"""

HOSTILE = Path(__file__).parents[1] / "plugins" / "hostile"
ATTACKS = (
    "loop",
    "growing_table",
    "print_flood",
    "send_flood",
    "forged_frame",
    "error_table",
    "c_stack",
    "many_timers",
)


class Sqlite:
    """The log in a file on the small disk."""

    kind = "sqlite"

    def __init__(self, disk: Path) -> None:
        self.file = disk / "slircd.db"
        self.url = f"sqlite:///{self.file}"
        self._holder: subprocess.Popen[str] | None = None

    def stop(self, how: str) -> None:
        """Have somebody else hold the database's lock: the nearest thing to a database that is down."""
        code = (
            "import sqlite3, sys\n"
            f"connection = sqlite3.connect({str(self.file)!r}, isolation_level=None, timeout=30)\n"
            "connection.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()\n"
        )
        self._holder = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "held\n", "the database's lock could not be had"

    def start(self) -> None:
        """Let go of it."""
        if self._holder is not None:
            self._holder.communicate()
            self._holder = None

    def close(self) -> None:
        """Nothing is left."""
        self.start()

    def check(self) -> str:
        """What the database says of its own health; "ok" if all is well."""
        script = f"import sqlite3; print(sqlite3.connect({str(self.file)!r}).execute('PRAGMA integrity_check').fetchone()[0])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.strip()


class Postgresql:
    """The log in a cluster of its own, whose files are on the small disk."""

    kind = "postgresql"

    def __init__(self, disk: Path) -> None:
        found = sorted(glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            raise SystemExit("--database postgresql needs PostgreSQL")
        disk.chmod(0o755)
        kept, tempfile.tempdir = tempfile.tempdir, str(disk)
        try:
            self._cluster = Postgres(str(Path(found[-1]).parent))
        finally:
            tempfile.tempdir = kept
        self.url = self._cluster.new_database()

    def _postmaster(self) -> int | None:
        with suppress(OSError, ValueError, IndexError):
            return int((self._cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
        return None

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        master = self._postmaster()
        return [] if master is None else [master, *children(master)]

    def stop(self, how: str) -> None:
        """`fast`, `immediate`, or `kill`: SIGKILL to the postmaster alone, whose children find out."""
        pids = self.processes()
        if how == "kill" and pids:
            os.kill(pids[0], signal.SIGKILL)
        else:
            with suppress(subprocess.CalledProcessError):
                self._cluster._run("pg_ctl", "-w", "-m", how, "stop")

    def start(self) -> None:
        """Start it if it does not run, however long its recovery takes."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self._cluster.sql("SELECT 1")
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
            with suppress(subprocess.CalledProcessError):
                self._cluster.start()
            time.sleep(0.2)

    def freeze(self, seconds: float) -> None:
        """Stop all its processes for a while, as a storage that hangs would."""
        pids = self.processes()
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(seconds)

    def close(self) -> None:
        """Nothing is left."""
        self._cluster.close()

    def check(self) -> str:
        """As `Sqlite.check`: PostgreSQL reads all rows of the log."""
        self._cluster.sql("SELECT 1")
        return "ok"


class ChaosDaemon(Daemon):
    """The daemon; all that it says is handed on as it comes, for as long as it lives."""

    def __init__(self, folder: Path, heard: Callable[[str], None], **options: Any) -> None:
        super().__init__(folder, **options)
        self._heard = heard
        self._starting = True

    def start(self) -> Daemon:
        """Start it.  Raises DidNotStart with what it said."""
        self._starting = True
        try:
            return super().start()
        except AssertionError as error:
            assert self._process is not None
            self._process.wait(DEADLINE_S)
            raise DidNotStart(str(error)) from None
        finally:
            self._starting = False

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def _listen(self, output: IO[str]) -> None:
        self._lines = queue.Queue()
        threading.Thread(target=self._take, args=(output, self._lines), daemon=True).start()

    def _take(self, output: IO[str], lines: queue.Queue[str | None]) -> None:
        for line in output:
            self._heard(line)
            if self._starting:
                lines.put(line)
        lines.put(None)


class DidNotStart(Exception):
    """The daemon ended instead of starting."""


class Place:
    """The folder with everything in it."""

    def __init__(self, folder: Path, database: str, heard: Callable[[str], None]) -> None:
        self.folder = folder
        self.skipped: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        size = DISK_MB if database == "sqlite" else 2 * DISK_MB
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(self.disk)]
        self.small_disk = not subprocess.run(command, capture_output=True, check=False).returncode
        if not self.small_disk:
            self.skipped.append("disk_full: only root may mount a small disk")
        self.database: Sqlite | Postgresql = (Sqlite if database == "sqlite" else Postgresql)(self.disk)
        self.ports = {kind: free_port() for kind in ("plain", "tls", "websocket", "admin")}
        self.config = folder / "slircd.toml"
        self.write_config("here we go")
        self._write_plugins()
        self.clock = folder / "clock"
        self.offset_s = 0
        self.set_clock(0)
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(CLOCK.format(file=str(self.clock)))
        self.environ = {"TMPDIR": str(self.temporary), "PYTHONPATH": f"{site}{os.pathsep}{os.getcwd()}"}
        self.daemon = ChaosDaemon(folder, heard, environ=self.environ)

    # --- files ----------------------------------------------------------------------------------------------------

    def write_config(self, motd: str, more: str = "") -> None:
        """The configuration; what is there is replaced in one step, as an editor would."""
        text = CONFIG.format(motd=motd, url=self.database.url, **self.ports) + more
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    def _write_plugins(self) -> None:
        plugins = {"witness": WITNESS}
        for name in ATTACKS:
            body = (HOSTILE / f"{name}.lua").read_text()
            plugins[name] = ATTACK.format(name=name.upper(), body=body)
        for name, code in plugins.items():
            (self.folder / "plugins" / name).mkdir(parents=True)
            (self.folder / "plugins" / name / "init.lua").write_text(code)

    def renew_certificate(self) -> str:
        """Another certificate and key; its SHA-256 fingerprint."""
        for name in ("slircd.crt", "slircd.key"):
            (self.folder / name).unlink()
        made = ensure_self_signed(
            self.folder / "slircd.crt", self.folder / "slircd.key", "irc.test", now_utc(time.time())
        )
        assert made is not None
        return made

    # --- clock and disk ---------------------------------------------------------------------------------------------

    def set_clock(self, offset_s: int) -> None:
        """Have the daemon's clock run so many seconds ahead of the machine's."""
        self.offset_s = offset_s
        with self.clock.open("r+b" if self.clock.exists() else "w+b") as file:
            file.write(struct.pack("d", offset_s))

    def fill_disk(self) -> None:
        """Not a byte is free."""
        fill(self.disk / "ballast")

    def free_disk(self) -> None:
        """There is room again."""
        (self.disk / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is left running or mounted."""
        with suppress(ProcessLookupError, AssertionError):
            self.daemon.kill()
        self.database.close()
        if self.small_disk:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)


# --- what a process is like ---------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found: list[int] = []
    for task in glob(f"/proc/{pid}/task/*/children"):
        with suppress(OSError):
            found += [int(word) for word in Path(task).read_text().split()]
    return found


def state_of(pid: int) -> str:
    """R, S, Z … of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def command_of(pid: int) -> str:
    """Its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def resident_bytes(pid: int) -> int:
    """Its resident memory."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
