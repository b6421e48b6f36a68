"""deploy/slircd.service as a real systemd runs it, in namespaces of its own; and what systemd-analyze says of it.

The systemd of the test sees only the units that are tested: none of the machine's is started, and its /tmp, /run, /etc
and /var/lib are not the machine's.  It needs root and Linux namespaces, so outside CI it is skipped without them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.daemon import DEADLINE_S, insecure
from tests.system.ports import free_port

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = ("slircd.service", "slircd.socket", "slircd-tls.socket")
SYSTEM_PYTHON = "/usr/bin/python3"

SET_UP = r"""
set -eu
# In namespaces of its own: what is mounted here is seen by nobody else and goes with the last process.
mount --make-rprivate /
mkdir -p "$WORK/etc" "$WORK/etc-work" "$WORK/units"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$WORK/etc,workdir=$WORK/etc-work" /etc
mount -t tmpfs tmpfs /opt
/usr/bin/python3 -m venv --without-pip /opt/slircd
mkdir -p /opt/slircd/site /opt/slircd/source
printf '/opt/slircd/source\n/opt/slircd/site\n' > "$(echo /opt/slircd/lib/python3*/site-packages)/installed.pth"
mount --bind "$SITE" /opt/slircd/site
mount --bind "$SOURCE" /opt/slircd/source
mkdir /opt/slircd/units
cp "$WORK"/units.in/* /opt/slircd/units/
mkdir -p /etc/slircd
cp "$WORK/config.toml" /etc/slircd/config.toml
grep -q '^slircd:' /etc/passwd || echo 'slircd:x:4999:4999::/var/lib/slircd:/usr/sbin/nologin' >> /etc/passwd
grep -q '^slircd:' /etc/group || echo 'slircd:x:4999:' >> /etc/group
cat > /opt/slircd/bin/slircd <<'END'
#!/opt/slircd/bin/python3
from slircd.cli import main
main()
END
chmod 755 /opt/slircd/bin/slircd
mount --bind "$WORK" /mnt
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
mkdir -p /run/lock
mount -t cgroup2 none /sys/fs/cgroup
export SYSTEMD_UNIT_PATH=/opt/slircd/units container=test
exec /lib/systemd/systemd --system --unit="$TARGET" --log-target=console --show-status=no
"""

EMPTY_UNITS = {
    "sysinit.target": "[Unit]\nDescription=nothing\n",
    "basic.target": "[Unit]\nDescription=nothing\n",
    "network-online.target": "[Unit]\nDescription=nothing\n",
    "sockets.target": "[Unit]\nDescription=nothing\n",
    "shutdown.target": "[Unit]\nDescription=nothing\nDefaultDependencies=no\nRefuseManualStart=yes\n",
    "with-service.target": "[Unit]\nWants=slircd.service\n",
    "with-sockets.target": "[Unit]\nWants=slircd.socket slircd-tls.socket\n",
}


class Systemd:
    """A systemd in namespaces of its own, with our units and nothing else."""

    def __init__(self, folder: Path, target: str, config: str, changes: dict[str, str]) -> None:
        self.folder = folder
        units = folder / "units.in"
        units.mkdir(parents=True)
        for name, text in EMPTY_UNITS.items():
            (units / name).write_text(text)
        for name in UNITS:
            text = (DEPLOY / name).read_text()
            # There is no journal here.
            text = text.replace("[Service]", "[Service]\nStandardOutput=append:/mnt/log\nStandardError=inherit")
            for old, new in changes.items():
                text = text.replace(old, new)
            (units / name).write_text(text)
        (folder / "config.toml").write_text(config)
        site = next(path for path in map(Path, sys.path) if path.name == "site-packages")
        environ = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "WORK": str(folder),
            "SITE": str(site),
            "SOURCE": str(ROOT),
            "TARGET": target,
        }
        self.log = (folder / "log").open("wb")
        unshare = [
            "unshare",
            "--fork",
            "--kill-child",
            "--pid",
            "--mount",
            "--cgroup",
            "--ipc",
            "--uts",
            "--mount-proc",
        ]
        self._process = subprocess.Popen(
            [*unshare, "bash", "-c", SET_UP],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def inside(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command where that systemd is."""
        children: list[str] = []
        while not children:  # unshare has not forked yet
            assert self._process.poll() is None, self.text()
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        enter = ["nsenter", "--target", children[0], "--mount", "--pid", "--cgroup", "--ipc", "--uts"]
        return subprocess.run([*enter, *words], capture_output=True, text=True, check=False, timeout=DEADLINE_S)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.inside("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def wait_until(self, unit: str, name: str, pattern: str) -> str:
        """Wait until a property of a unit matches."""
        deadline = time.monotonic() + DEADLINE_S
        value = ""
        while time.monotonic() < deadline:
            value = self.show(unit, name)
            if re.fullmatch(pattern, value):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{unit} {name} is {value!r}, not {pattern}\n{self.text()}")

    def text(self) -> str:
        """What systemd and the service have printed."""
        return (self.folder / "log").read_text(errors="replace")[-6000:]

    def close(self) -> None:
        """End it, and all that it started: the kernel ends a PID namespace with its first process."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE_S)
        self.log.close()


def possible() -> str:
    """Why no systemd can be started here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/lib/systemd/systemd").exists() or shutil.which("unshare") is None:
        return "needs systemd and unshare"
    version = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True
    )
    if version.stdout.strip() != str(sys.version_info[:2]):
        return f"the system's Python is not {sys.version_info[:2]}, for which the libraries here are"
    tried = subprocess.run(
        [
            "unshare",
            "--fork",
            "--pid",
            "--mount",
            "--cgroup",
            "--mount-proc",
            "mount",
            "-t",
            "cgroup2",
            "none",
            "/sys/fs/cgroup",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip()


WHY_NOT = possible()
real = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "possible")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    started: list[Systemd] = []

    def begin(target: str, config: str, changes: dict[str, str]) -> Systemd:
        started.append(Systemd(tmp_path / "systemd", target, config, changes))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def hello(port: int, *, tls: bool = False) -> None:
    """Register with the server at `port`."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as plain, ExitStack() as stack:
        connection: socket.socket = stack.enter_context(insecure().wrap_socket(plain)) if tls else plain
        connection.sendall(b"NICK ann\r\nUSER ann 0 * :ann\r\n")
        data = b""
        while b" 001 ann " not in data:
            more = connection.recv(4096)
            assert more, data
            data += more


CONFIG = '[[listen]]\nport = {port}\n[admin]\nport = 0\n[database]\nurl = "sqlite:////var/lib/slircd/slircd.db"\n'


@real
def test_the_unit(start: object) -> None:
    """It becomes active, reloads, is started again after a kill, and stops in order; all under its hardening."""
    port, tls = free_port(), free_port()
    config = CONFIG.format(port=port) + f"[[listen]]\nport = {tls}\ntls = true\n"
    # Children, with limits and a filter of their own, must be possible under the unit's.
    config += '[plugins]\nautoload = ["welcome"]\n[checkpoints]\nevery = 1000\ncheck_s = 60\n'
    systemd = start("with-service.target", config, {})  # type: ignore[operator]
    systemd.wait_until("slircd.service", "ActiveState", "active")
    hello(port)
    hello(tls, tls=True)
    assert "plugin welcome" in systemd.text(), systemd.text()
    assert systemd.show("slircd.service", "StatusText").startswith("ready: ")
    before = systemd.show("slircd.service", "MainPID")
    reloaded = systemd.inside("systemctl", "reload", "slircd.service")
    assert reloaded.returncode == 0, reloaded.stderr + systemd.text()
    assert systemd.show("slircd.service", "MainPID") == before
    killed = systemd.inside("kill", "-KILL", before)
    assert killed.returncode == 0, killed.stderr
    systemd.wait_until("slircd.service", "NRestarts", "1")
    systemd.wait_until("slircd.service", "ActiveState", "active")
    hello(port)
    stopped = systemd.inside("systemctl", "stop", "slircd.service")
    assert stopped.returncode == 0, stopped.stderr
    assert systemd.show("slircd.service", "Result") == "success", systemd.text()
    assert "plugin welcome failed" not in systemd.text(), systemd.text()
    types = "SELECT event_type FROM events WHERE event_type LIKE 'server.%' ORDER BY id"
    code = f"import sqlite3; print(sqlite3.connect('/var/lib/slircd/slircd.db').execute({types!r}).fetchall())"
    log = systemd.inside(SYSTEM_PYTHON, "-c", code).stdout
    assert [word for word in re.findall(r"server\.\w+", log) if word in ("server.start", "server.stop")] == [
        "server.start",
        "server.start",
        "server.stop",
    ]


@real
def test_socket_activation(start: object) -> None:
    """The first client starts the server; while it restarts, connections wait and are served."""
    port, tls = free_port(), free_port()
    config = CONFIG.format(port=0).replace("[[listen]]\nport = 0\n", (DEPLOY / "slircd-sockets.toml").read_text())
    changes = {"0.0.0.0:6667": f"127.0.0.1:{port}", "0.0.0.0:6697": f"127.0.0.1:{tls}"}
    systemd = start("with-sockets.target", config, changes)  # type: ignore[operator]
    systemd.wait_until("slircd.socket", "ActiveState", "active")
    assert systemd.show("slircd.service", "ActiveState") == "inactive"
    hello(port)
    systemd.wait_until("slircd.service", "ActiveState", "active")
    restarting = systemd.inside("systemctl", "restart", "--no-block", "slircd.service")
    assert restarting.returncode == 0, restarting.stderr
    for _ in range(10):
        hello(port)
        hello(tls, tls=True)


def test_systemd_finds_no_mistake(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    program = tmp_path / "slircd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in UNITS:
        (tmp_path / name).write_text((DEPLOY / name).read_text().replace("/opt/slircd/bin/slircd", str(program)))
    paths = [str(tmp_path / name) for name in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_exposure() -> None:
    """`systemd-analyze security` rates the unit well under 2.0."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(DEPLOY / "slircd.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for slircd\.service: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= 1.6
