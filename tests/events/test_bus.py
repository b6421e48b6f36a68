"""The bus: decisions are units, stamps are right, subscribers are isolated, bugs cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from slircd.events import bus as bus_module
from slircd.events.bus import ClockBehindLog, Decision, EventBus, Record, StoreUnavailable
from slircd.events.codec import EncodeError
from slircd.events.memory import MemoryStore
from slircd.events.types import Event, ServerStart, UserAway, UserConnect
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from slircd.wire.numerics import NumericError


class OpenGate:
    def applied(self, sequence: int) -> None: ...

    def committed(self, sequence: int) -> None: ...


def connect(number: int) -> UserConnect:
    """Somebody comes."""
    uid = f"001{number:06d}"
    return UserConnect(
        actor_uid=uid,
        target=uid,
        nick=f"n{number}",
        username="u",
        host="h",
        real_host="h",
        ip="",
        realname="r",
        modes="",
        node="001",
        number=number,
        secure=False,
        certfp=None,
    )


def away(number: int, message: str) -> UserAway:
    uid = f"001{number:06d}"
    return UserAway(actor_uid=uid, target=uid, nick=f"n{number}", message=message)


class Bench:
    """A bus on a store in memory."""

    def __init__(self, store: MemoryStore | None = None, now: float = 1_750_000_000.0) -> None:
        self.clock = Clock()
        self.clock.advance(now)
        self.store = store or MemoryStore(seconds=self.clock.seconds)
        self.rendered: list[Record] = []
        self.state = ServerState()
        self.bus = EventBus(
            self.state,
            self.store,
            reactor=self.clock,
            session_id="run",
            gate=OpenGate(),
            renderer=lambda records, origin: self.rendered.extend(records),
        )
        self.bus.recover()

    def result(self, deferred: Deferred[object]) -> object:
        out: list[object] = []
        deferred.addBoth(out.append)
        return out[0] if out else None


def test_stamps() -> None:
    """Ids and sequences rise by one, a decision has one timestamp, all have the run's id."""
    bench = Bench()
    bench.bus.emit([connect(1), connect(2)])
    bench.clock.advance(1.5)
    bench.bus.emit([away(1, "x")])
    rows = bench.store.rows
    assert [(row.id, row.sequence) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    assert rows[0].timestamp == rows[1].timestamp == "2025-06-15T15:06:40.000000Z"
    assert rows[2].timestamp == "2025-06-15T15:06:41.500000Z"
    assert {row.session_id for row in rows} == {"run"}


def test_clock_that_steps_back_is_held() -> None:
    """Timestamps never run backwards within a log, across restarts neither."""
    bench = Bench()
    bench.bus.emit([connect(1)])
    later = Bench(bench.store, now=1_750_000_000.0 - 100)
    later.bus.emit([away(1, "x")])
    assert later.store.rows[1].timestamp == later.store.rows[0].timestamp
    assert later.bus.wall.held == 1


def test_clock_that_is_set_back_is_told_of() -> None:
    """Once when it happens and once when it is over, however many events come between."""
    bench = Bench()
    told: list[str] = []
    with logged_into(told):
        bench.bus.emit([connect(1)])
        bench.clock.rightNow -= 3600
        for text in ("a", "b", "c"):
            bench.clock.advance(1)
            bench.bus.emit([away(1, text)])
        bench.clock.advance(7200)
        bench.bus.emit([away(1, "d")])
    stamps = [row.timestamp for row in bench.store.rows]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 2
    assert bench.bus.wall.held == 3
    assert [text.partition(":")[0] for text in told] == [
        "the clock was set back",
        "the clock has caught up with the log, whose time goes on",
    ]


@contextmanager
def logged_into(told: list[str]) -> Iterator[None]:
    """Collects what is logged."""

    def observe(event: Any) -> None:
        told.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)


def test_log_from_the_future() -> None:
    """A log whose end lies over five minutes ahead refuses to start, unless told to go on."""
    bench = Bench()
    bench.bus.emit([connect(1)])
    with pytest.raises(ClockBehindLog, match="2025-06-15"):
        Bench(bench.store, now=1_750_000_000.0 - 400)


def test_decision_is_refused_as_a_whole() -> None:
    """If one event cannot be, none is: nothing applied, written or rendered."""
    bench = Bench()
    before = digest(bench.state)
    failure = bench.result(bench.bus.emit([connect(1), away(9, "x")]))
    assert failure.check(NumericError)  # type: ignore[attr-defined]
    assert digest(bench.state) == before
    assert bench.store.rows == []
    assert bench.rendered == []


@pytest.mark.parametrize("bad", ["nul \0", "lone \ud800", "x" * 70_000])
def test_what_cannot_be_stored_is_not_applied(bad: str) -> None:
    """Encoding comes before applying."""
    bench = Bench()
    bench.bus.emit([connect(1)])
    before = digest(bench.state)
    assert bench.result(bench.bus.emit([away(1, bad)])).check(EncodeError)  # type: ignore[attr-defined]
    assert digest(bench.state) == before
    assert len(bench.store.rows) == 1


def test_a_backslash_before_u0000_is_no_nul() -> None:
    """Text that only looks like an escaped NUL is stored."""
    bench = Bench()
    bench.bus.emit([connect(1)])
    assert isinstance(bench.result(bench.bus.emit([away(1, "\\u0000")])), tuple)


def test_bug_in_an_applier_undoes_the_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that fails half-way leaves the state of the log and of what is on its way there."""
    bench = Bench()
    bench.bus.emit([connect(1)])
    bench.store.automatic = False
    bench.bus.emit([connect(2)])
    before = digest(bench.state)
    real = bus_module.apply
    monkeypatch.setattr(
        bus_module,
        "apply",
        lambda state, event, stamp: 1 / 0 if getattr(event, "message", "") == "bug" else real(state, event, stamp),
    )
    failure = bench.result(bench.bus.emit([away(1, "fine"), away(2, "bug")]))
    assert failure.check(ZeroDivisionError)  # type: ignore[attr-defined]
    monkeypatch.undo()
    assert digest(bench.state) == before
    bench.bus.emit([away(2, "after")])
    bench.store.commit()
    assert [row.id for row in bench.store.rows] == [1, 2, 3]
    assert bench.state.users["001000002"].away == "after"


def test_publish_waits_for_the_commit_and_emit_does_not() -> None:
    """emit answers when applied, publish when the log has it."""
    bench = Bench()
    bench.store.automatic = False
    emitted, published = bench.bus.emit([connect(1)]), bench.bus.publish([connect(2)])
    assert bench.result(emitted) is not None
    done: list[int] = []
    published.addCallback(done.append)
    assert done == []
    bench.store.commit()
    assert done == [2]


def test_emit_runs_the_rule_to_its_end_first() -> None:
    """A rule sees one state, not one that changes between its yields."""
    bench = Bench()
    seen: list[int] = []

    def rule() -> object:
        for number in (1, 2):
            seen.append(len(bench.state.users))
            yield connect(number)

    bench.bus.emit(rule())  # type: ignore[arg-type]
    assert seen == [0, 0]


def test_subscribers_hear_after_the_commit_and_alone() -> None:
    """One that raises or waits loses nothing of the others."""
    bench = Bench()
    bench.store.automatic = False
    heard: list[int] = []
    slow: list[int] = []
    waiting: list[Deferred[None]] = []

    def wait(record: Record) -> Deferred[None]:
        slow.append(record.stamp.id)
        waiting.append(Deferred())
        return waiting[-1]

    bench.bus.subscribe("broken", lambda record: 1 / 0)
    bench.bus.subscribe("slow", wait)
    subscription = bench.bus.subscribe("good", lambda record: heard.append(record.stamp.id))
    bench.bus.emit([connect(1), connect(2)])
    assert heard == []
    bench.store.commit()
    assert heard == [1, 2]
    assert slow == [1]
    waiting[0].callback(None)
    assert slow == [1, 2]
    bench.bus.unsubscribe(subscription)
    bench.bus.emit([connect(3)])
    bench.store.commit()
    assert heard == [1, 2]


def test_subscriber_that_lags_loses_its_own_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is bounded, and what it lost is counted."""
    monkeypatch.setattr(bus_module, "SUBSCRIPTION_LIMIT", 2)
    bench = Bench()
    subscription = bench.bus.subscribe("slow", lambda record: Deferred())
    for number in range(1, 6):
        bench.bus.emit([connect(number)])
    assert subscription.dropped == 2


def test_degraded_refuses_changes_but_not_ends() -> None:
    """While the log cannot be written only what no refusal can undo gets in."""
    from slircd.rules.user import decide_disconnect

    bench = Bench()
    bench.bus.emit([connect(1)])
    bench.store.fail("gone")
    assert bench.result(bench.bus.emit([away(1, "x")])).check(StoreUnavailable)  # type: ignore[attr-defined]
    uid = "001000001"
    assert isinstance(bench.result(bench.bus.emit(decide_disconnect(bench.state, uid, uid, "bye"))), tuple)
    bench.store.recover()
    assert bench.store.rows[-1].event_type == "user.disconnect"


class ShuffledOrder:
    """A log elsewhere: decisions come back later, in another order between nodes, and each is admitted in its turn."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Decision, object]] = []

    def submit(self, decision: Decision, deliver: object) -> None:
        self.waiting.append((decision, deliver))

    def deliver(self, index: int) -> None:
        decision, deliver = self.waiting.pop(index)
        deliver(decision)  # type: ignore[operator]


def test_order_from_elsewhere_decides_who_gets_a_nick() -> None:
    """Two decisions that were both right when they were made: the second in order is refused, for everybody alike."""
    bench = Bench()
    order = ShuffledOrder()
    bench.bus._order = order
    one, two = connect(1), connect(2)
    two = type(two)(**{name: getattr(two, name) for name in two.__struct_fields__} | {"nick": one.nick})
    first, second = bench.bus.emit([one]), bench.bus.emit([two])
    assert bench.state.users == {}
    order.deliver(1)
    order.deliver(0)
    assert isinstance(bench.result(second), tuple)
    refused = bench.result(first)
    assert refused.check(NumericError).__name__ == "NumericError"  # type: ignore[attr-defined]
    assert [row.target for row in bench.store.rows] == [two.target]


def test_replaying_twice_changes_nothing() -> None:
    """An event whose sequence was applied is ignored."""
    from slircd.state.apply import Stamp, apply

    bench = Bench()
    bench.bus.emit([connect(1)])
    before = digest(bench.state)
    row = bench.store.rows[0]
    apply(bench.state, connect(1), Stamp(row.id, row.sequence, row.timestamp, row.session_id))
    assert digest(bench.state) == before


def test_crash_leaves_users_whom_the_next_start_ends() -> None:
    """server.start ends the users of its node in replay, and their empty channels."""
    bench = Bench()
    bench.bus.emit([connect(1)])
    later = Bench(bench.store)
    assert list(later.state.users) == ["001000001"]
    start: Event = ServerStart(
        actor_uid="server", target="001", node="001", name="x.y", version="0", casemapping="ascii", channel_modes=""
    )
    later.bus.emit([start])
    assert later.state.users == {}
    assert later.state.uid_counters == {"001": 1}
