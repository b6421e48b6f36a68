"""IRC operators: OPER, and what their privileges allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import txaio

from slircd.commands.modes import change_channel_modes
from slircd.commands.registry import Context, command, targets
from slircd.rules.channel import decide_sajoin, decide_sapart
from slircd.rules.lookup import channel_named
from slircd.rules.oper import (
    decide_chghost,
    decide_kill,
    decide_oper,
    decide_sanick,
    matches_oper_masks,
)
from slircd.wire.line import Line
from slircd.wire.message import truncate_utf8
from slircd.wire.numerics import (
    ERR_NEEDMOREPARAMS,
    ERR_NOOPERHOST,
    ERR_NOSUCHNICK,
    ERR_PASSWDMISMATCH,
    RPL_REHASHING,
    RPL_TRACEEND,
    RPL_TRACEOPERATOR,
    RPL_TRACEUSER,
    RPL_YOUREOPER,
    NumericError,
)

if TYPE_CHECKING:
    from slircd.config.sections import Oper

txaio.use_twisted()
log = txaio.make_logger()

MAX_FAILURES: Final = 5
"""Wrong passwords of one connection before it is closed."""


@command("OPER", params=2)
async def oper(ctx: Context, name: str, password: str) -> None:
    """OPER <name> <password>  (RFC 2812 3.1.4)

    Makes the user an IRC operator, and lets this one of its clients use what operators may.
    """
    block = ctx.config.opers.get(name)
    if block is None or not _may_try(ctx, block):
        _failed(ctx, name, "no such operator, or not from this host or certificate")
        raise NumericError(ERR_NOOPERHOST)
    if block.password_hash is not None:
        guessing, address = ctx.server.accounts.guessing, ctx.session.address
        if guessing.refuses(address, ""):
            raise NumericError(ERR_PASSWDMISMATCH, text="Too many wrong passwords from your address, try again later")
        guessing.failed(address, "")
        if not await ctx.server.passwords.verify(block.password_hash, password):
            _failed(ctx, name, "wrong password")
            raise NumericError(ERR_PASSWDMISMATCH)
        guessing.succeeded(address, "", counted=True)
    # While the password was checked, the client may have left and the configuration may have changed.
    if not ctx.session.is_registered or ctx.config.opers.get(name) != block:
        return
    await ctx.emit(decide_oper(ctx.state, ctx.uid, name, block.oper_class, block.vhost))
    if ctx.session.is_registered and ctx.user.is_oper:
        ctx.session.oper = name
    log.info("{nick} is now IRC operator {oper}", nick=ctx.nick, oper=name)
    ctx.reply(RPL_YOUREOPER)


def _may_try(ctx: Context, block: Oper) -> bool:
    if block.certfp and ctx.session.certfp not in block.certfp:
        return False
    return matches_oper_masks(ctx.state, ctx.user, block.masks)


def _failed(ctx: Context, name: str, why: str) -> None:
    session = ctx.session
    session.failures += 1
    log.warn(
        "{nick} ({address}) failed to become operator {oper}: {why}",
        nick=ctx.nick,
        address=session.address,
        oper=name,
        why=why,
    )
    ctx.server.bans.notify("o", f"{ctx.nick} ({session.address}) failed to become operator {name}: {why}")
    if session.failures >= MAX_FAILURES:
        session.close("Too many wrong passwords")


# --- users --------------------------------------------------------------------------------------------------------


@command("KILL", params=1, privilege="kill")
async def kill(ctx: Context, nick: str, reason: str = "") -> None:
    """KILL <nick> [<reason>]  (RFC 2812 3.7.1)

    Disconnects a user.
    """
    text = truncate_utf8(reason or "No reason given", ctx.config.limits.quitlen - 80)
    await ctx.emit(decide_kill(ctx.state, ctx.uid, nick, text))


@command("SAJOIN", params=1, privilege="sajoin")
async def sajoin(ctx: Context, first: str, second: str = "") -> None:
    """SAJOIN [<nick>] <channel>{,<channel>}

    Makes a user, or without a nick oneself, join channels whatever they say.
    """
    nick, channels = (first, second) if second else (ctx.nick, first)
    for name in targets(channels, ctx.config.limits.targets.join):
        decision = decide_sajoin(ctx.state, ctx.uid, nick, name, ctx.config.limits.channellen)
        await ctx.emit(decision)


@command("SAPART", params=2, privilege="sapart")
async def sapart(ctx: Context, nick: str, channels: str, reason: str = "") -> None:
    """SAPART <nick> <channel>{,<channel>} [<reason>]

    Makes a user leave channels.
    """
    text = truncate_utf8(reason, ctx.config.limits.quitlen)
    for name in targets(channels, ctx.config.limits.targets.part):
        await ctx.channel(name).emit(decide_sapart(ctx.state, ctx.uid, nick, name, text), ctx)


@command("SANICK", params=2, privilege="sanick")
async def sanick(ctx: Context, nick: str, new_nick: str) -> None:
    """SANICK <nick> <new nick>

    Changes a user's nick.
    """
    await ctx.emit(decide_sanick(ctx.state, ctx.uid, nick, new_nick, ctx.config.limits.nicklen))


@command("SAMODE", params=2, privilege="samode")
async def samode(ctx: Context, channel: str, *words: str) -> None:
    """SAMODE <channel> <modes> {<parameter>}

    Changes modes of any channel.
    """
    await change_channel_modes(ctx, channel_named(ctx.state, channel), words, override=True)


@command("CHGHOST", params=2, privilege="chghost")
async def chghost(ctx: Context, nick: str, first: str, second: str = "") -> None:
    """CHGHOST <nick> [<user name>] <host>

    Changes the host, and the user name, that people see of a user.
    """
    username, host = (first, second) if second else (None, first)
    await ctx.emit(decide_chghost(ctx.state, ctx.uid, nick, username, host, ctx.config.limits.userlen))


@command("VHOST", params=1, privilege="vhost")
async def vhost(ctx: Context, first: str, second: str = "") -> None:
    """VHOST [<nick>] <host>

    Gives a user, or without a nick oneself, a virtual host.
    """
    nick, host = (first, second) if second else (ctx.nick, first)
    await ctx.emit(decide_chghost(ctx.state, ctx.uid, nick, None, host, ctx.config.limits.userlen))


# --- the server ---------------------------------------------------------------------------------------------------


@command("WALLOPS", privilege="wallops")
def wallops(ctx: Context, text: str = "") -> None:
    """WALLOPS <text>  (RFC 2812 4.7)

    Speaks to all users who listen (+w).
    """
    if not text:
        raise NumericError(ERR_NEEDMOREPARAMS, "WALLOPS")
    line = Line(f":{ctx.user.source} WALLOPS :{text}", timestamp=ctx.server.timestamp())
    for session in ctx.server.users.everyone():
        user = ctx.state.users.get(session.uid)
        if user is not None and "w" in user.modes:
            if session is ctx.session:
                ctx.send(line)
            else:
                session.send(line)


@command("REHASH", privilege="rehash")
async def rehash(ctx: Context) -> None:
    """REHASH  (RFC 2812 4.2)

    Reads configuration, certificates and the message of the day again.
    """
    ctx.reply(RPL_REHASHING, ctx.server.config_file)
    for text in await ctx.server.rehash(ctx.uid):
        ctx.notice(text)


@command("DIE", privilege="die")
def die(ctx: Context, reason: str = "") -> None:
    """DIE [<reason>]  (RFC 2812 4.3)

    Stops the server.
    """
    text = truncate_utf8(reason, 200) or f"Stopped by {ctx.nick}"
    log.warn("{nick} stops the server: {reason}", nick=ctx.nick, reason=text)
    ctx.server.stop(text)


@command("TRACE", privilege="trace")
async def trace(ctx: Context, nick: str = "") -> None:
    """TRACE [<nick>]  (RFC 2812 3.4.8)

    Shows connections: through which listener, from where, how long.
    """
    if nick and nick.lower() != ctx.server.server_name.lower():
        user = ctx.state.user_by_nick(nick)
        if user is None:
            raise NumericError(ERR_NOSUCHNICK, nick)
        wanted = list(ctx.server.users.sessions_of(user.uid))
    else:
        wanted = list(ctx.server.sessions)
    now = ctx.server.reactor.seconds()
    async for sessions in ctx.pieces(wanted):
        for session in sessions:
            user = ctx.state.users.get(session.uid)
            if user is None:
                continue
            numeric, kind = (RPL_TRACEOPERATOR, "Oper") if user.is_oper else (RPL_TRACEUSER, "User")
            listener = session.listener.name if session.listener is not None else "-"
            text = f"{user.username}@{user.real_host} through {listener}, {int(now - session.connected_s)} s"
            ctx.reply(numeric, kind, "users", user.nick, text=text)
    ctx.reply(RPL_TRACEEND, ctx.server.server_name, "slircd")
