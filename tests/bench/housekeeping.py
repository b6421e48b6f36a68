"""What checkpoints and self-checks cost the reactor: `python -m tests.bench.housekeeping [--users N]`.

Prints JSON.  A server in memory gets so many users on channels; its log stands in a file.  Then the whole of
Housekeeping runs with a real reactor and a real process, and each turn of the reactor is measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import txaio
from twisted.internet import reactor as real_reactor  # noqa: TID251  # a benchmark is a program of its own
from twisted.internet.defer import ensureDeferred

from slircd.events.row import Row
from slircd.events.store import SQLStore
from slircd.events.types import ChannelJoin, UserAway, UserConnect
from slircd.housekeeping import Housekeeping
from slircd.state.livedigest import LiveDigest
from tests.harness import World, make_config

CHANNELS_EACH = 5


def populate(world: World, users: int) -> None:
    """Users and their channels, some of which are large."""
    rng, bus = Random(1), world.server.bus
    for number in range(1, users + 1):
        uid = f"9AA{number:06d}"
        connect = UserConnect(
            actor_uid=uid,
            target=uid,
            nick=f"nick{number}",
            username="user",
            host=f"host{number}.example.org",
            real_host=f"host{number}.example.org",
            ip="192.0.2.1",
            realname="Somebody",
            modes="i",
            node="9AA",
            number=number,
            secure=True,
            certfp=None,
        )
        joins = [
            ChannelJoin(
                actor_uid=uid,
                target=f"#c{channel}",
                nick=f"nick{number}",
                member_uid=uid,
                member=f"nick{number}",
                name=f"#c{channel}",
                prefixes="",
            )
            for channel in {int(rng.paretovariate(0.4)) % (users // 5) for _ in range(CHANNELS_EACH)}
        ]
        bus.emit([connect]).addErrback(lambda failure: failure.raiseException())
        for join in joins:
            bus.emit([join]).addErrback(lambda failure: failure.raiseException())


async def measure(world: World, url: str) -> dict[str, Any]:
    """Run one checkpoint with its check, and measure each turn."""
    reactor: Any = real_reactor
    server = world.server
    keeper = Housekeeping(server, url, reactor)
    server.bus.live_digest = LiveDigest(server.state)
    touching = time.perf_counter()
    for number in range(2000):
        uid = f"9AA{number % 500 + 1:06d}"
        server.bus.live_digest.touch(UserAway(actor_uid=uid, target=uid, nick="x", message="y"))
    touch_us = (time.perf_counter() - touching) / 2000 * 1e6
    turns: list[float] = []
    cpu: list[float] = []
    real = reactor.runUntilCurrent

    def turn() -> None:
        # The thread's own time, too: on a machine with other work a turn is interrupted now and then.
        began, began_cpu = time.perf_counter(), time.thread_time()
        real()
        turns.append(time.perf_counter() - began)
        cpu.append(time.thread_time() - began_cpu)

    reactor.runUntilCurrent = turn
    began = time.perf_counter()
    found = await keeper._verify(keep=2, whole=False)
    seconds = time.perf_counter() - began
    reactor.runUntilCurrent = real
    turns.sort()
    cpu.sort()
    return {
        "equal": found.equal,
        "events": found.events,
        "seconds": round(seconds, 1),
        "checkpoint_bytes": keeper.size_bytes,
        "touch_us": round(touch_us, 2),
        "turns": len(turns),
        "turn_ms_p99": round(turns[int(len(turns) * 0.99)] * 1000, 2),
        "turn_ms_max": round(turns[-1] * 1000, 2),
        "turn_cpu_ms_max": round(cpu[-1] * 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50_000)
    arguments = parser.parse_args()
    reactor: Any = real_reactor
    world = World(config=make_config())
    populate(world, arguments.users)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.db")
        store = SQLStore(f"sqlite:///{path}", call_in_reactor=lambda *_: None, seconds=float)
        store.open()
        rows: list[Row] = world.store.rows
        for first in range(0, len(rows), 5000):
            store.append(rows[first : first + 5000])
        store.close()
        txaio.config.loop = reactor
        answer: list[Any] = []

        def start() -> None:
            done = ensureDeferred(measure(world, f"sqlite:///{path}"))
            done.addBoth(lambda result: (answer.append(result), reactor.stop()))

        reactor.callWhenRunning(start)
        reactor.run()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        state = world.state
        facts = {
            "users": len(state.users),
            "channels": len(state.channels),
            "memberships": sum(len(channel.members) for channel in state.channels.values()),
            "largest_channel": max(len(channel.members) for channel in state.channels.values()),
            "peak_mb": peak_mb,
        }
        print(json.dumps({**facts, **answer[0]}, indent=2))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
