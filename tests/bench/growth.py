"""How cost grows with the network: `python -m tests.bench.growth`.

Builds servers in memory (tests.harness) with 100, 1,000, 10,000 and 20,000 connections and as many channels, and
measures what commands cost: CPU until all is done, and the longest turn of the reactor on the way, without sockets and
without the cycle collector (`python -m tests.bench.turns` has both).  Prints a table, and ends with status 1 if
something grows faster than the network.

Each user has a channel of its own; channels #h0 to #h99 have 50 of the first thousand users each, whatever the size,
and nearly everybody is on #big.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
from collections.abc import Callable, Iterator
from time import thread_time
from typing import NamedTuple

from slircd.events import types as ev
from slircd.security.netbans import BanTables
from slircd.state.apply import Stamp, apply
from slircd.state.model import NetworkBan
from tests.bench.hotpath import Client
from tests.harness import OPER_PASSWORD, TurnClock, World, make_config

SIZES = (100, 1_000, 10_000, 20_000)
HUNDRED = 100
APART = (0, 20, 21, 22)
"""Users who are not on #big: those who are on a hundred channels."""
IN_EACH = 50
FROM = 1_000
"""Growth is measured from this size on: in smaller ones what does not grow outweighs what does."""
ALLOWED = {"constant": 0.35, "linear": 1.4}
"""The greatest exponent of each promise; a larger state also misses the processor's caches more often."""

CAPS = "away-notify setname account-notify extended-join multi-prefix server-time message-tags batch"


class Cost(NamedTuple):
    """CPU of an action, in seconds: all of it, and its longest turn."""

    total: float
    longest: float


class Bench:
    """A server of one size."""

    def __init__(self, size: int) -> None:
        limits = {"clients": 1_000_000, "channels_per_user": 1_000, "sendq_bytes": 1 << 30, "monitor": 1_000}
        config = make_config({"limits": limits, "throttle": {"enabled": False}})
        self.size = size
        self.world = World(config=config, clock=TurnClock())
        self.world.store.automatic = False
        self.clients: list[Client] = []
        for number in range(size):
            self.clients.append(self.comes(f"u{number}"))
        self.uids = [client.protocol.session.uid for client in self.clients if client.protocol.session is not None]
        for number, uid in enumerate(self.uids):
            self.joins(uid, f"#c{number}")
            if number not in APART:
                self.joins(uid, "#big")
        for number in range(HUNDRED):
            for place in range(IN_EACH):
                self.joins(self.uids[(number * IN_EACH + place) % min(size, FROM)], f"#h{number}")
        self.in_hundred(0)
        self.oper = self.comes("root")
        self.oper.sends(f"OPER root {OPER_PASSWORD}")
        self.world.store.rows.clear()

    def comes(self, nick: str) -> Client:
        """A client that has registered."""
        client = Client(self.world)
        client.sends(f"CAP REQ :{CAPS}", f"NICK {nick}", f"USER {nick} 0 * :Real name of {nick}", "CAP END")
        return client

    def joins(self, uid: str, name: str) -> None:
        """Put a user on a channel without telling anybody: told one by one, 20,000 would take minutes."""
        server, state = self.world.server, self.world.state
        if name not in state.channels:
            self._apply(ev.ChannelCreate(actor_uid=uid, target=name, nick="", name=name, modes="nt"))
            server.channels.created(name)
        if uid not in state.channels[name].members:
            nick = state.users[uid].nick
            event = ev.ChannelJoin(
                actor_uid=uid, target=name, nick=nick, member_uid=uid, member=nick, name=name, prefixes=""
            )
            self._apply(event)
            server.channels.joined(name, uid, server.timestamp())

    def _apply(self, event: ev.Event) -> None:
        sequence = self.world.server.bus.clock.tick()
        self.world.live_digest.touch(event)
        apply(self.world.state, event, Stamp(0, sequence, self.world.server.timestamp(), "bench"))

    def in_hundred(self, number: int) -> None:
        """Have a user be on a hundred channels of 50."""
        for each in range(HUNDRED):
            self.joins(self.uids[number], f"#h{each}")

    # --- measuring ------------------------------------------------------------------------------------------------

    def cost(self, action: Callable[[], object]) -> Cost:
        """What an action costs, with all the turns that follow from it; commits are turns of their own."""
        world, clock = self.world, self.world.clock
        turns = [_timed(action)]
        while world.store.pending or any(call.getTime() <= clock.seconds() for call in clock.calls):
            turns.append(_timed(world.turn))
            turns.append(_timed(world.store.commit))
        world.store.rows.clear()
        return Cost(sum(turns), max(turns))

    def least(self, *actions: Callable[[], object]) -> Cost:
        """The least of several."""
        costs = [self.cost(action) for action in actions]
        return Cost(min(cost.total for cost in costs), min(cost.longest for cost in costs))

    def line(self, client: Client, *lines: str, repeat: int = 5) -> Cost:
        """What lines of a client cost: the least of some runs."""
        return self.least(
            *[lambda: client.protocol.dataReceived("".join(f"{line}\r\n" for line in lines).encode())] * repeat
        )


def _timed(work: Callable[[], object]) -> float:
    before = thread_time()
    work()
    return thread_time() - before


# --- what is measured ---------------------------------------------------------------------------------------------

Measure = Callable[[Bench], Cost]
MEASURES: list[tuple[str, str, Measure]] = []
"""What it is, what it promises, and what measures it."""


def measures(name: str, promise: str) -> Callable[[Measure], Measure]:
    def register(function: Measure) -> Measure:
        MEASURES.append((name, promise, function))
        return function

    return register


def of_line(name: str, promise: str, *lines: str, by: int = 1) -> None:
    """Measure lines of the client with this number; -1 is the operator."""
    MEASURES.append((name, promise, lambda bench: bench.line(bench.oper if by < 0 else bench.clients[by], *lines)))


of_line("message to a channel of 50", "constant", "PRIVMSG #h0 :hello")
of_line("message to one user", "constant", "PRIVMSG u2 :hello")
of_line("JOIN and PART, channel of 50", "constant", "JOIN #h99", "PART #h99", by=7)
of_line("WHOIS", "constant", "WHOIS u3")
of_line("LUSERS", "constant", "LUSERS")
of_line("NAMES, channel of 50", "constant", "NAMES #h0")
of_line("WHO, channel of 50", "constant", "WHO #h0")
of_line("NICK of a user on 100 channels of 50", "constant", "NICK v0", "NICK u0", by=0)
of_line("MONITOR + 100 nicks", "constant", f"MONITOR + {','.join(f'u{n}' for n in range(60))}", "MONITOR C")


@measures("QUIT of a user on 100 channels of 50", "constant")
def quit_of_many_channels(bench: Bench) -> Cost:
    costs = []
    for number in APART[1:]:
        bench.in_hundred(number)
        costs.append(bench.cost(lambda number=number: bench.clients[number].protocol.dataReceived(b"QUIT\r\n")))  # type: ignore[misc]
    return min(costs)


@measures("registration and QUIT", "constant")
def registration(bench: Bench) -> Cost:
    names = iter(range(1_000))

    def come_and_go() -> None:
        bench.comes(f"new{next(names)}").protocol.dataReceived(b"QUIT\r\n")

    return bench.least(*[come_and_go] * 5)


@measures("MODE +b and -b, 199 of 200 entries", "constant")
def full_list(bench: Bench) -> Cost:
    bench.oper.sends("SAMODE #h0 +o root", "JOIN #h0", "SAMODE #h0 +o root")
    for start in range(0, 199, 10):
        bench.oper.sends(f"MODE #h0 +{'b' * 10} {' '.join(f'a{start + n}!*@*' for n in range(10))}")
    return bench.line(bench.oper, "MODE #h0 +b last!*@*", "MODE #h0 -b last!*@*")


@measures("look-up of a connection among 5 bans a user", "constant")
def ban_lookup(bench: Bench) -> Cost:
    tables = BanTables(bench.world.state.fold)
    for number in range(5 * bench.size):
        kind = ("kline", "gline", "dline", "kline", "zline")[number % 5]
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" if number % 5 != 3 else f"h{number}.example.org"
        mask = host if kind in ("dline", "zline") else f"*@{host}"
        tables.add(kind, NetworkBan(mask, "reason", "", "root", ""))

    def look() -> None:
        for number in range(100):
            tables.for_address(f"11.0.0.{number}")
            tables.for_user("user", (f"host{number}.example.net",), f"11.0.0.{number}", "Real name")

    cost = bench.least(*[look] * 5)
    return Cost(cost.total / 100, cost.longest / 100)


of_line("message to all", "linear", "PRIVMSG #big :hello")
of_line("JOIN and PART, channel of all", "linear", "PART #big", "JOIN #big")
of_line("NAMES, channel of all", "linear", "NAMES #big")
of_line("WHO, channel of all", "linear", "WHO #big")
of_line("WHOX, channel of all", "linear", "WHO #big %tcuhnfar,1")
of_line("WHO *1*", "linear", "WHO *1*")
of_line("LIST", "linear", "LIST")
of_line("LIST with conditions", "linear", "LIST >40,*h*")
of_line("NICK, seen by all", "linear", "NICK v1", "NICK u1")
of_line("AWAY and back, seen by all", "linear", "AWAY :lunch", "AWAY")
of_line("SETNAME, seen by all", "linear", "SETNAME :One", "SETNAME :Another")
of_line("STATS l", "linear", "STATS l", by=-1)
of_line("TRACE", "linear", "TRACE", by=-1)


@measures("METADATA, followed by all", "linear")
def metadata(bench: Bench) -> Cost:
    for client in bench.clients:
        if client.protocol.session is not None:
            client.protocol.session.followed["url"] = None
    return bench.line(bench.clients[1], "METADATA * SET url :one", "METADATA * SET url :two")


@measures("coming and going of a nick that all MONITOR", "linear")
def monitored(bench: Bench) -> Cost:
    for client in bench.clients:
        if client.protocol.session is not None:
            bench.world.server.monitor.add(client.protocol.session, "seen")
    return bench.least(*[lambda: bench.comes("seen").protocol.dataReceived(b"QUIT\r\n")] * 3)


@measures("GLINE that hits nobody, and UNGLINE", "linear")
def line_of_nobody(bench: Bench) -> Cost:
    return bench.line(bench.oper, "GLINE *@203.0.113.77 spam", "UNGLINE *@203.0.113.77", repeat=3)


@measures("notice of the server to all", "linear")
def notice(bench: Bench) -> Cost:
    from slircd.network import announce

    return bench.least(*[lambda: announce.announce(bench.world.server, "hello")] * 3)


@measures("rehash", "linear")
def rehash(bench: Bench) -> Cost:
    return bench.least(*[lambda: bench.world.server.use_config(bench.world.server.config)] * 3)


@measures("metrics, read once", "linear")
def metrics(bench: Bench) -> Cost:
    from slircd.metrics import Metrics

    return bench.least(*[Metrics(bench.world.server).text] * 3)


@measures("digest of all, for a checkpoint", "linear")
def checkpoint(bench: Bench) -> Cost:
    from slircd.housekeeping import SLICE

    live = bench.world.live_digest
    live.forget()
    turns = [0.0]
    while not live.work(0):
        turns.append(_timed(lambda: live.work(SLICE)))
    return Cost(sum(turns), max(turns))


@measures("PING to all, who came at one time", "linear")
def pings(bench: Bench) -> Cost:
    clock = bench.world.clock
    interval = bench.world.server.config.timeouts.ping_interval_s
    turns = [_timed(lambda: clock.advance(interval + 1))]
    end = clock.seconds() + 10
    while clock.seconds() < end:
        turns.append(_timed(lambda: clock.advance(0.001)))
    for client in [*bench.clients, bench.oper]:
        client.protocol.dataReceived(b"PONG 1\r\n")
    return Cost(sum(turns), max(turns))


@measures("GLINE that hits half of all", "linear")
def line_of_many(bench: Bench) -> Cost:
    users = bench.world.state.users
    for uid in bench.uids[bench.size // 2 :]:
        if uid in users:
            users[uid].username = "spam"
            for key in list(bench.world.state.memberships[uid]):
                if key == "#big":  # half of all leave half of all: that is what grows with the square, not the ban
                    del bench.world.state.memberships[uid][key]
                    del bench.world.state.channels[key].members[uid]
                    bench.world.server.channels.left(key, uid, bench.world.server.users.sessions_of(uid))
    return bench.cost(lambda: bench.oper.protocol.dataReceived(b"GLINE FORCE spam@* spam\r\n"))


# --- the table ----------------------------------------------------------------------------------------------------


def exponent(costs: dict[int, Cost]) -> float:
    """By which power of the size the cost grows, from FROM to the largest size."""
    sizes = sorted(costs)
    first, last = next((size for size in sizes if size >= FROM), sizes[0]), sizes[-1]
    return math.log(costs[last].total / costs[first].total) / math.log(last / first) if last > first else 0.0


def _shown(seconds: float) -> str:
    ms = seconds * 1000
    return f"{ms:.3f}" if ms < 1 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def table(found: dict[str, dict[int, Cost]]) -> Iterator[str]:
    """The lines of the table."""
    sizes = sorted({size for costs in found.values() for size in costs})
    yield "| CPU in ms | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent | longest turn |"
    yield "|---|" + "---|" * (len(sizes) + 2)
    for name, costs in found.items():
        cells = [_shown(costs[size].total) if size in costs else "" for size in sizes]
        yield f"| {name} | {' | '.join(cells)} | {exponent(costs):.2f} | {_shown(costs[max(costs)].longest)} |"


def main() -> None:
    """Measure, print, and complain."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="connections and channels")
    parser.add_argument("--only", default="", help="only what has this in its name")
    options = parser.parse_args()
    found: dict[str, dict[int, Cost]] = {}
    for size in options.sizes:
        if size < IN_EACH * 2:
            parser.error(f"a size is at least {IN_EACH * 2}")
        bench = Bench(size)
        gc.collect()
        gc.freeze()
        gc.disable()
        for name, _, measure in MEASURES:
            if options.only in name:
                found.setdefault(name, {})[size] = measure(bench)
                print(f"{size:6} {name}", file=sys.stderr)  # noqa: T201  # how far it is
        gc.unfreeze()
        gc.enable()
        del bench
    for line in table(found):
        print(line)  # noqa: T201  # its answer
    wrong = [
        f"{name} is not {promise}: exponent {exponent(found[name]):.2f}"
        for name, promise, _ in MEASURES
        if name in found and exponent(found[name]) > ALLOWED[promise]
    ]
    if wrong:
        sys.exit("\n".join(["", "GROWS TOO FAST:", *wrong]))


if __name__ == "__main__":
    main()
