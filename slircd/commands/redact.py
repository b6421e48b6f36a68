"""REDACT: what was said is taken back (IRCv3 draft/message-redaction).

The text goes from the log in the same transaction that says who had it removed.  Everything that may not be known
(messages of others' conversations, of channels that one is not on, from before one may look) is answered in one way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slircd.commands.history import scope_of
from slircd.commands.playback import read_page
from slircd.commands.registry import Context, command
from slircd.events.clock import parse_timestamp
from slircd.events.codec import DecodeError, decode_event, encode_payload
from slircd.events.msgid import is_of, parse_message_id
from slircd.events.pages import MESSAGES, HistoryReader, Page
from slircd.events.row import Rewrite, Row
from slircd.events.types import Message
from slircd.rules.history import decide_redact, may_redact, redacted
from slircd.wire.capabilities import MESSAGE_REDACTION
from slircd.wire.message import truncate_utf8
from slircd.wire.numerics import ERR_UNKNOWNCOMMAND, NumericError, StandardReply

if TYPE_CHECKING:
    from slircd.rules.history import Scope

COMMAND: Final = "REDACT"


def _fail(code: str, *context: str, text: str) -> StandardReply:
    return StandardReply("FAIL", code, *context, text=text, command=COMMAND, always=True)


@command("REDACT", params=2)
async def redact(ctx: Context, target: str, msgid: str, reason: str = "") -> None:
    """REDACT <target> <msgid> [<reason>]  (IRCv3 draft/message-redaction)

    Removes a message from the history: one's own for a while, others' as an operator of the channel.
    """
    if not ctx.caps & MESSAGE_REDACTION or not ctx.config.history.enabled:
        raise NumericError(ERR_UNKNOWNCOMMAND, COMMAND)
    scope = _scope(ctx, target)
    place = parse_message_id(msgid)
    row: Row | None = None
    if place is not None:
        await ctx.server.bus.settled()
        row = await ctx.server.store.ask_history(lambda reader: _row(reader, scope, place.id))
        if ctx.session.is_closed:
            return
        scope = _scope(ctx, target)
    said = None if row is None or place is None or not is_of(place, row.session_id) else _message(row, scope)
    if row is None or said is None:
        raise _fail("UNKNOWN_MSGID", target, msgid, text="This message does not exist or is too old")
    window_s = ctx.config.history.redact_window_s
    is_staff = ctx.has_privilege("redact")
    if not is_staff and not may_redact(ctx.state, ctx.user, scope.target, said, row.timestamp):
        raise _fail("REDACT_FORBIDDEN", target, msgid, text="You are not authorised to delete this message")
    age_s = ctx.server.epoch_s() - parse_timestamp(row.timestamp)
    if not is_staff and not _runs_channel(ctx, scope) and age_s > window_s:
        raise _fail("REDACT_WINDOW_EXPIRED", target, msgid, str(window_s), text="You can no longer delete this message")
    recipient = None if scope.is_channel else ctx.state.user_by_nick(target)
    text = truncate_utf8(reason, ctx.config.limits.kicklen)
    decision = decide_redact(ctx.user, scope, row.id, msgid, text, None if recipient is None else recipient.uid)
    rewrite = Rewrite(row.id, encode_payload(redacted(said, ctx.nick)))
    await ctx.server.bus.emit(decision, ctx, rewrites=[rewrite])


def _scope(ctx: Context, target: str) -> Scope:
    scope = scope_of(ctx.server, ctx.user, target)
    if scope is None:
        raise _fail("INVALID_TARGET", target, text=f"You cannot delete messages from {target}")
    return scope


def _row(reader: HistoryReader, scope: Scope, row_id: int) -> Row | None:
    page = Page(scope.target, MESSAGES, 1, after_id=row_id - 1, before_id=row_id + 1)
    rows, _ = read_page(reader, scope, page)
    return rows[0] if rows else None


def _message(row: Row, scope: Scope) -> Message | None:
    """The message of a row, if it is one that its reader may see."""
    if not scope.holds(row):
        return None
    try:
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    except DecodeError:
        return None
    return event if isinstance(event, Message) and not event.redacted_by else None


def _runs_channel(ctx: Context, scope: Scope) -> bool:
    channel = ctx.state.channels.get(scope.target)
    return channel is not None and channel.has_any(ctx.uid, "qao")
