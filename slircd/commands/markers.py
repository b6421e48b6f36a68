"""MARKREAD: how far somebody has read, on all its devices (IRCv3 draft/read-marker).

Markers belong to the account and are in the log.  Those of somebody who is not logged in are the connection's, and
gone with it.  Nobody is ever told another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slircd.commands.history import parse_moment
from slircd.commands.registry import Context, command
from slircd.events.clock import format_timestamp
from slircd.rules.history import decide_read_marker
from slircd.wire.capabilities import READ_MARKER
from slircd.wire.line import Line, server_time
from slircd.wire.names import valid_channel, valid_nick
from slircd.wire.numerics import ERR_UNKNOWNCOMMAND, NumericError, StandardReply

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.network.session import Session

COMMAND: Final = "MARKREAD"
MOST: Final = 500
"""Markers of a connection without an account; rules.history has the limit of accounts."""


def _fail(code: str, *context: str, text: str) -> StandardReply:
    return StandardReply("FAIL", code, *context, text=text, command=COMMAND, always=True)


@command("MARKREAD")
async def markread(ctx: Context, target: str = "", moment: str | None = None) -> None:
    """MARKREAD <target> [timestamp=<server-time>]  (IRCv3 draft/read-marker)

    Shows how far one has read a channel or a conversation, or says so to one's other clients.
    """
    if not ctx.caps & READ_MARKER:
        raise NumericError(ERR_UNKNOWNCOMMAND, COMMAND)
    if not target:
        raise _fail("NEED_MORE_PARAMS", text="Missing parameters")
    limits = ctx.config.limits
    if not (
        valid_channel(target, limits.channellen)
        or valid_nick(target, limits.nicklen, precis=ctx.state.casemap.is_precis)
    ):
        raise _fail("INVALID_PARAMS", target, text="This is neither a channel nor a nick")
    if moment is None:
        ctx.from_server(marker_of(ctx.server, ctx.session, target))
        return
    kind, _, value = moment.partition("=")
    reference = parse_moment(value) if kind == "timestamp" else None
    if reference is None:
        raise _fail("INVALID_PARAMS", target, moment or "*", text="A marker is timestamp=<server-time>")
    # Nobody has read what is still to be said.
    read = server_time(min(reference.first, format_timestamp(ctx.server.epoch_s())))
    account = ctx.state.account_of(ctx.user)
    if account is None:
        _mark_session(ctx.session, ctx.state.fold(target), read)
    else:
        decision = list(decide_read_marker(ctx.state, ctx.user, account, target, read))
        if decision:
            # Its rendering answers, here and on the user's other clients.
            await ctx.emit(decision)
            return
    ctx.from_server(marker_of(ctx.server, ctx.session, target))


def _mark_session(session: Session, key: str, read: str) -> None:
    markers = session.read_markers
    if read > markers.get(key, ""):
        markers[key] = read
        if len(markers) > MOST:
            del markers[min(markers, key=lambda each: markers[each])]


def rename_markers(session: Session, key: str, new_key: str) -> None:
    """A channel has another name: what somebody without an account has read goes with it."""
    read = session.read_markers.pop(key, "")
    if read:
        session.read_markers[new_key] = max(read, session.read_markers.get(new_key, ""))


def marker_of(server: IRCServer, session: Session, target: str) -> str:
    """The MARKREAD, without its source, that says how far the client's user has read `target`."""
    state = server.state
    user = state.users.get(session.uid)
    account = None if user is None else state.account_of(user)
    markers = session.read_markers if account is None else account.read_markers
    read = markers.get(state.fold(target))
    return f"{COMMAND} {target} {'*' if read is None else f'timestamp={read}'}"


def marker_line(server: IRCServer, session: Session, target: str) -> Line:
    """`marker_of` as a line of the server."""
    return Line(f":{server.server_name} {marker_of(server, session, target)}", timestamp=server.timestamp())
