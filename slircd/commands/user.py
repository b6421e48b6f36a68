"""What users say of themselves and whom they watch, ignore or accept: AWAY, SETNAME, MONITOR, SILENCE, ACCEPT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slircd.commands.metadata import sync_user
from slircd.commands.registry import Context, Phase, command, targets
from slircd.rules.lookup import person_named
from slircd.rules.user import decide_away, decide_setname
from slircd.wire.capabilities import PRE_AWAY
from slircd.wire.masks import canonical_mask
from slircd.wire.message import truncate_utf8, wrap
from slircd.wire.names import valid_nick
from slircd.wire.numerics import (
    ERR_ACCEPTEXIST,
    ERR_ACCEPTFULL,
    ERR_ACCEPTNOT,
    ERR_MONLISTFULL,
    ERR_NEEDMOREPARAMS,
    ERR_NOTREGISTERED,
    ERR_SILELISTFULL,
    RPL_ACCEPTLIST,
    RPL_ENDOFACCEPT,
    RPL_ENDOFMONLIST,
    RPL_ENDOFSILELIST,
    RPL_MONLIST,
    RPL_MONOFFLINE,
    RPL_MONONLINE,
    RPL_NOWAWAY,
    RPL_SILELIST,
    RPL_UNAWAY,
    NumericError,
    StandardReply,
)

if TYPE_CHECKING:
    from slircd.state.model import User

ROOM = 400
"""Bytes of a list in one line; leaves room for the server's name, the numeric and the nick."""


@command("AWAY", phase=Phase.ANY)
async def away(ctx: Context, message: str = "") -> None:
    """AWAY [<message>]  (RFC 2812 4.1, IRCv3 draft/pre-away)

    Says that one is away, or without a message that one is back.
    """
    text = truncate_utf8(message, ctx.config.limits.awaylen)
    registration = ctx.session.registration
    if registration is not None:
        if not ctx.caps & PRE_AWAY:
            raise NumericError(ERR_NOTREGISTERED)
        registration.away = text
        ctx.reply(RPL_NOWAWAY if text else RPL_UNAWAY)
        return
    ctx.session.away, ctx.session.away_since_s = text or None, ctx.server.reactor.seconds()
    if len(ctx.server.users.sessions_of(ctx.uid)) > 1:
        ctx.server.users.settle_away(ctx.server, ctx.uid)
    else:
        await ctx.emit(decide_away(ctx.state, ctx.uid, text))
    ctx.reply(RPL_NOWAWAY if text else RPL_UNAWAY)


@command("SETNAME", params=1)
async def setname(ctx: Context, realname: str) -> None:
    """SETNAME :<real name>  (IRCv3 setname)

    Changes one's real name.
    """
    limit = ctx.config.limits.reallen
    if not realname.strip() or len(realname.encode()) > limit:
        raise StandardReply("FAIL", "INVALID_REALNAME", text=f"A real name has 1 to {limit} bytes")
    await ctx.emit(decide_setname(ctx.state, ctx.uid, realname))


# --- MONITOR ------------------------------------------------------------------------------------------------------


@command("MONITOR", params=1)
def monitor(ctx: Context, action: str, nicks: str = "") -> None:
    """MONITOR + | - <nick>{,<nick>}, or C | L | S  (IRCv3 monitor)

    Watches for users to come and go; C clears the list, L shows it, S shows who of it is online.
    """
    verb = action.upper()
    server, session = ctx.server, ctx.session
    if verb in ("+", "-"):
        wanted = [nick for nick in nicks.split(",") if nick]
        if not wanted:
            raise NumericError(ERR_NEEDMOREPARAMS, "MONITOR")
        if verb == "+":
            _watch(ctx, wanted)
        else:
            for nick in wanted:
                server.monitor.remove(session, nick)
    elif verb == "C":
        server.monitor.clear(session)
    elif verb == "L":
        for text in wrap(session.monitored.values(), ROOM, ","):
            ctx.reply(RPL_MONLIST, text=text)
        ctx.reply(RPL_ENDOFMONLIST)
    elif verb == "S":
        _show_presence(ctx, list(session.monitored.values()))


def _watch(ctx: Context, nicks: list[str]) -> None:
    limit = ctx.config.limits.monitor
    session = ctx.session
    added: list[str] = []
    for index, nick in enumerate(nicks):
        if not valid_nick(nick, ctx.config.limits.nicklen, precis=ctx.state.casemap.is_precis):
            continue
        if len(session.monitored) >= limit and ctx.state.fold(nick) not in session.monitored:
            _show_presence(ctx, added)
            ctx.reply(ERR_MONLISTFULL, limit, ",".join(nicks[index:]))
            return
        ctx.server.monitor.add(session, nick)
        added.append(nick)
    _show_presence(ctx, added)


def _show_presence(ctx: Context, nicks: list[str]) -> None:
    online: list[str] = []
    offline: list[str] = []
    present: list[User] = []
    for nick in nicks:
        user = ctx.state.user_by_nick(nick)
        if user is None:
            offline.append(nick)
        else:
            online.append(user.source)
            present.append(user)
    for text in wrap(online, ROOM, ","):
        ctx.reply(RPL_MONONLINE, text=text)
    for text in wrap(offline, ROOM, ","):
        ctx.reply(RPL_MONOFFLINE, text=text)
    for user in present:
        sync_user(ctx.server, ctx.session, user, ctx.send)


# --- SILENCE ------------------------------------------------------------------------------------------------------


@command("SILENCE")
def silence(ctx: Context, mask: str = "") -> None:
    """SILENCE [+<mask> | -<mask>]

    Hears no private messages from whom a mask matches; without a mask shows the masks.
    """
    session = ctx.session
    if not mask:
        for known in session.silenced.values():
            ctx.reply(RPL_SILELIST, ctx.nick, known)
        ctx.reply(RPL_ENDOFSILELIST)
        return
    sign, text = (mask[0], mask[1:]) if mask[0] in "+-" else ("+", mask)
    if not text:
        raise NumericError(ERR_NEEDMOREPARAMS, "SILENCE")
    canonical = canonical_mask(truncate_utf8(text, 200))
    key = ctx.state.fold(canonical)
    if sign == "-":
        if session.silenced.pop(key, None) is None:
            return
    elif key not in session.silenced:
        if len(session.silenced) >= ctx.config.limits.silence:
            raise NumericError(ERR_SILELISTFULL, canonical)
        session.silenced[key] = canonical
    else:
        return
    ctx.send_text(f":{ctx.user.source} SILENCE {sign}{canonical}")


# --- ACCEPT -------------------------------------------------------------------------------------------------------


@command("ACCEPT")
def accept(ctx: Context, nicks: str = "*") -> None:
    """ACCEPT <nick>{,<nick>} | -<nick>{,-<nick>} | *

    Lets users write to one in spite of user modes g and R, or (-) no longer; * shows them.  Whom one writes to may
    answer.  It holds as long as both are here, whatever their nicks become.
    """
    if nicks == "*":
        for uid in ctx.server.accepts.accepted_by(ctx.uid):
            ctx.reply(RPL_ACCEPTLIST, ctx.state.users[uid].nick)
        ctx.reply(RPL_ENDOFACCEPT)
        return
    for word in targets(nicks):
        try:
            _accept_one(ctx, word)
        except NumericError as error:
            ctx.refuse(error)


def _accept_one(ctx: Context, word: str) -> None:
    accepts = ctx.server.accepts
    user = person_named(ctx.state, word.removeprefix("-").removeprefix("+"))
    if word.startswith("-"):
        if not accepts.remove(ctx.uid, user.uid):
            raise NumericError(ERR_ACCEPTNOT, user.nick)
    elif accepts.was_asked_for(ctx.uid, user.uid):
        raise NumericError(ERR_ACCEPTEXIST, user.nick)
    elif not accepts.add(ctx.uid, user.uid, ctx.config.limits.accept):
        raise NumericError(ERR_ACCEPTFULL, user.nick)
