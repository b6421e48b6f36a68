"""Any moment of the log: replay, differences, blame, verification."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from slircd.admin.answers import Encoded
from slircd.admin.call import Call
from slircd.admin.errors import BadRequest
from slircd.admin.query import Moment, Query, Text
from slircd.admin.routes import route
from slircd.events.reader import LogReader
from slircd.replay.blame import Blamed
from slircd.replay.blame import blame as blame_rows
from slircd.replay.diff import StateDiff, diff_states
from slircd.replay.document import ServerSnapshot
from slircd.replay.reconstructor import Replayed, StateReconstructor
from slircd.replay.reconstructor import replay as replay_rows
from slircd.state.snapshot import digest

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


@route("GET", "/admin/replay", tag="past", returns=ServerSnapshot, problems=(404,))
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


@route("GET", "/admin/blame", tag="past", returns=list[Blamed])
async def blame(call: Call, query: BlameQuery) -> Encoded:
    """Who set each mode, ban, topic and flag of a channel, and when."""
    return Encoded(await call.past(blamed, key=call.state.fold(query.channel), at=query.at))


class Verification(msgspec.Struct, kw_only=True):
    """Whether the state that is served is the log, applied: digests of both, up to `sequence`."""

    sequence: int
    live: str
    replayed: str
    equal: bool


@route("GET", "/admin/replay/verify", tag="past")
async def verify(call: Call) -> Verification:
    """Replays the log and compares what comes out with the state that is served."""
    await call.server.bus.publish([])
    live, sequence = digest(call.state), call.state.sequence
    replayed = (await call.past(replayed_digest, sequence=sequence)).decode()
    return Verification(sequence=sequence, live=live, replayed=replayed, equal=live == replayed)


def _may_be_kept(call: Call, at: str) -> None:
    if at < call.state.timestamp:
        call.headers["cache-control"] = f"private, max-age={KEPT_S}"


# --- questions to the log -------------------------------------------------------------------------------------------


def snapshot(reader: LogReader, *, at: str, section: str | None, show_keys: bool) -> bytes:
    """The document of a moment, or one part of it."""
    document = StateReconstructor(reader).reconstruct_at(at, show_keys=show_keys)
    if section is None:
        return msgspec.json.encode(document) + b"\n"
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


def blamed(reader: LogReader, *, key: str, at: str | None) -> bytes:
    """Who set what on a channel."""
    return msgspec.json.encode(blame_rows(reader.rows(target=key, until=at))) + b"\n"


def replayed_digest(reader: LogReader, *, sequence: int) -> bytes:
    """The digest of the state that the log makes up to a sequence."""
    into = Replayed()
    replay_rows((row for row in reader.raw_rows() if row[2] <= sequence), into)
    return digest(into.state).encode()
