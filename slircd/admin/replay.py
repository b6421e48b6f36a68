"""Any moment of the log: replay, differences, blame, verification."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from slircd.admin.answers import Encoded
from slircd.admin.call import Call
from slircd.admin.errors import BadRequest, HTTPError
from slircd.admin.query import Moment, Query, Text
from slircd.admin.routes import route
from slircd.events.reader import LogReader
from slircd.housekeeping import WorkerFailed
from slircd.replay.blame import Blamed, blame_channel
from slircd.replay.diff import StateDiff, diff_states
from slircd.replay.document import AccountView, BanView, ChannelView, Position, UserView
from slircd.replay.reconstructor import StateReconstructor

KEPT_S = 60
"""How long a browser may keep what was replayed of the past; not longer, because a log can be redacted."""


class ReplayQuery(Query, frozen=True, kw_only=True):
    """Which moment."""

    at: Annotated[Moment | None, Meta(description="The moment; now if it is not given, or in the future")] = None
    section: Annotated[
        Literal["users", "channels", "accounts", "bans"] | None,
        Meta(description="Only this part of the document"),
    ] = None
    keys: Annotated[
        Literal["mask", "show"], Meta(description="Whether keys of channels are shown; needs the role admin")
    ] = "mask"


class ReplayView(msgspec.Struct, kw_only=True):
    """The server at a moment; with `section`, only that one of the four lists."""

    version: int
    at: str
    position: Position
    users: list[UserView] | msgspec.UnsetType = msgspec.UNSET
    channels: list[ChannelView] | msgspec.UnsetType = msgspec.UNSET
    accounts: list[AccountView] | msgspec.UnsetType = msgspec.UNSET
    bans: list[BanView] | msgspec.UnsetType = msgspec.UNSET


@route("GET", "/admin/replay", tag="past", returns=ReplayView, problems=(404,))
async def replay(call: Call, query: ReplayQuery) -> Encoded:
    """The server at a moment: the document of slircd-replay.  With `section` only that part, and the head."""
    call.require_admin_for_keys(query.keys)
    at = query.at or call.now
    _may_be_kept(call, at)
    return Encoded(await call.past(snapshot, at=at, section=query.section, show_keys=query.keys == "show"))


class DiffQuery(Query, frozen=True, kw_only=True):
    """Which two moments."""

    since: Annotated[Moment, Meta(description="The earlier moment")] = field(name="from")
    until: Annotated[Moment | None, Meta(description="The later moment; now if it is not given")] = field(
        name="to", default=None
    )


@route("GET", "/admin/diff", tag="past", returns=StateDiff, problems=(404,))
async def diff(call: Call, query: DiffQuery) -> Encoded:
    """What differs between two moments."""
    until = query.until or call.now
    if until < query.since:
        raise BadRequest("to", until, f"a time after {query.since}")
    _may_be_kept(call, until)
    return Encoded(await call.past(difference, since=query.since, until=until))


class BlameQuery(Query, frozen=True, kw_only=True):
    """Which channel, and when."""

    channel: Annotated[Text, Meta(description="Name of the channel")]
    at: Annotated[Moment | None, Meta(description="The moment; the end of the log if it is not given")] = None


@route("GET", "/admin/blame", tag="past", returns=list[Blamed], problems=(404,))
async def blame(call: Call, query: BlameQuery) -> Encoded:
    """Who set each mode, ban, topic and flag of a channel, and when."""
    return Encoded(await call.past(blamed, name=query.channel, at=query.at))


class Verification(msgspec.Struct, kw_only=True):
    """Whether the state that is served is the log, applied: digests of both, at an event."""

    event_id: int
    sequence: int
    live: str
    replayed: str
    events: int
    """How many events were replayed for it."""
    equal: bool


class VerifyQuery(Query, frozen=True, kw_only=True):
    """How much is replayed."""

    begin: Annotated[
        Literal["log", "checkpoint"],
        Meta(
            description="Where the replay begins: with the log, or, which takes less time, with its newest checkpoint"
        ),
    ] = field(name="from", default="log")


@route("GET", "/admin/replay/verify", tag="past", problems=(500, 503))
async def verify(call: Call, query: VerifyQuery) -> Verification:
    """Has a process replay the log, and compares what comes out with the state that is served."""
    housekeeping = call.server.housekeeping
    if housekeeping is None or not housekeeping.running:
        raise HTTPError(503, "The server is starting or stopping")
    try:
        found = await housekeeping.verify(whole=query.begin == "log")
    except WorkerFailed as error:
        raise HTTPError(500, f"The log cannot be replayed: {error}") from None
    return Verification(
        event_id=found.event_id,
        sequence=found.sequence,
        live=found.live,
        replayed=found.replayed,
        events=found.events,
        equal=found.equal,
    )


def _may_be_kept(call: Call, at: str) -> None:
    if at < call.state.timestamp:
        call.headers["cache-control"] = f"private, max-age={KEPT_S}"


# --- questions to the log -------------------------------------------------------------------------------------------


def snapshot(reader: LogReader, *, at: str, section: str | None, show_keys: bool) -> bytes:
    """The document of a moment, or one part of it."""
    reconstructor = StateReconstructor(reader)
    if section is None:
        return reconstructor.encoded_at(at, show_keys=show_keys) + b"\n"
    document = reconstructor.reconstruct_at(at, show_keys=show_keys, sections=(section,))
    part = {
        "version": document.version,
        "at": document.at,
        "position": document.position,
        section: getattr(document, section),
    }
    return msgspec.json.encode(part) + b"\n"


def difference(reader: LogReader, *, since: str, until: str) -> bytes:
    """What differs between two moments."""
    before = StateReconstructor(reader).reconstruct_at(since)
    after = StateReconstructor(reader).reconstruct_at(until)
    return msgspec.json.encode(diff_states(before, after)) + b"\n"


def blamed(reader: LogReader, *, name: str, at: str | None) -> bytes:
    """Who set what on a channel."""
    return msgspec.json.encode(blame_channel(reader, name, at)) + b"\n"
