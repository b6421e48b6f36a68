"""What a message, a JOIN with its PART, and a registration cost: `python -m tests.bench.hotpath`.

The server runs in memory (tests.harness): no socket and no disk, so that only its own work is counted, from a line's
bytes to the bytes for the transports.  Prints JSON: µs of CPU, the least of `--rounds` rounds, because whatever else
the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from time import process_time

from twisted.internet.interfaces import IAddress

from slircd.network.collector import settle
from slircd.network.listeners import ListenerInfo
from slircd.network.protocol import IRCProtocol
from tests.harness import FakeTransport, World, make_config

MEMBERS = (10, 50, 500)
"""Sizes of the channels that are spoken on."""

TEXT = "the quick brown fox jumps over the lazy dog, again and again"


class Silent(FakeTransport):
    """A connection whose far end throws everything away."""

    written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def getPeer(self) -> IAddress:
        return self.peerAddr


class Client:
    """A client that does not look at what it is sent."""

    def __init__(self, world: World) -> None:
        self.protocol = IRCProtocol(world.server)
        self.protocol.listener = ListenerInfo("bench", False)
        self.transport = Silent("127.0.0.1")
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)
        self.world = world

    def sends(self, *lines: str) -> None:
        for line in lines:
            self.protocol.dataReceived(line.encode() + b"\r\n")
        self.world.turn()
        if self.world.store.pending:
            self.world.store.commit()
            self.world.turn()

    def registers(self, nick: str) -> None:
        self.sends(f"NICK {nick}", f"USER {nick} 0 * :{nick}")


def timed(work: Callable[[], object], repeat: int) -> float:
    """µs of CPU for one of `repeat` runs of `work`."""
    before = process_time()
    for _ in range(repeat):
        work()
    return (process_time() - before) / repeat * 1e6


def measure(messages: int) -> dict[str, float]:
    """One round in a fresh world, with about `messages` of each sort."""
    config = make_config({"limits": {"clients": 100_000}, "throttle": {"enabled": False}})
    world = World(config=config)
    # As with a database, output waits for a commit, and the commit for the end of the turn.
    world.store.automatic = False
    clients = []
    for number in range(max(MEMBERS)):
        client = Client(world)
        client.registers(f"user{number}")
        clients.append(client)
    for size in MEMBERS:
        for client in clients[:size]:
            client.sends(f"JOIN #m{size}")
    sender, other = clients[0], clients[1]
    settle()
    found: dict[str, float] = {}
    for size in MEMBERS:
        line = f"PRIVMSG #m{size} :{TEXT}"
        repeat = max(50, messages * 10 // size)
        before = other.transport.written
        found[f"channel_{size}"] = timed(lambda line=line: sender.sends(line), repeat)  # type: ignore[misc]
        if other.transport.written - before < repeat * len(TEXT):
            raise RuntimeError("messages did not arrive")
    least, most = min(MEMBERS), max(MEMBERS)
    found["delivery"] = (found[f"channel_{most}"] - found[f"channel_{least}"]) / (most - least)
    found["direct"] = timed(lambda: sender.sends(f"PRIVMSG user1 :{TEXT}"), messages)
    # Each change is made of two events, rendered for ten members, committed, and let go by the output gate.
    found["join_and_part"] = timed(lambda: clients[20].sends("JOIN #m10", "PART #m10"), max(20, messages // 10))
    numbers = iter(range(messages))
    found["registration"] = timed(lambda: Client(world).registers(f"new{next(numbers)}"), max(20, messages // 10))
    return found


def main() -> None:
    """Measure, and print the least of all rounds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each in a new world (default 5)")
    parser.add_argument("--messages", type=int, default=4_000, help="messages of each sort in a round (default 4000)")
    options = parser.parse_args()
    rounds = [measure(options.messages) for _ in range(options.rounds)]
    print(json.dumps({name: round(min(each[name] for each in rounds), 2) for name in rounds[0]}, indent=2))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
