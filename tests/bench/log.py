"""How fast the log is: appending through bus and store, and replaying.  `python -m tests.bench.log [EVENTS]`.

Prints JSON: events a second, CPU per event, commits, and the rate of a full replay of what was written.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from slircd.events.bus import EventBus
from slircd.events.reader import LogReader
from slircd.events.store import SQLStore
from slircd.events.types import ChannelJoin, ChannelPart, ChannelTopicChange, Event, UserConnect
from slircd.replay.reconstructor import Replayed, replay
from slircd.state.model import ServerState
from slircd.state.snapshot import digest

USERS = 2_000
CHANNELS = 200
WINDOW = 2_000
"""Decisions that may be under way before the writer is waited for."""


class OpenGate:
    def applied(self, sequence: int) -> None: ...

    def committed(self, sequence: int) -> None: ...


def connect(number: int) -> Event:
    uid = f"001{number:06d}"
    return UserConnect(
        actor_uid=uid,
        target=uid,
        nick=f"nick{number}",
        username="~user",
        host="a1b2c3.d4e5f6.a7b8c9.cloak",
        real_host="192.0.2.1",
        ip="192.0.2.1",
        realname="A real name",
        modes="ix",
        node="001",
        number=number,
        secure=True,
        certfp=None,
    )


def churn(state: ServerState, rng: Random) -> Event:
    """A join, a part or a topic, with popular channels more popular."""
    number = rng.randrange(1, USERS + 1)
    uid, nick = f"001{number:06d}", f"nick{number}"
    name = f"#channel{int(rng.paretovariate(1.2)) % CHANNELS}"
    channel = state.channels.get(name)
    common = {"actor_uid": uid, "target": name, "nick": nick}
    if channel is None or uid not in channel.members:
        return ChannelJoin(**common, member_uid=uid, member=nick, name=name, prefixes="")
    if rng.random() < 0.1:
        return ChannelTopicChange(**common, topic=f"topic {rng.random()}", set_by=f"{nick}!~user@host", previous="")
    return ChannelPart(**common, member_uid=uid, member=nick, name=name, reason="", prefixes="")


class Reactor:
    """Just the clock that bus and store ask for."""

    seconds = staticmethod(time.time)


def main(count: int) -> dict[str, object]:
    """Append about `count` events, then replay them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bench.db")
        calls: list[tuple[object, ...]] = []
        store = SQLStore(
            f"sqlite:///{path}",
            call_in_reactor=lambda function, *words: calls.append((function, *words)),
            seconds=time.time,
        )
        store.open()
        state = ServerState()
        bus = EventBus(
            state, store, reactor=Reactor(), session_id="bench", gate=OpenGate(), renderer=lambda *_: None, stall_s=3600
        )
        bus.recover()
        rng = Random(1)
        commits: list[float] = []
        store_committed = store.on_commit

        def on_commit(last_id: int, rows: int, seconds: float) -> None:
            commits.append(seconds)
            store_committed(last_id, rows, seconds)

        store.on_commit = on_commit

        def drain() -> None:
            while calls:
                function, *words = calls.pop(0)
                function(*words)  # type: ignore[operator]

        started, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        for number in range(1, USERS + 1):
            bus.emit([connect(number)])
        while bus.clock.value < count:
            for _ in range(50):
                bus.emit([churn(state, rng)])
            drain()
            while store.pending > WINDOW:
                time.sleep(0.0005)
                drain()
        store.close()
        drain()
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime
        events = bus.clock.value
        commits.sort()
        with LogReader(str(path)) as reader:
            into = Replayed()
            started = time.process_time()
            replay(reader.raw_rows(), into)
            replay_s = time.process_time() - started
        assert digest(into.state) == digest(state)
        return {
            "events": events,
            "append_per_s": round(events / seconds),
            "append_cpu_us": round(cpu_s / events * 1e6, 1),
            "commits": len(commits),
            "commit_ms_p50": round(commits[len(commits) // 2] * 1000, 2),
            "commit_ms_p99": round(commits[len(commits) * 99 // 100] * 1000, 2),
            "bytes_per_event": round(path.stat().st_size / events),
            "replay_per_s": round(events / replay_s),
        }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000), indent=2))  # noqa: T201
