"""The event bus: the only way in which the state changes.

    emit(events) -> ordered -> stamped, encoded, applied -> rendered -> written -> committed -> subscribers

Rules that hold here, and why.  A decision is one unit: its events are admitted or refused together, stamped one after
the other and written in one transaction, so that no crash leaves half of it.  An event is encoded before it is
applied, so that what cannot be stored never becomes state.  If applying fails all the same (a bug), nothing of the
decision is written or shown, and the state is rebuilt from the log before anything else happens.  `emit` answers when
the decision is applied; only `publish` waits for the commit, because what clients see is held by the output gate
anyway.  Subscribers hear of events after the commit, each through a queue of its own, so that a slow or broken one
loses its own deliveries and nobody else's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import txaio
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from slircd.events.clock import LamportClock, WallClock, parse_timestamp
from slircd.events.codec import EncodeError, encode_payload
from slircd.events.interface import EventStore, StoreUnavailable
from slircd.events.row import Credential, Head, Rewrite, Row
from slircd.events.steps import begin
from slircd.events.types import Event
from slircd.state.admit import admit, consequences
from slircd.state.apply import Stamp, apply
from slircd.state.feed import feed, without_gc
from slircd.state.livedigest import LiveDigest
from slircd.state.model import ServerState

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_AHEAD_S: Final = 300
"""Seconds that the log's end may lie ahead of the clock at start."""

MAX_UNWRITTEN: Final = 10_000
"""Events that may wait for a log that cannot be written; only ends of connections get in then, and they are many."""

SUBSCRIPTION_LIMIT: Final = 10_000
"""Events that may wait for one subscriber before it loses some."""


class Record(NamedTuple):
    """An event with its place in the log."""

    event: Event
    stamp: Stamp


class ClockBehindLog(Exception):
    """The log's last timestamp lies in the future; the text says what to do."""


class Gate(Protocol):
    """What holds output back until the log has what it shows (network.outbox.OutputGate)."""

    def applied(self, sequence: int) -> None:
        """From now on output shows the state up to `sequence`."""

    def committed(self, sequence: int) -> None:
        """The log is safe up to `sequence`."""


class Order(Protocol):
    """Where decisions get their place: at once on a single node, from a shared log in a cluster."""

    def submit(self, decision: Decision, deliver: Callable[[Decision], None]) -> None:
        """Bring `decision` to its turn and then call `deliver`, for all decisions in one order."""


class Amendment(NamedTuple):
    """How the past is rewritten (retention)."""

    change: Callable[[], Sequence[Rewrite]]
    """Changes the live state, and says which rows get another payload for it."""
    amend: Callable[[Connection], None]
    """Does the rest in the same transaction, in the writer's thread; it may be called again after a failure."""


class LocalOrder:
    """The order of a single node: first come, first served."""

    def submit(self, decision: Decision, deliver: Callable[[Decision], None]) -> None:
        """Its turn is now."""
        deliver(decision)


class Decision:
    """Events that were decided together, whom to tell, and the Deferreds of those who wait."""

    __slots__ = ("amendment", "applied", "committed", "credentials", "events", "origin", "rewrites")

    def __init__(
        self,
        events: Sequence[Event],
        origin: object | None,
        credentials: Sequence[Credential] = (),
        rewrites: Sequence[Rewrite] = (),
    ) -> None:
        self.rewrites = rewrites
        self.amendment: Amendment | None = None
        self.events = events
        self.origin = origin
        self.credentials = credentials
        self.applied: defer.Deferred[tuple[Record, ...]] = defer.Deferred()
        self.committed: defer.Deferred[int] | None = None


_tuple: Final = tuple.__new__

Renderer = Callable[[Sequence[Record], Any], None]


class Subscription:
    """One subscriber: a callable that is given records in order, after their commit."""

    __slots__ = ("_busy", "_deliver", "_queue", "dropped", "name")

    def __init__(self, name: str, deliver: Callable[[Record], object]) -> None:
        self.name = name
        self.dropped = 0
        self._deliver = deliver
        self._queue: deque[Record] = deque()
        self._busy = False

    def offer(self, record: Record) -> bool:
        """Queue a record; False if the subscriber is so far behind that it was dropped."""
        if len(self._queue) >= SUBSCRIPTION_LIMIT:
            self.dropped += 1
            return False
        self._queue.append(record)
        return True

    def run(self) -> None:
        """Deliver what waits, one at a time; a Deferred that the subscriber returns is waited for."""
        if not self._busy:
            self._busy = True
            waiting = begin(self._drain())
            if waiting is not None:
                waiting.addErrback(_log_bug, self.name)

    async def _drain(self) -> None:
        try:
            while self._queue:
                record = self._queue.popleft()
                try:
                    result = self._deliver(record)
                    if isinstance(result, defer.Deferred):
                        await result
                except Exception:
                    log.failure("subscriber {name} failed at {type}", name=self.name, type=record.event.event_type)
        finally:
            self._busy = False


txaio.use_twisted()
log = txaio.make_logger()


def _log_bug(failure: object, name: str) -> None:
    log.failure("subscriber {name} stopped", failure=failure, name=name)


class EventBus(Service):
    """Orders, stamps, applies, renders and stores events; see the head of this module.

    `renderer` is given each decision's records, and its origin, as soon as they are applied.  `stall_s` is how long
    the oldest unwritten event may wait before the server counts as degraded.
    """

    def __init__(
        self,
        state: ServerState,
        store: EventStore,
        *,
        reactor: IReactorTime,
        session_id: str,
        gate: Gate,
        renderer: Renderer,
        order: Order | None = None,
        stall_s: float = 5.0,
        epoch_s: Callable[[], float] | None = None,
    ) -> None:
        """`epoch_s` gives the seconds since the epoch, for timestamps; without it the reactor's clock does that, too."""
        self.setName("bus")
        self.state = state
        self.session_id = session_id
        self.clock = LamportClock()
        self._epoch_s = epoch_s or reactor.seconds
        self.wall = WallClock(self._epoch_s)
        self._reactor = reactor
        self._store = store
        self._gate = gate
        self._renderer = renderer
        self._order = order or LocalOrder()
        self._stall_s = stall_s
        self._next_id = 1
        self.recovered_from = 0
        """The event id of the checkpoint that the start began with; 0 without one."""
        self._unwritten: deque[Record] = deque()
        self._waiting: deque[tuple[int, defer.Deferred[int]]] = deque()
        self._subscriptions: list[Subscription] = []
        self._trouble: str | None = None
        self._full = False
        self._clock_was_held = False
        self.amendments = 0
        """How often the past was rewritten since the start."""
        self.live_digest: LiveDigest | None = None
        """The digest of the state, where somebody keeps one: it is told of each event before that is applied."""
        self.on_full: Callable[[bool], None] = _ignore
        """Told that so much waits for the log that nobody may come or be heard, and when that is over."""
        store.on_commit = self._committed
        store.on_trouble = self._store_trouble

    # --- start ----------------------------------------------------------------------------------------------------

    def recover(self, *, allow_future: bool = False) -> int:
        """Bring the state up to the end of the log; to be called once, before the first event.

        Returns the number of events that were applied behind the newest checkpoint.  Raises Damaged for a damaged log,
        DamagedBase for one whose beginning cannot be read, and ClockBehindLog if the log's end lies more than five
        minutes ahead and `allow_future` is False.
        """
        head = max(self._store.head(), (start := self._store.start()).position)
        ahead = parse_timestamp(head.timestamp) - self._epoch_s() if head.timestamp else 0.0
        if ahead > MAX_AHEAD_S and not allow_future:
            raise ClockBehindLog(
                f"the log ends at {head.timestamp}, {ahead:.0f} seconds ahead of this machine's clock: set the clock, "
                "or database.allow_future_clock = true"
            )
        self.state.replace_with(start.state)
        self.recovered_from = start.position.id
        count = 0
        with without_gc():
            for rows in self._store.batches(start.position.id):
                feed(self.state, rows)
                count += len(rows)
        self._continue_after(head)
        self._gate.applied(head.sequence)
        self._gate.committed(head.sequence)
        return count

    @property
    def last_id(self) -> int:
        """The id of the newest event, committed or not."""
        return self._next_id - 1

    def _continue_after(self, head: Head) -> None:
        self._next_id = head.id + 1
        self.clock.value = head.sequence
        self.wall.last = head.timestamp

    # --- the way of an event --------------------------------------------------------------------------------------

    def emit(
        self,
        events: Iterable[Event],
        origin: object | None = None,
        credentials: Sequence[Credential] = (),
        rewrites: Sequence[Rewrite] = (),
    ) -> defer.Deferred[tuple[Record, ...]]:
        """Give a decision its place in the log; `events` is run to its end before the first is applied.

        `origin` is handed to the renderer: the command whose client is to see the lines as its answer.  `credentials`
        and `rewrites` are written in the transaction of the events.  The Deferred
        fires with the records once they are applied.  It fails with what the rule raised, NumericError if the order
        refused the decision, EncodeError if it cannot be stored, StoreUnavailable while the server is degraded.
        """
        return self._submit(events, origin, credentials, rewrites).applied

    def publish(self, events: Iterable[Event], origin: object | None = None) -> defer.Deferred[int]:
        """As `emit`, but the Deferred fires when the decision is committed, with its last sequence."""
        committed: defer.Deferred[int] = defer.Deferred()
        decision = self._submit(events, origin, (), (), committed)
        decision.applied.addErrback(committed.errback)
        return committed

    def _submit(
        self,
        events: Iterable[Event],
        origin: object | None,
        credentials: Sequence[Credential] = (),
        rewrites: Sequence[Rewrite] = (),
        committed: defer.Deferred[int] | None = None,
    ) -> Decision:
        decision = Decision((), origin, credentials, rewrites)
        decision.committed = committed
        try:
            decision.events = tuple(events)
            if self.degraded and not _must_happen(decision.events):
                raise StoreUnavailable
        except Exception as refused:
            decision.applied.errback(refused)
            return decision
        self._order.submit(decision, self._ordered)
        return decision

    def _ordered(self, decision: Decision) -> None:
        try:
            records, rows = self._apply(decision)
        except Exception as refused:
            decision.applied.errback(refused)
            return
        if rows:
            self._unwritten.extend(records)
            self._gate.applied(records[-1].stamp.sequence)
            if decision.amendment is None:
                self._store.append(rows, decision.credentials, decision.rewrites)
            else:
                rewrites = decision.amendment.change()
                self.amendments += 1
                self._store.append(rows, decision.credentials, rewrites, decision.amendment.amend)
            if not self._full and len(self._unwritten) > MAX_UNWRITTEN and self.degraded:
                self._set_full(True)
            self._renderer(records, decision.origin)
        if decision.committed is not None:
            self._when_committed(records, decision.committed)
        decision.applied.callback(records)

    def _apply(self, decision: Decision) -> tuple[tuple[Record, ...], list[Row]]:
        state, events, live = self.state, decision.events, self.live_digest
        for index, event in enumerate(events):
            admit(state, event, events[:index])
        # What cannot be stored refuses all of the decision; with one event, nothing is applied before it is encoded.
        encoded = {id(event): encode_payload(event) for event in events} if len(events) > 1 else {}
        timestamp = self.wall.stamp()
        if self.wall.holding is not self._clock_was_held:
            self._tell_of_the_clock()
        records: list[Record] = []
        rows: list[Row] = []
        try:
            for event in events:
                entailed = consequences(state, event)
                payloads = [encoded.get(id(each)) or encode_payload(each) for each in entailed]
                for each, payload in zip(entailed, payloads, strict=True):
                    record, row = self._stamp(each, payload, timestamp)
                    records.append(record)
                    rows.append(row)
                    if live is not None:
                        live.touch(each)
                    apply(state, each, record.stamp)
        except Exception:
            if records:
                log.failure("applying {events} failed; the state is rebuilt from the log", events=events)
                self._rebuild()
            raise
        return tuple(records), rows

    def _tell_of_the_clock(self) -> None:
        self._clock_was_held = held = self.wall.holding
        if held:
            behind_s = parse_timestamp(self.wall.last) - self._epoch_s()
            log.warn(
                "the clock was set back: it is {behind_s:.0f} s behind the log, whose time stands still until it is not",
                behind_s=behind_s,
            )
        else:
            log.info("the clock has caught up with the log, whose time goes on")

    def _stamp(self, event: Event, payload: str, timestamp: str) -> tuple[Record, Row]:
        session_id = self.session_id
        row_id, sequence = self._next_id, self.clock.tick()
        self._next_id += 1
        stamp = Stamp(row_id, sequence, timestamp, session_id)
        columns = (row_id, timestamp, sequence, event.event_type, event.actor_uid, event.target, payload, session_id)
        # Past the named tuples' own constructors, which cost more than all the rest of this function.
        return _tuple(Record, (event, stamp)), _tuple(Row, columns)

    def _rebuild(self) -> None:
        """Forget a decision that failed half-way: the log, and what is on its way into it, is the truth."""
        fresh, position, _ = self._store.start()
        for rows in self._store.batches(position.id):
            feed(fresh, rows)
        for record in self._unwritten:
            apply(fresh, record.event, record.stamp)
        self.state.replace_with(fresh)
        if self.live_digest is not None:
            self.live_digest.forget()
        last = self._unwritten[-1].stamp if self._unwritten else max(self._store.head(), position)
        self._continue_after(Head(last.id, last.sequence, last.timestamp))

    # --- commit ---------------------------------------------------------------------------------------------------

    def _committed(self, last_id: int, rows: int, seconds: float) -> None:
        done: list[Record] = []
        while self._unwritten and self._unwritten[0].stamp.id <= last_id:
            done.append(self._unwritten.popleft())
        if not done:
            return
        sequence = done[-1].stamp.sequence
        self._gate.committed(sequence)
        if self._full and len(self._unwritten) <= MAX_UNWRITTEN // 2:
            self._set_full(False)
        while self._waiting and self._waiting[0][0] <= sequence:
            own_sequence, waiting = self._waiting.popleft()
            waiting.callback(own_sequence)
        for subscription in self._subscriptions:
            for record in done:
                subscription.offer(record)
            subscription.run()

    def _when_committed(self, records: tuple[Record, ...], waiting: defer.Deferred[int]) -> None:
        sequence = records[-1].stamp.sequence if records else self.clock.value
        if not self._unwritten or sequence < self._unwritten[0].stamp.sequence:
            waiting.callback(sequence)
        else:
            self._waiting.append((sequence, waiting))

    def amend(self, event: Event, amendment: Amendment) -> defer.Deferred[int]:
        """Rewrite the past: the live state by `amendment.change`, and with `event`, in one transaction, the log.

        Whatever was applied before stands before that transaction in the log, and what comes later behind it, so the
        state is what the log says at every moment, whenever the server ends.  Fires when it is committed; fails with
        StoreUnavailable while the server is degraded.
        """
        decision = Decision((event,), None)
        decision.amendment = amendment
        committed: defer.Deferred[int] = defer.Deferred()
        decision.committed = committed
        decision.applied.addErrback(committed.errback)
        if self.degraded:
            decision.applied.errback(StoreUnavailable())
        else:
            self._order.submit(decision, self._ordered)
        return committed

    @property
    def unwritten(self) -> Sequence[Record]:
        """What is applied and not committed yet."""
        return tuple(self._unwritten)

    def settled(self) -> defer.Deferred[int]:
        """Fires when all that is applied now is committed, and so in reach of queries."""
        return self.publish(())

    def subscribe(self, name: str, deliver: Callable[[Record], object]) -> Subscription:
        """Have `deliver` called with every record after its commit; `unsubscribe` ends it."""
        subscription = Subscription(name, deliver)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing more to `subscription`."""
        self._subscriptions.remove(subscription)

    # --- trouble --------------------------------------------------------------------------------------------------

    @property
    def degraded(self) -> bool:
        """Whether the log cannot be written, or is so slow that changes are refused."""
        if self._trouble is not None:
            return True
        since = self._store.oldest_pending_since
        return since is not None and self._reactor.seconds() - since > self._stall_s

    def _set_full(self, full: bool) -> None:
        self._full = full
        if full:
            log.error("{count} events wait for the log: nobody is admitted or heard", count=len(self._unwritten))
        else:
            log.info("the log has caught up: clients are admitted and heard again")
        self.on_full(full)

    def _store_trouble(self, text: str | None) -> None:
        if text is None and self._trouble is not None:
            log.info("the event log can be written again")
        elif text is not None:
            log.error("the event log cannot be written, changes are refused: {text}", text=text)
        self._trouble = text

    @property
    def pending(self) -> int:
        """How many events are not committed yet."""
        return len(self._unwritten)

    def unwritten_names(self) -> set[str]:
        """UIDs and channel keys with an event that is not committed yet; empty unless something is on its way."""
        names: set[str] = set()
        for event, _ in self._unwritten:
            names.update(name for name in (event.actor_uid, event.target) if name is not None)
        return names


def _ignore(full: bool) -> None:
    """An `on_full` of nobody."""


def _must_happen(events: Sequence[Event]) -> bool:
    """Whether no refusal could undo a decision: a client that is gone is gone, with all that its end brings with it."""
    return not events or events[0].event_type in ("user.disconnect", "user.detach", "channel.destroy", "server.stop")


__all__ = [
    "Amendment",
    "Decision",
    "EncodeError",
    "EventBus",
    "Gate",
    "LocalOrder",
    "Order",
    "Record",
    "StoreUnavailable",
]
