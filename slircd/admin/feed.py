"""The feed: events behind a cursor, from the log and then live, for WebSocket, server-sent events and webhooks.

A follower is a cursor, the sequence of the last event that it was given, and nothing else.  The newest committed events
are kept in memory for all followers together; whoever is further behind reads the log, a page at a time.  So a follower
can be as slow as it likes: it costs no memory, holds up nobody, and misses nothing.  The seam between log and memory is
the cursor itself, which only ever rises, so nothing is lost there and nothing comes twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import txaio
from twisted.internet.defer import Deferred

from slircd.events.codec import encode_payload
from slircd.events.row import Row
from slircd.replay.public import told_event

if TYPE_CHECKING:
    from slircd.admin.past import Past
    from slircd.events.bus import EventBus, Record
    from slircd.events.reader import LogReader

txaio.use_twisted()
log = txaio.make_logger()

KEPT: Final = 2_000
"""Events in memory."""

PAGE: Final = 500
"""Events of one page of the log."""

TURN: Final = 200
"""Events that are looked at in one turn of the reactor."""


class Filter(NamedTuple):
    """Which events; None is all."""

    types: Collection[str] | None = None
    target: str | None = None
    actor: str | None = None
    messages: bool = False
    """Whether `message.*` may be among them; they are never otherwise."""

    def takes(self, row: Row) -> bool:
        """Whether an event is wanted."""
        return (
            (self.messages or not row.event_type.startswith("message."))
            and (self.types is None or row.event_type in self.types)
            and (self.target is None or row.target == self.target)
            and (self.actor is None or row.actor_uid == self.actor)
        )


class Told(NamedTuple):
    """An event as a follower gets it: its sequence, and its document as JSON."""

    sequence: int
    event_type: str
    document: bytes


class _Kept:
    """An event in memory; its row and its document are made when the first follower wants them."""

    __slots__ = ("_document", "_event", "_row", "_stamp")

    def __init__(self, record: Record) -> None:
        self._event, self._stamp = record
        self._row: Row | None = None
        self._document: bytes | None = None

    @property
    def id(self) -> int:
        """Its id."""
        return self._stamp.id

    @property
    def sequence(self) -> int:
        """Its sequence."""
        return self._stamp.sequence

    @property
    def row(self) -> Row:
        """What the log has of it."""
        if self._row is None:
            event, stamp = self._event, self._stamp
            self._row = Row(
                stamp.id,
                stamp.timestamp,
                stamp.sequence,
                event.event_type,
                event.actor_uid,
                event.target,
                encode_payload(event),
                stamp.session_id,
            )
        return self._row

    def told(self) -> Told:
        if self._document is None:
            # Nobody is given a message who may not read its text.
            self._document = msgspec.json.encode(told_event(self.row, texts=True))
        return Told(self.row.sequence, self.row.event_type, self._document)


class Feed:
    """The one subscriber of the bus for all followers."""

    def __init__(self, bus: EventBus, past: Past, reactor: Any, committed: Callable[[], int]) -> None:
        """`committed` gives the sequence up to which the log is committed."""
        self.followers = 0
        """How many there are."""
        self.behind = 0
        """How often a follower had to read the log, because it was further behind than memory goes."""
        self._past = past
        self._reactor = reactor
        self._kept: deque[_Kept] = deque(maxlen=KEPT)
        self._from: int | None = None
        """Every committed event with a higher sequence is in memory; None before the first."""
        self._committed_sequence = committed
        self._waiting: set[Deferred[None]] = set()
        bus.subscribe("feed", self._committed)

    @property
    def head(self) -> int:
        """The sequence of the newest committed event that the feed knows of."""
        return self._kept[-1].sequence if self._kept else self._committed_sequence()

    def follow(self, wanted: Filter, after: int | None = None) -> Follower:
        """A follower of what comes after a sequence; None: of what comes from now on."""
        return Follower(self, wanted, self.head if after is None else min(after, self.head))

    def _committed(self, record: Record) -> None:
        event = _Kept(record)
        if self._kept and self._kept[-1].id + 1 != event.id:  # the bus dropped some: they are in the log
            self._kept.clear()
            self._from = None
        if self._from is None:
            self._from = event.sequence - 1
        if len(self._kept) == KEPT:
            self._from = self._kept[0].sequence
        self._kept.append(event)
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, set()
        for each in waiting:
            self._reactor.callLater(0, _wake, each)

    def in_memory(self, after: int) -> list[_Kept] | None:
        """Some events behind a sequence, oldest first; None if memory does not reach back so far."""
        if after >= self.head:
            return []
        if self._from is None or after < self._from:
            return None
        kept = self._kept
        index = _first_after(kept, after)
        return [kept[position] for position in range(index, min(index + TURN, len(kept)))]

    async def in_log(self, after: int, wanted: Filter) -> tuple[int, list[Told]]:
        """A page of the log behind a sequence: how far it went, and what is wanted of it."""
        self.behind += 1
        types = sorted(wanted.types) if wanted.types is not None else None
        body = await self._past.ask(page, after=after, wanted=[types, wanted.target, wanted.actor, wanted.messages])
        reached, found = msgspec.json.decode(body, type=tuple[int, list[tuple[int, str, msgspec.Raw]]])
        return reached, [Told(sequence, kind, bytes(document)) for sequence, kind, document in found]

    async def changed(self, timeout_s: float) -> None:
        """Wait for the next commit, or so many seconds."""
        waiting: Deferred[None] = Deferred()
        self._waiting.add(waiting)
        timer = self._reactor.callLater(timeout_s, _wake, waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            if timer.active():
                timer.cancel()

    async def turn(self) -> None:
        """Let the reactor do something else."""
        waiting: Deferred[None] = Deferred()
        self._reactor.callLater(0, _wake, waiting)
        await waiting


def _wake(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)


def _first_after(kept: deque[_Kept], after: int) -> int:
    low, high = 0, len(kept)
    while low < high:
        middle = (low + high) // 2
        if kept[middle].sequence <= after:
            low = middle + 1
        else:
            high = middle
    return low


class Follower:
    """A cursor on the feed; `cursor` is the sequence up to which it has been given everything that it wants."""

    def __init__(self, feed: Feed, wanted: Filter, after: int) -> None:
        self.cursor = after
        self._feed = feed
        self._wanted = wanted
        self._closed = False
        feed.followers += 1

    async def take(self, timeout_s: float) -> list[Told]:
        """The next events that are wanted, a few hundred at most; none if there were none for so many seconds."""
        while True:
            kept = self._feed.in_memory(self.cursor)
            if kept is None:
                self.cursor, found = await self._feed.in_log(self.cursor, self._wanted)
            elif kept:
                self.cursor = kept[-1].sequence
                found = [each.told() for each in kept if self._wanted.takes(each.row)]
            else:
                before = self.cursor
                await self._feed.changed(timeout_s)
                if self._feed.in_memory(before) == []:
                    return []
                continue
            if found:
                return found
            await self._feed.turn()

    def close(self) -> None:
        """Follow no longer."""
        if not self._closed:
            self._closed = True
            self._feed.followers -= 1


# --- questions to the log -------------------------------------------------------------------------------------------


def page(reader: LogReader, *, after: int, wanted: list[Any]) -> bytes:
    """How far a page behind a sequence goes, and for each event its sequence, type and document."""
    kept = Filter(*wanted)
    # First how far the log goes: what is written from now on is for the next page.
    head = reader.head()
    selection: dict[str, Any] = {"types": kept.types, "target": kept.target, "actor": kept.actor}
    found = reader.rows(after_id=id_at(reader, after), before_id=head.id + 1, limit=PAGE, **selection)
    rows = list(islice(found, PAGE))
    reached = rows[-1].sequence if len(rows) == PAGE else max(head.sequence, after)
    told = [(row.sequence, row.event_type, told_event(row, texts=True)) for row in rows if kept.takes(row)]
    return msgspec.json.encode((reached, told))


def id_at(reader: LogReader, sequence: int) -> int:
    """The id of the newest event that has at most this sequence; both rise together, so it is found by halving."""
    low, high = reader.first().id - 1, reader.head().id
    while low < high:
        middle = (low + high + 1) // 2
        row = next(reader.rows(after_id=middle - 1, limit=1), None)
        if row is not None and row.sequence <= sequence:
            low = max(middle, row.id)
        else:
            high = middle - 1
    return max(low, 0)
