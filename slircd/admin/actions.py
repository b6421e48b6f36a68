"""What admins do: the same decisions as operators' commands, by the actor `admin:NAME`.

What was asked is an event, too (`admin.action`), in one decision with the events that do it: either both are in the log
or none.  An action is answered when the log has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from slircd.admin.call import Call
from slircd.admin.errors import BadRequest, HTTPError
from slircd.admin.query import Body
from slircd.admin.routes import route
from slircd.events.clock import format_timestamp, parse_moment
from slircd.events.types import AdminAction, Event
from slircd.network.announce import announce as tell_everybody
from slircd.network.announce import wallops as tell_listeners
from slircd.rules.channel import decide_kick, decide_sajoin, decide_sapart, decide_topic
from slircd.rules.lookup import channel_named
from slircd.rules.modes import ModeLimits, decide_channel_modes
from slircd.rules.netbans import (
    KINDS,
    NewLine,
    decide_filter,
    decide_line,
    decide_unfilter,
    decide_unline,
    line_mask,
    parse_duration,
)
from slircd.rules.oper import decide_chghost, decide_kill, decide_sanick
from slircd.rules.restore import Restorer
from slircd.security.filters import check_pattern
from slircd.services.restoring import CannotRestore, restore_channel
from slircd.state.describe import tell
from slircd.wire.message import truncate_utf8
from slircd.wire.modes import CHANNEL_MODES, Change, parse_changes

MAX_REASON: Final = 200

# Patterns end with (?![\s\S]), not with $, which would let a last LF pass.
Word = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x20,]+(?![\s\S])")]
"""One word of IRC: no spaces, no commas, no control characters."""

Words = Annotated[str, Meta(max_length=390, pattern=r"^[^\x00-\x1f]*(?![\s\S])")]
"""A text that fits into one line."""

Said = Annotated[str, Meta(min_length=1, max_length=390, pattern=r"^[^\x00-\x1f]+(?![\s\S])")]


class RecordedEvent(msgspec.Struct, kw_only=True):
    """An event that the action caused."""

    id: int
    sequence: int
    event_type: str
    target: str | None
    text: str | None


class ActionDone(msgspec.Struct, kw_only=True):
    """What an action did: the events that are in the log now, and what was refused of it, in words."""

    events: list[RecordedEvent]
    refused: list[str] = []
    told: int | None = None
    """How many connections heard it, of an announcement."""


async def record(
    call: Call, action: str, target: str | None, arguments: dict[str, str], decision: Iterable[Event]
) -> ActionDone:
    """Emit a decision, with what was asked; returns when it is committed."""
    caller = call.known_caller
    asked = AdminAction(
        actor_uid=call.actor,
        target=target,
        nick=caller.name,
        action=action,
        arguments={name: value for name, value in arguments.items() if value},
    )
    bus = call.server.bus
    records = await bus.emit([asked, *decision])
    await bus.publish([])
    return ActionDone(
        events=[
            RecordedEvent(
                id=stamp.id,
                sequence=stamp.sequence,
                event_type=event.event_type,
                target=event.target,
                text=tell(event),
            )
            for event, stamp in records
        ]
    )


def action(name: str) -> Callable[[Any], Any]:
    """The decorated function is the action of this name."""
    return route("POST", f"/admin/actions/{name}", tag="actions", role="admin", problems=(404, 409, 503))


# --- users ----------------------------------------------------------------------------------------------------------


class KillBody(Body, frozen=True, kw_only=True):
    """Who, and why."""

    nick: Word
    reason: Words = "No reason given"


@action("kill")
async def kill(call: Call, body: KillBody) -> ActionDone:
    """Disconnect a user."""
    reason = truncate_utf8(body.reason or "No reason given", call.server.config.limits.quitlen - 80)
    decision = decide_kill(call.state, call.actor, body.nick, reason)
    return await record(call, "kill", call.uid_of(body.nick), {"nick": body.nick, "reason": reason}, decision)


class NickBody(Body, frozen=True, kw_only=True):
    """Who, and the nick that it gets."""

    nick: Word
    new_nick: Word


@action("sanick")
async def sanick(call: Call, body: NickBody) -> ActionDone:
    """Give a user another nick."""
    limit = call.server.config.limits.nicklen
    decision = decide_sanick(call.state, call.actor, body.nick, body.new_nick, limit)
    arguments = {"nick": body.nick, "new_nick": body.new_nick}
    return await record(call, "sanick", call.uid_of(body.nick), arguments, decision)


class HostBody(Body, frozen=True, kw_only=True):
    """Who, and what people see of it from now on."""

    nick: Word
    host: Word
    username: Word | None = None


@action("chghost")
async def chghost(call: Call, body: HostBody) -> ActionDone:
    """Give a user another host and, if it is given, another user name."""
    limit = call.server.config.limits.userlen
    decision = decide_chghost(call.state, call.actor, body.nick, body.username, body.host, limit)
    arguments = {"nick": body.nick, "host": body.host, "username": body.username or ""}
    return await record(call, "chghost", call.uid_of(body.nick), arguments, decision)


# --- channels -------------------------------------------------------------------------------------------------------


class KickBody(Body, frozen=True, kw_only=True):
    """Who leaves which channel, and why."""

    channel: Word
    nick: Word
    reason: Words = ""


@action("kick")
async def kick(call: Call, body: KickBody) -> ActionDone:
    """Remove a member from a channel."""
    reason = truncate_utf8(body.reason or call.known_caller.name, call.server.config.limits.kicklen)
    decision = decide_kick(call.state, call.actor, body.channel, body.nick, reason, override=True)
    arguments = {"channel": body.channel, "nick": body.nick, "reason": body.reason}
    return await record(call, "kick", call.state.fold(body.channel), arguments, decision)


class JoinBody(Body, frozen=True, kw_only=True):
    """Who, and which channel."""

    nick: Word
    channel: Word


@action("sajoin")
async def sajoin(call: Call, body: JoinBody) -> ActionDone:
    """Put a user on a channel, whatever the channel says."""
    limit = call.server.config.limits.channellen
    decision = decide_sajoin(call.state, call.actor, body.nick, body.channel, limit)
    arguments = {"nick": body.nick, "channel": body.channel}
    return await record(call, "sajoin", call.state.fold(body.channel), arguments, decision)


class PartBody(Body, frozen=True, kw_only=True):
    """Who leaves which channel, and what is said of it."""

    nick: Word
    channel: Word
    reason: Words = ""


@action("sapart")
async def sapart(call: Call, body: PartBody) -> ActionDone:
    """Make a user leave a channel."""
    reason = truncate_utf8(body.reason, call.server.config.limits.quitlen)
    decision = decide_sapart(call.state, call.actor, body.nick, body.channel, reason)
    arguments = {"nick": body.nick, "channel": body.channel, "reason": reason}
    return await record(call, "sapart", call.state.fold(body.channel), arguments, decision)


class TopicBody(Body, frozen=True, kw_only=True):
    """A channel and its topic; an empty one removes it."""

    channel: Word
    topic: Words


@action("topic")
async def topic(call: Call, body: TopicBody) -> ActionDone:
    """Set the topic of a channel."""
    limit = call.server.config.limits.topiclen
    decision = decide_topic(call.state, call.actor, body.channel, body.topic, limit, override=True)
    arguments = {"channel": body.channel, "topic": body.topic}
    return await record(call, "topic", call.state.fold(body.channel), arguments, decision)


class ModeBody(Body, frozen=True, kw_only=True):
    """A channel and changes of its modes, as MODE takes them: `+mo-b ann *!*@192.0.2.1`."""

    channel: Word
    modes: Said


@action("mode")
async def mode(call: Call, body: ModeBody) -> ActionDone:
    """Change modes, prefixes and lists of a channel, as an operator with SAMODE; what is refused of it is said."""
    channel = channel_named(call.state, body.channel)
    parsed = parse_changes(tuple(body.modes.split()), CHANNEL_MODES)
    if parsed.unknown or parsed.missing or parsed.queries or not parsed.changes:
        wrong = "".join([*parsed.unknown, *parsed.missing, *parsed.queries])
        raise BadRequest("modes", body.modes, f"known modes with their parameters; see {wrong}" if wrong else "changes")
    limits = call.server.config.limits

    def expiry(minutes: int) -> str:
        return format_timestamp(call.now_s + 60 * minutes)

    decided = decide_channel_modes(
        call.state,
        call.actor,
        channel,
        parsed.changes,
        ModeLimits(limits.list_entries, limits.keylen),
        expiry,
        override=True,
        oper=True,
    )
    if decided.refused and not decided.events:
        raise decided.refused[0]
    shown = " ".join(_shown(change) for change in parsed.changes)
    done = await record(call, "mode", channel.key, {"channel": body.channel, "modes": shown}, decided.events)
    done.refused = [f"{' '.join(error.params)}: {error.text}" for error in decided.refused]
    return done


def _shown(change: Change) -> str:
    param = "*" if change.mode == "k" else change.param
    return f"{change.sign}{change.mode}" + (f" {param}" if param else "")


class RestoreBody(Body, frozen=True, kw_only=True):
    """A channel, the moment whose topic, modes, lists and access it gets back, and whether only to look."""

    channel: Word
    at: Annotated[str, Meta(max_length=40, description="2025-01-01, 2025-01-01T14:05:00Z, or -15m (s, m, h, d, w)")]
    dry_run: bool = False


class RestoreDone(msgspec.Struct, kw_only=True):
    """What differs from that moment, and was given back unless it was a dry run."""

    channel: str
    at: str
    done: bool
    changes: list[str]


@action("restore")
async def restore(call: Call, body: RestoreBody) -> RestoreDone:
    """Give a channel back as it was at a moment; with `dry_run` only say what would change."""
    try:
        at = parse_moment(body.at, call.now_s)
    except (ValueError, OverflowError):
        raise BadRequest("at", body.at, "2025-01-01, 2025-01-01T14:05:00Z, or -15m (s, m, h, d, w)") from None
    name = call.known_caller.name
    staff = Restorer(call.actor, name, name, staff=True)
    try:
        found = await restore_channel(call.server, body.channel, at, staff, do=False)
        if not body.dry_run and found.events:
            # Nothing has happened since it was decided: that was in this turn of the reactor.
            arguments = {"channel": body.channel, "at": at}
            await record(call, "restore", call.state.fold(body.channel), arguments, found.events)
    except CannotRestore as error:
        raise HTTPError(409, str(error)) from None
    return RestoreDone(channel=found.channel, at=found.at, done=not body.dry_run, changes=found.changes)


# --- network bans and filters ---------------------------------------------------------------------------------------


class LineBody(Body, frozen=True, kw_only=True):
    """A network ban: its mask, what the banned are told, what only staff sees, how long, and FORCE for a wide one."""

    mask: Word
    reason: Said
    private_reason: Words = ""
    duration: Annotated[str, Meta(max_length=40, description="1d12h (s, m, h, d, w); empty or 0: without end")] = ""
    force: bool = False


class UnlineBody(Body, frozen=True, kw_only=True):
    """The mask of a network ban."""

    mask: Word


class RealNameLineBody(LineBody, frozen=True, kw_only=True):
    """A network ban on real names; the mask may have spaces."""

    mask: Said


class RealNameUnlineBody(Body, frozen=True, kw_only=True):
    """The mask of a network ban on real names."""

    mask: Said


async def _set_line(call: Call, kind: str, body: LineBody) -> ActionDone:
    seconds = parse_duration(body.duration.lower()) if body.duration else 0
    if seconds is None:
        raise BadRequest("duration", body.duration, "1d12h (s, m, h, d, w), 0 for a line without end")
    mask = line_mask(kind, body.mask)
    expires = format_timestamp(call.now_s + seconds) if seconds else None
    reason, private = (truncate_utf8(text.strip(), MAX_REASON) for text in (body.reason, body.private_reason))
    line = NewLine(kind, mask, reason, private, expires)
    hit = await call.server.bans.victims(kind, mask)
    decision = decide_line(call.state, call.actor, line, hit, force=body.force)
    arguments = {"mask": mask, "reason": reason, "duration": body.duration, "force": "yes" if body.force else ""}
    return await record(call, kind, call.state.fold(mask), arguments, decision)


async def _remove_line(call: Call, kind: str, mask: str) -> ActionDone:
    mask = line_mask(kind, mask)
    decision = decide_unline(call.state, call.actor, kind, mask)
    return await record(call, f"un{kind}", call.state.fold(mask), {"mask": mask}, decision)


def _register(kind: str) -> None:
    is_realname = KINDS[kind].form == "realname"

    async def set_line(call: Call, body: LineBody) -> ActionDone:
        return await _set_line(call, kind, body)

    async def remove_line(call: Call, body: UnlineBody) -> ActionDone:
        return await _remove_line(call, kind, body.mask)

    if is_realname:
        set_line.__annotations__["body"] = RealNameLineBody
        remove_line.__annotations__["body"] = RealNameUnlineBody
    set_line.__name__, remove_line.__name__ = kind, f"un{kind}"
    set_line.__doc__ = f"Set a {kind.upper()}."
    remove_line.__doc__ = f"Remove a {kind.upper()}."
    action(kind)(set_line)
    action(f"un{kind}")(remove_line)


for _kind in KINDS:
    _register(_kind)


class FilterBody(Body, frozen=True, kw_only=True):
    """A spam filter: messages that match the expression (RE2) are blocked, told to staff, or end their sender."""

    pattern: Said
    action: Annotated[str, Meta(pattern=r"^(block|warn|kill)$", description="block, warn or kill")]
    reason: Said


@action("filter")
async def filter_(call: Call, body: FilterBody) -> ActionDone:
    """Set a spam filter."""
    wrong = check_pattern(body.pattern)
    if wrong is not None:
        raise BadRequest("pattern", body.pattern, f"a regular expression of RE2: {wrong}")
    reason = truncate_utf8(body.reason, MAX_REASON)
    decision = decide_filter(call.state, call.actor, body.pattern, body.action, reason)
    arguments = {"pattern": body.pattern, "action": body.action, "reason": reason}
    return await record(call, "filter", None, arguments, decision)


class UnfilterBody(Body, frozen=True, kw_only=True):
    """The expression of a spam filter."""

    pattern: Said


@action("unfilter")
async def unfilter(call: Call, body: UnfilterBody) -> ActionDone:
    """Remove a spam filter."""
    decision = decide_unfilter(call.state, call.actor, body.pattern)
    return await record(call, "unfilter", None, {"pattern": body.pattern}, decision)


# --- the server -----------------------------------------------------------------------------------------------------


class TextBody(Body, frozen=True, kw_only=True):
    """What is said."""

    text: Said


@action("announce")
async def announce(call: Call, body: TextBody) -> ActionDone:
    """A notice of the server to every user."""
    done = await record(call, "announce", None, {"text": body.text}, ())
    done.told = tell_everybody(call.server, body.text)
    return done


@action("wallops")
async def wallops(call: Call, body: TextBody) -> ActionDone:
    """WALLOPS to all who listen (+w)."""
    done = await record(call, "wallops", None, {"text": body.text}, ())
    done.told = tell_listeners(call.server, call.server.server_name, body.text)
    return done


class RehashDone(msgspec.Struct, kw_only=True):
    """What the server says of its configuration."""

    messages: list[str]


@action("rehash")
async def rehash(call: Call) -> RehashDone:
    """Read configuration, certificates and the message of the day again; a file that is wrong changes nothing."""
    await record(call, "rehash", None, {}, ())
    return RehashDone(messages=await call.server.rehash(call.actor))
