"""slircd beside other IRC servers: `python -m tests.bench.peers PATH_OF_IRCLOAD [--ergo PATH] [--scenarios ...]`.

Starts ngIRCd, InspIRCd, Ergo and slircd, those that are found, in turns, each time a fresh process in a fresh folder,
and has the load generator `ircload` drive each through the same scenarios.  Prints a table: CPU time of the server, the
median of all rounds, half the distance between the best and the worst, and in brackets how many times of it slircd
needs.  Throttles, limits for an address and look-ups are off everywhere, and nobody keeps messages; slircd alone writes
a log, to a real file, strict and with fsync.

What is called tls- goes through tests.bench.tunnel, whose CPU does not count.  `--before FOLDER` measures another
checkout of slircd, too, in the same turns.  CPU can be compared within one run; latencies only on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from slircd.security.certificates import ensure_self_signed

Report = dict[str, Any]


class Scenario(NamedTuple):
    """What the generator is asked to do, and which of its figures are shown."""

    arguments: str
    figures: tuple[str, ...]
    tls: bool = False


DELIVERY: Final = ("cpu_us_per_delivery",)
MESSAGE: Final = ("cpu_us_per_inbound",)
OPERATION: Final = ("cpu_us_per_operation",)
REGISTRATION: Final = ("cpu_us_per_registration",)
MEMORY: Final = ("rss_per_client_bytes",)
MIX: Final = ("cpu_us_per_delivery", "latency_p50_ms", "latency_p99_ms", "latency_p999_ms")

SCENARIOS: Final = {
    "fanout-10": Scenario("fanout --members 10", DELIVERY),
    "fanout-100": Scenario("fanout --members 100", DELIVERY),
    "fanout-1000": Scenario("fanout --members 1000", DELIVERY),
    "fanout-100-busy": Scenario("fanout --members 100 --senders 10 --window 4", DELIVERY),
    "fanout-1000-busy": Scenario("fanout --members 1000 --senders 10 --window 4", DELIVERY),
    "privmsg": Scenario("privmsg --pairs 50", MESSAGE),
    "privmsg-busy": Scenario("privmsg --pairs 50 --window 10", MESSAGE),
    "join": Scenario("join --clients 50 --channels 10 --residents 10", OPERATION),
    "connect": Scenario("connect --clients 2000 --spread", REGISTRATION),
    "mix": Scenario("mixed --clients 500 --channels 100 --joins 5 --rate 100", MIX),
    "idle": Scenario("idle --clients 5000 --spread", MEMORY),
    "tls-fanout-100": Scenario("fanout --members 100", DELIVERY, tls=True),
    "tls-fanout-100-busy": Scenario("fanout --members 100 --senders 10 --window 4", DELIVERY, tls=True),
    "tls-privmsg": Scenario("privmsg --pairs 50", MESSAGE, tls=True),
    "tls-connect": Scenario("connect --clients 1000 --spread", REGISTRATION, tls=True),
    "tls-idle": Scenario("idle --clients 2000 --spread", MEMORY, tls=True),
}

NGIRCD: Final = """
[Global]
Name = bench.example
Info = Benchmark
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = Benchmark
ServerUID = {user}
ServerGID = {group}
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 16
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
SyslogFacility = local1
[SSL]
CertFile = {certificate}
KeyFile = {key}
Ports = {tls_port}
"""

INSPIRCD: Final = """
<server name="bench.example" description="Benchmark" network="Benchmark" id="1BE">
<admin name="Benchmark" nick="bench" email="bench@bench.example">
<module name="ssl_gnutls">
<sslprofile name="clients" provider="gnutls" certfile="{certificate}" keyfile="{key}" requestclientcert="yes">
<bind address="127.0.0.1" port="{port}" type="clients">
<bind address="127.0.0.1" port="{tls_port}" type="clients" sslprofile="clients">
<connect allow="*" timeout="60" pingfreq="3600"
         hardsendq="64M" softsendq="64M" recvq="64K"
         fakelag="no" threshold="1000000000" commandrate="1000000000"
         localmax="1000000" globalmax="1000000" maxconnwarn="no" limit="1000000" maxchans="10000"
         resolvehostnames="no" useident="no">
<performance somaxconn="4096" softlimit="1000000" netbuffersize="65534">
<limits maxnick="30" maxchan="64">
<files motd="{folder}/motd">
<dns server="127.0.0.1" timeout="1">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{folder}/inspircd.log">
<pid file="{folder}/inspircd.pid">
"""

ERGO: Final[dict[str, Any]] = {  # as JSON, which is YAML
    "network": {"name": "Benchmark"},
    "server": {
        "name": "bench.example",
        "casemapping": "ascii",
        "enforce-utf8": True,
        "lookup-hostnames": False,
        "check-ident": False,
        "max-sendq": "64M",
        "ip-limits": {"count": False, "throttle": False, "cidr-len-ipv4": 32, "cidr-len-ipv6": 64},
        "ip-cloaking": {"enabled": False},
        "motd": "motd",
    },
    "accounts": {
        "authentication-enabled": True,
        "registration": {"enabled": False},
        "require-sasl": {"enabled": False},
        "nick-reservation": {"enabled": False},
        "multiclient": {"enabled": False},
    },
    "channels": {"default-modes": "+nt", "max-channels-per-client": 10000, "registration": {"enabled": False}},
    "limits": {
        "nicklen": 32,
        "identlen": 20,
        "realnamelen": 150,
        "channellen": 64,
        "awaylen": 390,
        "kicklen": 390,
        "topiclen": 390,
        "monitor-entries": 100,
        "whowas-entries": 100,
        "chan-list-modes": 60,
        "registration-messages": 1024,
        "multiline": {"max-bytes": 4096, "max-lines": 100},
    },
    "fakelag": {"enabled": False},
    "history": {"enabled": False},
    "languages": {"enabled": False},
    "logging": [{"method": "stderr", "type": "*", "level": "warn"}],
}

SLIRCD: Final = """
[server]
name = "bench.example"
motd = "Benchmark"

[[listen]]
address = "127.0.0.1"
port = {port}

[[listen]]
address = "127.0.0.1"
port = {tls_port}
tls = true

[tls]
certificate = "{certificate}"
private_key = "{key}"

[limits]
clients = 1000000
channels_per_user = 10000
sendq_bytes = 67108864

[timeouts]
ping_interval_s = 3600

[flood]
enabled = false

[throttle]
enabled = false

[cloak]
enabled = false

[admin]
port = 0
"""


class Place(NamedTuple):
    """Where a server runs."""

    folder: Path
    port: int
    tls_port: int
    certificate: Path
    key: Path

    def fill(self, template: str, **more: object) -> str:
        """`template` with what it names."""
        return template.format(**self._asdict(), **more)


class NotHere(Exception):
    """A server is not installed."""


class Server:
    """A kind of server."""

    inflight = 8
    """Registrations at one time: below the shortest queue of connections that any of them asks the kernel for."""

    def __init__(self, path: str | None) -> None:
        """Raises NotHere; `path` is its program."""
        found = path and (shutil.which(path) or shutil.which(path, path="/usr/local/sbin:/usr/sbin:/sbin"))
        if not found:
            raise NotHere
        self.program = str(Path(found).resolve())

    def command(self, place: Place) -> list[str]:
        """Write its configuration into the folder; how to start it there, in the foreground."""
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        """Its environment."""
        return os.environ


class NgIrcd(Server):
    def command(self, place: Place) -> list[str]:
        file = place.folder / "ngircd.conf"
        # As root it insists on becoming somebody else, who has to read the key.
        is_root = os.geteuid() == 0
        user, group = ("nobody", "nogroup") if is_root else (str(os.geteuid()), str(os.getegid()))
        file.write_text(place.fill(NGIRCD, user=user, group=group))
        place.folder.chmod(0o755)
        return [self.program, "-n", "-f", str(file)]


class InspIrcd(Server):
    inflight = 1000  # it completes all registrations that wait, once a second

    def command(self, place: Place) -> list[str]:
        file = place.folder / "inspircd.conf"
        file.write_text(place.fill(INSPIRCD))
        return [self.program, "--nofork", *(["--runasroot"] if os.geteuid() == 0 else []), "--config", str(file)]


class Ergo(Server):
    def command(self, place: Place) -> list[str]:
        file = place.folder / "ircd.yaml"
        tls = {"cert": str(place.certificate), "key": str(place.key)}
        listeners = {f"127.0.0.1:{place.port}": {}, f"127.0.0.1:{place.tls_port}": {"tls": tls}}
        config = {
            **ERGO,
            "server": {**ERGO["server"], "listeners": listeners},
            "datastore": {"path": str(place.folder / "ircd.db"), "autoupgrade": True},
            "lock-file": str(place.folder / "ircd.lock"),
        }
        file.write_text(json.dumps(config, indent=1))
        subprocess.run([self.program, "initdb", "--conf", str(file), "--quiet"], cwd=place.folder, check=True)
        return [self.program, "run", "--conf", str(file)]


class Slircd(Server):
    def __init__(self, path: str | None, checkout: Path | None = None) -> None:
        super().__init__(path)
        self._checkout = checkout

    def command(self, place: Place) -> list[str]:
        file = place.folder / "slircd.toml"
        file.write_text(place.fill(SLIRCD))
        return [self.program, "-n", "--pidfile=", "slircd", "--config", str(file)]

    def environ(self) -> Mapping[str, str]:
        passwords = {"SLIRCD_OPER_PASSWORD": "sesame", "SLIRCD_ADMIN_PASSWORD": "sesame"}
        code = {} if self._checkout is None else {"PYTHONPATH": str(self._checkout)}
        return {**os.environ, **passwords, **code}


# --- one measurement ----------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that is free, below those that outgoing connections take: thousands of clients come and go."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def is_serving(port: int) -> bool:
    """Whether a client can register: an open port is not yet a server that is ready."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as probe:
            probe.sendall(b"NICK probe\r\nUSER probe 0 * :probe\r\n")
            data = b""
            while b" 376 " not in data and b" 422 " not in data:
                chunk = probe.recv(4096)
                if not chunk:
                    return False
                data += chunk
                if b"PING " in chunk:
                    probe.sendall(b"PONG" + chunk.split(b"PING")[1].split(b"\r")[0] + b"\r\n")
            probe.sendall(b"QUIT\r\n")
            return True
    except OSError:
        return False


@contextmanager
def running(command: list[str], port: int, folder: Path, environ: Mapping[str, str]) -> Iterator[int]:
    """A process that lets clients register on `port`; gives its id, and ends it."""
    output = folder / "output"
    with output.open("ab") as file:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 30
        while not is_serving(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not serve: {output.read_text(errors='replace')[-1000:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(server: Server, scenario: Scenario, ircload: Path, duration_s: float) -> Report:
    """One run of a scenario, with a server of its own; what the generator reports."""
    with tempfile.TemporaryDirectory(prefix="slircd-peers-") as name, ExitStack() as stack:
        folder = Path(name)
        certificate, key = folder / "bench.crt", folder / "bench.key"
        ensure_self_signed(certificate, key, "bench.example", datetime.now(UTC))
        key.chmod(0o644)  # it is worth nothing, and ngIRCd reads it as somebody else
        (folder / "motd").write_text("Benchmark\n")
        place = Place(folder, free_port(), free_port(), certificate, key)
        pid = stack.enter_context(running(server.command(place), place.port, folder, server.environ()))
        port = place.port
        if scenario.tls:
            port = free_port()
            tunnel = [sys.executable, "-m", "tests.bench.tunnel", str(port), str(place.tls_port)]
            checkout = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
            stack.enter_context(running(tunnel, port, folder, checkout))
        time.sleep(0.5)
        load = [
            *(str(ircload), "--inflight", str(server.inflight), *scenario.arguments.split()),
            *("--duration", str(duration_s), "--port", str(port), "--server-pid", str(pid)),
        ]
        run = subprocess.run(load, capture_output=True, text=True, timeout=900, check=False)
        try:
            report: Report = json.loads(run.stdout)
        except ValueError:
            return {"ok": False, "error": run.stderr[:300] or f"status {run.returncode}"}
        return report


# --- the table ----------------------------------------------------------------------------------------------------


def cell(values: list[float], of_slircd: list[float]) -> str:
    """Median, half the spread, and the median's part of slircd's."""
    if not values:
        return "-"
    median = statistics.median(values)
    text = f"{median:,.{0 if median >= 1000 else 1 if median >= 10 else 2}f} ±{(max(values) - min(values)) / 2:.2g}"
    if of_slircd and of_slircd is not values and median:
        text += f" ({statistics.median(of_slircd) / median:.2f} times)"
    return text


def table(runs: Mapping[str, Mapping[str, list[Report]]], names: list[str]) -> Iterator[str]:
    """The lines of a table: scenarios down, servers across; in brackets how many times of it slircd needs."""
    yield f"| | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"
    for scenario, of_servers in runs.items():
        for figure in SCENARIOS[scenario].figures:
            values = {name: [run[figure] for run in of_servers[name] if run["ok"] and figure in run] for name in names}
            cells = (cell(values[name], values.get("slircd", [])) for name in names)
            yield f"| {scenario}: {figure} | {' | '.join(cells)} |"


def main() -> int:
    """Measure, print the table, and what failed; status 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("ircload", type=Path, help="the load generator")
    parser.add_argument("--ergo", default="ergo", metavar="PATH", help="Ergo's program (default: the one in $PATH)")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="another checkout of slircd")
    parser.add_argument("--servers", nargs="+", help="only these: ngircd inspircd ergo slircd before")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--duration", type=float, default=5, help="seconds that are measured in a run (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that the generator reported")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

    twistd = str(Path(sys.executable).with_name("twistd"))
    servers: dict[str, Server] = {}
    for name, make in {
        "ngircd": lambda: NgIrcd("ngircd"),
        "inspircd": lambda: InspIrcd("inspircd"),
        "ergo": lambda: Ergo(options.ergo),
        "before": lambda: Slircd(twistd if options.before else None, options.before),
        "slircd": lambda: Slircd(twistd),
    }.items():
        if not options.servers or name in options.servers:
            try:
                servers[name] = make()
            except NotHere:
                sys.stderr.write(f"without {name}: not found\n")

    runs: dict[str, dict[str, list[Report]]] = {}
    failures: list[str] = []
    for scenario in options.scenarios:
        runs[scenario] = {name: [] for name in servers}
        for number in range(options.rounds):
            for name, server in servers.items():
                report = measure(server, SCENARIOS[scenario], options.ircload.resolve(), options.duration)
                runs[scenario][name].append(report)
                if not report["ok"]:
                    failures.append(f"{scenario}, {name}, round {number + 1}: {report.get('error')}")
        lines = list(table({scenario: runs[scenario]}, list(servers)))
        sys.stdout.write("\n".join(lines if scenario == options.scenarios[0] else lines[2:]) + "\n")
        sys.stdout.flush()
        if options.json:
            options.json.write_text(json.dumps(runs, indent=1) + "\n")
    for failure in failures:
        sys.stdout.write(f"failed: {failure}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
