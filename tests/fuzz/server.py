"""A whole server and many clients, who do whatever the bytes say: `python -m tests.fuzz.server --seconds N`.

Clients come, speak lines that may make sense, and vanish; the log commits, fails and comes back; time passes, the
configuration changes, the server ends and starts again.  What holds all the time is checked after each slice: no failure
in the process' log, every line is one line within the limits, the state and its indexes agree, the live services agree
with the state, the state replayed from the log is the live one, and what clients saw is in the log.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from slircd.config.sections import Config
from slircd.events.codec import decode_event
from slircd.events.memory import MemoryStore
from slircd.rehash import merge
from slircd.security.passwords import hash_now
from slircd.state.apply import Stamp, apply
from slircd.state.snapshot import digest
from slircd.wire.capabilities import CAPABILITIES
from tests.facts import Fact, facts_of, facts_of_line
from tests.fuzz import corpus
from tests.fuzz.choices import Choices
from tests.fuzz.grammar import NICKS, PASSWORDS, Lines
from tests.fuzz.invariants import check_state
from tests.fuzz.output import check_output
from tests.fuzz.registry import target
from tests.fuzz.watch import Failures, no_failures, quietly
from tests.harness import FakeClient, World, make_config, replay

SLICE = 12
"""Steps between two looks at everything."""

MOST_CLIENTS = 7
STEPS = 400
GATEWAY = "192.0.2.80"
CONFIGS: list[dict[str, Any]] = [
    {},
    {"history": {"channels": True, "direct": True}, "relay": {"enabled": True}, "bouncer": {"always_on": "opt-in"}},
    {
        "server": {"encoding": "bytes", "casemapping": "precis", "confusables": True},
        "history": {"channels": True, "direct": True},
        "accounts": {"sasl_plain_without_tls": True, "before_connect": True},
    },
    {
        "cloak": {"enabled": True},
        "flood": {"enabled": True},
        "database": {"durability": "relaxed"},
        "bouncer": {"always_on": "opt-out"},
    },
    {
        "server": {"casemapping": "rfc1459", "encoding": "windows-1252"},
        "limits": {"sendq_bytes": 65_536, "channels_per_user": 3, "monitor": 10, "list_entries": 10},
        "timeouts": {"ping_interval_s": 60, "ping_timeout_s": 30},
        "history": {"channels": True},
    },
]


@cache
def config(number: int) -> Config:
    gateways = [{"hosts": [f"{GATEWAY}/32"], "password_hash": hash_now("x", "minimum")}]
    changes: dict[str, Any] = {"throttle": {"enabled": False}, **CONFIGS[number]}
    return make_config({**changes, "database": {"stall_ms": 600_000, **changes.get("database", {})}}, webirc=gateways)


class Run:
    """One run: choices become what clients and the world do."""

    def __init__(self, choices: Choices, failures: Failures, history: list[str]) -> None:
        self.choices = choices
        self.failures = failures
        self.number = choices.number(len(CONFIGS))
        self.history = history
        """What was done, for whoever reads a failure."""
        self.failing = False
        store = MemoryStore()
        self.world = World(config=config(self.number), store=store)
        store._seconds = self.world.clock.seconds
        store.automatic = choices.number(2) == 0
        self.lines = Lines(choices, self.world)
        self.seen: dict[FakeClient, list[bytes]] = {}
        self.steps = 0

    # --- what happens ---------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One thing."""
        self.steps += 1
        choices = self.choices
        clients = [client for client in self.world.clients if not client.is_closed]
        users = [client for client in clients if client.uid]
        kind = choices.number(64)
        if len(users) < 3 and self.world.server.bus.degraded:
            self.log_catches_up()
        elif len(users) < 3 or (kind < 2 and len(clients) < MOST_CLIENTS):
            self.connects()
        elif kind < 54:
            self.speaks(choices.pick(clients if kind == 2 else users))
        elif kind == 54:
            client = choices.pick(clients)
            self.note(client, "(vanishes)")
            client.disconnects()
        elif kind < 57:
            seconds = choices.pick([0.5, 1, 5, 31, 61, 600])
            self.note(None, f"({seconds} s pass)")
            self.world.clock.advance(seconds)
        elif kind < 62:
            self.world.store.commit()
            self.world.turn()
        elif kind == 62:
            self.store_changes()
        elif choices.number(4):
            self.rehashes()
        else:
            self.restarts(crash=choices.number(2) == 0)
        self.collect()

    def note(self, client: FakeClient | None, what: str) -> None:
        who = (
            ""
            if client is None
            else f"{self.world.clients.index(client)} {client.session.display_nick if client.session else '-'}: "
        )
        self.history.append(f"{who}{what}")

    def connects(self) -> None:
        """Somebody comes, more often than not with what it takes to become a user."""
        choices = self.choices
        address = GATEWAY if choices.chance(20) else f"192.0.2.{1 + choices.number(5)}"
        client = self.world.connect(address, tls=choices.number(4) == 0)
        self.note(client, f"(comes from {address})")
        names = list(CAPABILITIES)
        if choices.number(4):
            wanted = names if choices.number(2) else [choices.pick(names) for _ in range(choices.number(6))]
            for part in (wanted[:16], wanted[16:]):
                self.says(client, f"CAP REQ :{' '.join(part)}")
        if choices.chance(50):
            self.says(client, "AUTHENTICATE PLAIN")
            self.says(client, self.lines._expand("AUTHENTICATE <base64>"))
        if choices.number(8) == 0:
            return
        nick = choices.pick(NICKS)
        for line in (f"NICK {nick}", "USER u 0 * :Real name", "CAP END"):
            self.says(client, line)
        if not client.uid:
            self.says(client, f"NICK u{self.steps}")
        if choices.chance(200):
            self.says(client, f"NS REGISTER {choices.pick(PASSWORDS[:2])}")
        if choices.chance(110):
            self.says(client, "OPER root sesame")
        if choices.number(6):
            self.says(client, f"JOIN {choices.pick(['#a', '#a', '#b', '#a,#b'])}")
            if choices.chance(90):
                self.says(client, f"CS REGISTER {choices.pick(['#a', '#b'])}")

    def says(self, client: FakeClient, line: str) -> None:
        self.note(client, line)
        client.sends_bytes(line.encode("utf-8", "surrogatepass") + b"\r\n")

    def speaks(self, client: FakeClient) -> None:
        """A client sends a line, or some bytes."""
        if self.choices.chance(6):
            data = self.choices.take(80) + b"\r\n"
            self.note(client, repr(data))
            client.sends_bytes(data)
        else:
            self.says(client, self.lines.line())

    def store_changes(self) -> None:
        self.failing = not self.failing
        self.note(None, "(the log fails)" if self.failing else "(the log is back)")
        if self.failing:
            self.world.store.fail("disk full")
        else:
            self.world.store.recover()
        self.world.turn()

    def log_catches_up(self) -> None:
        """Nobody could come before that."""
        if self.failing:
            self.store_changes()
        self.world.store.commit()
        self.world.turn()

    def rehashes(self) -> None:
        """Another configuration, as far as a running server takes it."""
        self.number = self.choices.number(len(CONFIGS))
        merged, _ = merge(self.world.server.config, config(self.number))
        self.note(None, f"(configuration {self.number})")
        self.world.server.use_config(merged)
        self.world.turn()

    def restarts(self, *, crash: bool) -> None:
        """The server ends, in order or not, and starts again."""
        if self.failing:
            self.store_changes()
        self.collect()
        self.look()
        self.note(None, "(crash)" if crash else "(restart)")
        old, automatic = self.world, self.world.store.automatic
        self.world = old.restart(crash=crash)
        self.world.store.automatic = automatic
        self.world.store.commit()
        self.lines.world = self.world
        for client in old.clients:
            client.transport.clear()
        self.seen.clear()

    # --- what holds -----------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Take what clients were sent, and fail if any of it is no line."""
        self.failures.check()
        for client in self.world.clients:
            data = client.transport.value()
            if not data:
                continue
            client.transport.clear()
            lines = check_output(data, utf8=not self.world.server.encoding.keeps_bytes)
            self.seen.setdefault(client, []).extend(lines)
            for line in lines:
                assert b" Internal error" not in line
                if line.startswith(b"@") and b"msgid=" in line:
                    self.lines.msgids.append(line.split(b"msgid=", 1)[1].partition(b";")[0].partition(b" ")[0].decode())

    def look(self) -> None:
        """Fail unless everything agrees."""
        world = self.world
        check_state(world.server)
        state = replay(world.store)
        for row in world.store._pending:
            event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
            apply(state, event, Stamp(row.id, row.sequence, row.timestamp, row.session_id))
        assert digest(state) == digest(world.state) == world.live_digest.value(), "live is not replayed"
        if world.server.gate.strict:
            self.look_at_what_was_seen()

    def look_at_what_was_seen(self) -> None:
        """Each line that shows a change has its event among the committed ones."""
        facts = {fact for row in self.world.store.rows for fact in facts_of(row)}
        for lines in self.seen.values():
            for line in lines:
                text = line.decode("utf-8", "replace")
                body = text.partition(" ")[2] if text.startswith("@") else text
                if len(body.encode()) > 500 or "\N{REPLACEMENT CHARACTER}" in text:
                    continue  # cut, or shown to somebody who takes nothing but UTF-8
                unknown = [fact for fact in facts_of_line(text) if fact[0] in LOGGED and not is_known(fact, facts)]
                assert not unknown, f"{line!r} shows {unknown}, which is not in the log"
            lines.clear()

    def go(self) -> None:
        """Everything, until the choices end."""
        while self.choices.more and self.steps < STEPS:
            self.step()
            if self.steps % SLICE == 0:
                self.look()
        if self.failing:
            self.store_changes()
        self.world.store.commit()
        self.world.turn()
        self.collect()
        self.look()
        self.restarts(crash=True)
        self.look()


def is_known(fact: Fact, facts: set[Fact]) -> bool:
    """Whether this is in the log, or how a client that knows neither RENAME nor CHGHOST is told of one that is."""
    if fact in facts:
        return True
    if fact[0] == "MODE":
        return ("RETURN", fact[3]) in facts
    if fact[0] == "JOIN" and ("RETURN", fact[2]) in facts:
        return True
    return fact[0] in ("PART", "JOIN") and (f"RENAME {fact[0]}", fact[1]) in facts


LOGGED = frozenset(
    {"JOIN", "PART", "KICK", "NICK", "TOPIC", "MODE", "KILL", "INVITE", "QUIT", "AWAY", "SETNAME", "CHGHOST"}
)


@target(max_bytes=4000, most_kept=12, seeds=[Random(seed).randbytes(900) for seed in range(12)])
def fuzz_server(data: bytes) -> None:
    """Whatever clients, time, the database and the operator do, everything agrees after each slice."""
    history: list[str] = []
    try:
        with no_failures() as failures:
            Run(Choices(data), failures, history).go()
            # A Deferred that failed and that nobody asked says so when it goes, and no later run is to hear of it.
            gc.collect()
    except AssertionError as error:
        raise AssertionError(f"{error}\n\n" + "\n".join(history[-40:])) from error


def main() -> int:
    """Random runs, one after the other, for so long."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.server", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None, help="one run, of this seed")
    parser.add_argument("--first", type=int, default=int(time.time()), help="the first seed")
    parser.add_argument("--size", type=int, default=5000, help="bytes of choices for each run")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz/server"), help="where failures are kept")
    options = parser.parse_args()
    quietly()
    found: Counter[str] = Counter()
    end, runs = time.monotonic() + options.seconds, 0
    seed = options.first if options.seed is None else options.seed
    while runs == 0 or (options.seed is None and time.monotonic() < end):
        data = Random(seed).randbytes(options.size)
        try:
            fuzz_server(data)
        except Exception:
            failure = corpus.failure_of(fuzz_server, data)
            found[failure] += 1
            if found[failure] == 1:
                sys.stdout.write(f"seed {seed}: {failure}\n{traceback.format_exc()}\n")
                corpus.save(options.folder, corpus.shrink(fuzz_server, data, tries=200), f"seed{seed}-")
        runs, seed = runs + 1, seed + 1
    sys.stdout.write(f"{runs} runs, {sum(found.values())} failures of {len(found)} sorts\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
