"""A loaded server and a real Prometheus that scrapes it: for the test of the dashboards and for their pictures."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from random import Random
from typing import Any

from tests.system.daemon import DEADLINE_S, Daemon, SocketClient
from tests.system.ports import free_port

CONFIG = """
[metrics]
channels = ["#hall"]
[accounts]
sasl_plain_without_tls = true
[checkpoints]
every = 500
[plugins]
autoload = ["welcome"]
"""


class Load(threading.Thread):
    """People who do a bit of everything, until they are told to stop."""

    def __init__(self, daemon: Daemon, seed: int = 1, pause_s: float = 0.002) -> None:
        super().__init__(daemon=True)
        self._daemon = daemon
        self._rng = Random(seed)
        self._pause_s = pause_s
        self._ended = threading.Event()
        self.rounds = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._run()
        except Exception as error:
            self.error = error

    def stop(self) -> None:
        """Have it end, and wait for that."""
        self._ended.set()
        self.join(DEADLINE_S)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        daemon, rng = self._daemon, self._rng
        staff = SocketClient(daemon).register("staff")
        staff.sends("OPER admin sesame", "JOIN #hall", "NS REGISTER secretword staff@example.org")
        staff.sends("CS REGISTER #hall")
        staff.synchronise()  # whoever comes first is the channel's operator
        people = [SocketClient(daemon, tls=number % 3 == 0).register(f"p{number}") for number in range(12)]
        for person in people:
            person.sends("JOIN #hall")
            person.synchronise()
        while not self._ended.is_set():
            self.rounds += 1
            number = rng.randrange(len(people))
            person, room = people[number], f"#room{rng.randrange(6)}"
            person.sends(f"JOIN {room}", f"PRIVMSG {room} :hello {self.rounds}", f"NOTICE {room} :there")
            person.sends(
                f"TOPIC {room} :topic {self.rounds}", f"MODE {room} +m", f"MODE {room} -m+b x{self.rounds}!*@*"
            )
            person.sends(
                f"MODE {room} -b x{self.rounds}!*@*", f"INVITE p{(number + 1) % 12} {room}", "AWAY :tea", "AWAY"
            )
            person.sends(
                "GREET you", f"NICK q{number}", f"NICK p{number}", f"WHO {room}", f"PART {room}", f"MODE p{number} +w"
            )
            person.synchronise()
            if self.rounds % 10 == 0:
                staff.sends(f"JOIN #k{self.rounds}", f"SAJOIN p1 #k{self.rounds}", f"KICK #k{self.rounds} p1")
                staff.sends(
                    "KLINE FORCE 1h *@192.0.2.1 :never here", "UNKLINE *@192.0.2.1", "NS IDENTIFY staff secretword"
                )
                staff.sends("CS FLAGS #hall p*!*@* +v", "CS FLAGS #hall p*!*@* -v", "OPER admin sesame")
                staff.sends(f"PART #k{self.rounds}")
                passing = SocketClient(daemon).register(f"t{self.rounds}")
                staff.sends(f"KILL t{self.rounds} :example")
                passing.until("^ERROR")
                passing.close()
                staff.synchronise()
            time.sleep(self._pause_s)


class Prometheus:
    """Debian's prometheus, scraping one server every second."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"scrape_configs: [{{job_name: slircd, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n"
        )
        self._log = (folder / "prometheus.log").open("wb")
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API; None while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 400:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None
            return None
        except urllib.error.URLError:
            return None

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE_S)
        self._log.close()


def filled(expr: str, window: str = "10s") -> str:
    """A query of a dashboard, as Grafana would send it for all servers."""
    return expr.replace("$__rate_interval", window).replace("$instance", ".*")
