"""Targets: what comes out of a plugin's process, from bytes that are no frame to calls with any arguments."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ProcessTerminated
from twisted.python.failure import Failure

from slircd.config.sections import Config
from slircd.plugins.functions import FUNCTIONS
from slircd.plugins.manager import PluginManager
from slircd.rules.capabilities import CAPABILITIES
from slircd.state.snapshot import digest
from tests.fuzz import odd
from tests.fuzz.choices import Choices
from tests.fuzz.invariants import check_state
from tests.fuzz.output import check_output
from tests.fuzz.registry import target
from tests.fuzz.watch import no_failures
from tests.harness import START, World, make_config
from tests.plugins.test_process import FakeProcess, Reactor

PLUGIN = "welcome"
RAW = [b"{}", b"[]", b"null", b"\xff", b'{"op":"api"}', b'{"op":"done","id":0}', b'{"op":"print","text":"\\u0000"}',
       b'{"op":"print","text":"\\ud800"}', b""]  # fmt: skip


@cache
def config() -> Config:
    return make_config(
        {
            "plugins": {"grants": {PLUGIN: list(CAPABILITIES)}, "limits": {"calls_per_s": 1000}},
            "history": {"channels": True},
        }
    )


class Child:
    """A plugin's process that says what the choices say, beside a server that serves people."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        clock = Reactor()
        clock.advance(START)
        self.world = World(config=config(), clock=clock)
        self.clock = clock
        self.ann, self.bob = self.world.oper("ann"), self.world.client("bob")
        for client in (self.ann, self.bob):
            client.sends("JOIN #c", "NS REGISTER password1")
        self.manager = PluginManager(self.world.server, argv=["child"])
        self.manager.startService()
        self.calls = 0
        self.loading: list[Any] = []

    def load(self) -> None:
        done: Deferred[Any] = ensureDeferred(self.manager.load(PLUGIN, "server", ""))
        done.addBoth(self.loading.append)

    @property
    def process(self) -> FakeProcess:
        return self.clock.process

    def number(self) -> int:
        """The id of the job that the child has, or of the last one."""
        return self.process.protocol._ids

    def says(self, **frame: Any) -> None:
        self.writes(msgspec.json.encode(frame) + b"\n")

    def writes(self, data: bytes) -> None:
        if not self.process.killed:
            self.process.protocol.outReceived(data)
        for _ in range(3):
            self.clock.advance(0)

    def dies(self) -> None:
        """The kill has its effect."""
        protocol = self.process.protocol
        if self.process.killed and not protocol._gone:
            protocol.processEnded(Failure(ProcessTerminated(signal=9)))

    def call(self) -> None:
        choices = self.choices
        name = choices.pick(NAMES)
        entry = FUNCTIONS.get(name)
        arguments: list[Any] = []
        for parameter in entry.parameters if entry is not None else ():
            if parameter.optional and choices.chance(60):
                break
            arguments.append(fitting(choices, parameter.lua.type))
        if choices.chance(16):
            arguments.append(odd.value(choices))
        self.calls += 1
        self.says(op="api", id=self.calls, name=name, args=arguments)

    def act(self) -> None:
        """One thing that the child, people or time do."""
        choices = self.choices
        kind = choices.number(16)
        if kind < 7:
            self.call()
        elif kind == 7:
            self.says(op="done", id=self.number(), memory=choices.pick([0, 1000, -1, 10**30]))
        elif kind == 8:
            error = odd.text(choices)
            self.says(op="done", id=self.number(), memory=1, error=error, dropped=odd.NUMBERS[choices.number(8)])
        elif kind == 9:
            self.says(op="print", text=odd.text(choices))
        elif kind == 10:
            self.says(op="alive", id=self.number())
        elif kind == 11:
            self.writes(choices.pick(RAW) + b"\n" if choices.number(2) else choices.take(60))
        elif kind == 12:
            self.clock.advance(choices.pick([0.1, 0.3, 1, 3, 61]))
        elif kind == 13:
            self.ann.sends(
                choices.pick(["GREET x", "WELCOME", "PRIVMSG #c :!x", "PRIVMSG welcome :hi", "PLUGIN INFO welcome"])
            )
        elif kind == 14:
            self.bob.sends(
                choices.pick(["PART #c", "JOIN #c", "PRIVMSG #c :hello", "NICK bob2", "TOPIC #c :x", "MODE #c +s"])
            )
        else:
            self.says(op="ready", holds=[])
        self.dies()


NAMES = [*FUNCTIONS, "nosuch"]


def fitting(choices: Choices, kind: str) -> Any:
    """An argument of the type that a function takes, most of the time."""
    if choices.chance(30):
        return odd.value(choices)
    if kind.startswith("fun"):
        return {"$handler": choices.number(4)}
    if kind == "string":
        return odd.text(choices)
    if kind in ("integer", "number"):
        return choices.pick([*odd.NUMBERS, *odd.FLOATS] if kind == "number" else odd.NUMBERS)
    if kind == "boolean":
        return bool(choices.number(2))
    return odd.value(choices)


@target(
    max_bytes=600,
    seeds=[bytes([0, 0, 0, 7, 1, 7, 1, *[n, *range(20)]]) + bytes([7, 1, 13, 0, n, 3]) for n in range(0, 40, 4)],
)
def fuzz_pipe(data: bytes) -> None:
    """Whatever a plugin's process writes: the server lives, says nothing wrong, and the process ends or goes on."""
    choices = Choices(data)
    with no_failures() as failures:
        child = Child(choices)
        child.load()
        if choices.number(8):
            # Through its start, so that most inputs come to what is behind it.
            child.says(op="ready", holds=["seccomp"])
            child.says(op="done", id=child.number(), memory=1, name="welcome", version=odd.text(choices))
        for _ in range(60):
            if not choices.more:
                break
            child.act()
            failures.check()
        for client in child.world.clients:
            check_output(client.transport.value())
        check_state(child.world.server)
        child.manager.stopService()
        child.clock.advance(10)
        child.dies()
        child.clock.advance(200)
        child.dies()
        assert child.loading, "the load never ended"
        child.world.store.commit()
        assert digest(child.world.state) == digest(child.world.replayed())
        assert child.world.live_digest.is_right()
