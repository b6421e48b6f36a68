"""What of an erasure only the owner of the log can do: the running server, or a command that holds its lock.

An erasure has three steps here, and the rest elsewhere (retention.redact):

begin    whoever is meant is disconnected, and the account dropped, by ordinary events;
finish   at one moment the live state is rewritten, and in one transaction with it all of the log that the state of now
         comes from: the base, events of topics, lists, bans, services, and whatever was written since `begin`;
record   a server.prune or server.redact is written, which says how much and by whom, and never what.

Between them and behind them the work goes on beside the server, on events whose people are gone from the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from slircd.events import checkpoints, runs
from slircd.events import types as ev
from slircd.events.bus import Amendment, EventBus, Record
from slircd.events.codec import encode_payload
from slircd.events.row import Credential, Rewrite
from slircd.events.schema import CHECKPOINTS, CONVERSATIONS, CREDENTIALS
from slircd.retention.erasure import Erasure, Plan, Request
from slircd.retention.live import LiveRewrite
from slircd.retention.rewrite import Rewriter, rewrite_event
from slircd.rules.user import disconnect_event
from slircd.state.model import ServerState, User

GOODBYE: Final = "Your data on this network is erased"
MOST_BETWEEN: Final = 100_000
"""Events between `begin` and `finish`; they are kept in memory, so there is an end."""


class CannotErase(Exception):
    """An erasure is refused; the text says why."""


class Base(msgspec.Struct):
    """The rewritten base."""

    event_id: int
    version: int
    digest: str
    checksum: str
    state: bytes


class Finish(msgspec.Struct, kw_only=True):
    """What `finish` is to do."""

    run: int
    plan: Plan
    actor: str
    what: str
    rewrites: list[tuple[int, str, str | None, str | None]]
    """Id, payload, actor and target of the events up to plan.until that the state of now comes from."""
    base: Base | None
    events: int
    """How many events up to plan.until are rewritten in all."""


class Keeper:
    """Rewrites a log that `bus` writes.

    `reactor` paces what would take long, None for a command that may; `forget_account` and `erased` are told what the
    server around the state has to forget.
    """

    def __init__(
        self,
        bus: EventBus,
        reactor: Any = None,
        *,
        forget_account: Callable[[str], None] = lambda key: None,
        erased: Callable[[Erasure], None] = lambda erasure: None,
    ) -> None:
        self._bus = bus
        self._reactor = reactor
        self._forget_account = forget_account
        self._erased = erased
        self._between: list[Record] = []
        self._subscription: Any = None

    # --- begin ----------------------------------------------------------------------------------------------------

    async def begin(self, request: Request, actor: str) -> int:
        """Have whoever is meant go; the id of the last event of that.  Raises CannotErase, StoreUnavailable."""
        state = self._bus.state
        key = state.fold(request.account)
        owner = state.owner_of_nick(request.nick) if request.nick else None
        if owner is not None:
            raise CannotErase(f"the nick {request.nick} is registered to an account: erase the account {owner.name}")
        account = state.accounts.get(key) if key else None
        events: list[ev.Event] = [disconnect_event(user, actor, GOODBYE) for user in self._meant(request)]
        credentials: list[Credential] = []
        if key:
            credentials.append(Credential(key, "", None))
        if account is not None:
            events.append(ev.NickDrop(actor_uid=actor, target=key, nick="", account=account.name))
        self._collect(True)
        if events:
            await self._bus.emit(events, None, credentials)
        if key:
            self._forget_account(key)
        until = self._bus.last_id
        await self._bus.settled()
        return until

    def _meant(self, request: Request) -> Iterator[User]:
        state = self._bus.state
        account, nick, host = state.fold(request.account), state.fold(request.nick), request.host.lower()
        for user in state.users.values():
            if not user.is_service and (
                (account and user.account is not None and state.fold(user.account) == account)
                or (nick and state.fold(user.nick) == nick)
                or (host and host in (user.host.lower(), user.real_host.lower(), user.ip.lower()))
            ):
                yield user

    def _collect(self, on: bool) -> None:
        if self._subscription is not None:
            self._bus.unsubscribe(self._subscription)
            self._subscription = None
        self._between = []
        if on:
            self._subscription = self._bus.subscribe("retention", self._saw)

    def _saw(self, record: Record) -> None:
        if len(self._between) > MOST_BETWEEN:
            self._collect(False)
        else:
            self._between.append(record)

    # --- finish ---------------------------------------------------------------------------------------------------

    async def finish(self, finish: Finish) -> int:
        """Rewrite the state and what it comes from; how many events were rewritten in all.

        Raises CannotErase, StoreUnavailable; then nothing was rewritten.
        """
        bus, state, plan = self._bus, self._bus.state, finish.plan
        if self._subscription is None:
            raise CannotErase("too much happened meanwhile, or the server was started anew: ask again")
        erasure = Erasure(plan)
        live = LiveRewrite(state, erasure)
        for _ in live.look():
            if self._reactor is not None:
                await deferLater(self._reactor, 0)
        # From here to the amendment is one turn.
        left = list(_still_there(state, plan))
        if left:
            await bus.emit([disconnect_event(user, finish.actor, GOODBYE) for user in left])
        between: list[Rewrite] = []

        def change() -> Sequence[Rewrite]:
            records = [*self._between, *bus.unwritten]
            for record in records:
                live.saw(record.event)
            live.apply(bus.live_digest)
            between[:] = _rewrites(records, plan.until, erasure)
            self._erased(erasure)
            given = [
                Rewrite(event_id, payload, (actor, target)) for event_id, payload, actor, target in finish.rewrites
            ]
            return [*given, *between]

        records = [*self._between, *bus.unwritten]
        events = finish.events + len(_rewrites(records, plan.until, erasure))
        event = ev.ServerRedact(
            actor_uid=finish.actor, target=None, nick="", what=finish.what, events=events, checkpoints=len(plan.stale)
        )
        await bus.amend(event, Amendment(change, lambda connection: _amend(connection, finish)))
        self._collect(False)
        return events

    # --- record ---------------------------------------------------------------------------------------------------

    def record(self, event: ev.Event) -> Deferred[int]:
        """Write an event of retention."""
        return self._bus.publish([event])


def _still_there(state: ServerState, plan: Plan) -> Iterator[User]:
    """Who has to go: somebody who was logged in once, who has a name that is erased, or who has come back meanwhile."""
    for user in state.users.values():
        hosts = (user.host.lower(), user.real_host.lower(), user.ip.lower())
        is_meant = user.uid in plan.uids or state.fold(user.nick) in plan.names
        if not user.is_service and (is_meant or any(host in plan.hosts for host in hosts)):
            yield user


def _rewrites(records: Sequence[Record], until: int, rewriter: Rewriter) -> list[Rewrite]:
    """What has to be rewritten of events behind `until`."""
    found: dict[int, Rewrite] = {}
    for record in records:
        if record.stamp.id > until:
            event = rewrite_event(record.event, rewriter)
            if event is not record.event:
                found[record.stamp.id] = Rewrite(
                    record.stamp.id, encode_payload(event), (event.actor_uid, event.target)
                )
    return list(found.values())


def _amend(connection: Connection, finish: Finish) -> None:
    """What else changes in the transaction: base, checkpoints, credentials, conversations; the plan for the rest."""
    base = finish.base
    if base is not None:
        mine = (CHECKPOINTS.c.event_id == base.event_id) & (CHECKPOINTS.c.kind == checkpoints.BASE)
        values = {"version": base.version, "digest": base.digest, "checksum": base.checksum, "state": base.state}
        connection.execute(update(CHECKPOINTS).where(mine).values(values))
    others = CHECKPOINTS.c.kind != checkpoints.BASE
    newer = CHECKPOINTS.c.event_id > finish.plan.until
    connection.execute(delete(CHECKPOINTS).where(others & (newer | CHECKPOINTS.c.event_id.in_(finish.plan.stale))))
    names = finish.plan.names
    connection.execute(delete(CREDENTIALS).where(CREDENTIALS.c.account.in_(list(names))))
    _rename_conversations(connection, names)
    runs.keep_plan(connection, finish.run, msgspec.msgpack.encode(finish.plan))


def _rename_conversations(connection: Connection, names: dict[str, str]) -> None:
    table = CONVERSATIONS
    either = table.c.side.in_(list(names)) | table.c.other.in_(list(names))
    for side, other, last_id in connection.execute(select(table).where(either)).all():
        connection.execute(delete(table).where(table.c.side == side, table.c.other == other))
        pair = {"side": names.get(side, side), "other": names.get(other, other)}
        there = (table.c.side == pair["side"]) & (table.c.other == pair["other"])
        known = connection.execute(select(table.c.last_id).where(there)).scalar()
        if known is None:
            connection.execute(insert(table).values(**pair, last_id=last_id))
        else:
            connection.execute(update(table).where(there).values(last_id=max(known, last_id)))
