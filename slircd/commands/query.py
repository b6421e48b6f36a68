"""Who is who: WHO and WHOX, WHOIS, WHOWAS, ISON, USERHOST."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from slircd.commands.registry import Context, command, targets
from slircd.commands.server_info import require_this_server
from slircd.events.clock import parse_timestamp
from slircd.rules.lookup import may_see_channel, sees_member
from slircd.wire.capabilities import METADATA, METADATA_3, MULTI_PREFIX
from slircd.wire.masks import matches_glob
from slircd.wire.message import MAX_BODY, wrap
from slircd.wire.modes import CHANNEL_MODES
from slircd.wire.numerics import (
    ERR_NONICKNAMEGIVEN,
    ERR_NOSUCHNICK,
    ERR_WASNOSUCHNICK,
    RPL_AWAY,
    RPL_ENDOFWHO,
    RPL_ENDOFWHOIS,
    RPL_ENDOFWHOWAS,
    RPL_ISON,
    RPL_USERHOST,
    RPL_WHOISACCOUNT,
    RPL_WHOISACTUALLY,
    RPL_WHOISBOT,
    RPL_WHOISCERTFP,
    RPL_WHOISCHANNELS,
    RPL_WHOISIDLE,
    RPL_WHOISKEYVALUE,
    RPL_WHOISMODES,
    RPL_WHOISOPERATOR,
    RPL_WHOISSECURE,
    RPL_WHOISSERVER,
    RPL_WHOISUSER,
    RPL_WHOREPLY,
    RPL_WHOSPCRPL,
    RPL_WHOWASUSER,
    NumericError,
)

if TYPE_CHECKING:
    from slircd.state.model import Channel, User

MAX_USERHOST: Final = 5
HIDDEN_IP: Final = "255.255.255.255"

Pair = tuple["User", "Channel | None"]


# --- WHO ----------------------------------------------------------------------------------------------------------


@command("WHO")
async def who(ctx: Context, mask: str = "*", options: str = "") -> None:
    """WHO [<channel or mask> [o][%<fields>[,<token>]]]  (RFC 2812 3.6.1, WHOX)

    Shows users: members of a channel, or who matches a mask.
    """
    flags, _, fields = options.partition("%")
    fields, _, token = fields.partition(",")
    opers_only = "o" in flags
    whox = "%" in options
    async for user, channel in _who_matches(ctx, mask):
        if opers_only and not _shows_as_oper(ctx, user):
            continue
        if whox:
            _whox_reply(ctx, user, channel, fields, token)
        else:
            _who_reply(ctx, user, channel)
    ctx.reply(RPL_ENDOFWHO, mask)


async def _who_matches(ctx: Context, mask: str) -> AsyncIterator[Pair]:
    """Whom the client may see: in pieces, each as it is in its turn; who has gone since the beginning is left out."""
    state = ctx.state
    channel = state.channel_by_name(mask) if mask.startswith("#") else None
    named = state.user_by_nick(mask)
    if channel is not None:
        async for uids in ctx.pieces(list(channel.members)):
            for user in _seen_members(ctx, channel, uids):
                yield user, channel
    elif named is not None:
        yield named, _common_channel(ctx, named)
    elif not mask.startswith("#"):
        pattern = "*" if mask == "0" else state.fold(mask)
        ctx.work += len(state.users)
        async for users in ctx.pieces(list(state.users.values())):
            for user in _seen_matches(ctx, pattern, users):
                yield user, _common_channel(ctx, user)


def _seen_members(ctx: Context, channel: Channel, uids: Iterable[str]) -> Iterator[User]:
    """Those who are on the channel now and whom the client may see there now."""
    state = ctx.state
    sees_hidden = ctx.has_privilege("see-hidden")
    if state.channels.get(channel.key) is not channel or not may_see_channel(channel, ctx.uid, sees_hidden=sees_hidden):
        return
    for uid in uids:
        if uid in channel.members and sees_member(channel, ctx.uid, state.users[uid], sees_hidden=sees_hidden):
            yield state.users[uid]


def _seen_matches(ctx: Context, pattern: str, users: Iterable[User]) -> Iterator[User]:
    """Those who are online now, match, and whom the client may see now."""
    state = ctx.state
    sees_hidden = ctx.has_privilege("see-hidden")
    own = state.memberships.get(ctx.uid, {}).keys()
    for user in users:
        if state.users.get(user.uid) is not user:
            continue
        # Who shares an auditorium (+u) with somebody is a peer all the same, but is not seen there.
        if (
            "i" in user.modes
            and user.uid != ctx.uid
            and not sees_hidden
            and (own.isdisjoint(state.memberships.get(user.uid, ())) or _common_channel(ctx, user) is None)
        ):
            continue
        server = ctx.server.server_of(user)
        texts: Iterable[str] = (user.nick, user.username, user.host, server, user.realname, user.source)
        if any(matches_glob(pattern, state.fold(text)) for text in texts):
            yield user


def _common_channel(ctx: Context, user: User) -> Channel | None:
    """A channel of `user` that the client may know of."""
    for channel in ctx.state.channels_of(user.uid):
        if may_see_channel(channel, ctx.uid) and sees_member(channel, ctx.uid, user):
            return channel
    return None


def _shows_as_oper(ctx: Context, user: User) -> bool:
    return user.is_oper and ("H" not in user.modes or user.uid == ctx.uid or ctx.has_privilege("see-hidden"))


def _flags(ctx: Context, user: User, channel: Channel | None) -> str:
    flags = "H" if user.away is None else "G"
    if _shows_as_oper(ctx, user):
        flags += "*"
    if "B" in user.modes:
        flags += "B"
    if channel is not None:
        flags += CHANNEL_MODES.symbols(channel.members.get(user.uid, ""), bool(ctx.caps & MULTI_PREFIX))
    return flags


def _who_reply(ctx: Context, user: User, channel: Channel | None) -> None:
    ctx.reply(
        RPL_WHOREPLY,
        channel.name if channel is not None else "*",
        user.username,
        user.host,
        ctx.server.server_of(user),
        user.nick,
        _flags(ctx, user, channel),
        text=f"0 {user.realname}",
    )


def _whox_reply(ctx: Context, user: User, channel: Channel | None, fields: str, token: str) -> None:
    sees_hosts = user.uid == ctx.uid or ctx.has_privilege("see-hosts")
    values: dict[str, Callable[[], str]] = {
        "t": lambda: token or "0",
        "c": lambda: channel.name if channel is not None else "*",
        "u": lambda: user.username,
        "i": lambda: (user.ip or HIDDEN_IP) if sees_hosts else HIDDEN_IP,
        "h": lambda: user.host,
        "s": lambda: ctx.server.server_of(user),
        "n": lambda: user.nick,
        "f": lambda: _flags(ctx, user, channel),
        "d": lambda: "0",
        "l": lambda: str(_idle(ctx, user)),
        "a": lambda: user.account or "0",
        "o": lambda: "n/a",
    }
    words = [value() for letter, value in values.items() if letter in fields]
    # An address that begins with a colon would be taken for a trailing parameter.
    words = [f"0{word}" if word.startswith(":") else word for word in words]
    ctx.reply(RPL_WHOSPCRPL, *words, text=user.realname if "r" in fields else None)


def _idle(ctx: Context, user: User) -> int:
    sessions = ctx.server.users.sessions_of(user.uid)
    now = ctx.server.reactor.seconds()
    return min((int(now - session.last_message_s) for session in sessions), default=0)


# --- WHOIS, WHOWAS ------------------------------------------------------------------------------------------------


@command("WHOIS")
def whois(ctx: Context, first: str = "", second: str = "") -> None:
    """WHOIS [<server>] <nick>{,<nick>}  (RFC 2812 3.6.2)

    Shows what is known of users.
    """
    if second:
        require_this_server(ctx, first)
    nicks = second or first
    if not nicks:
        raise NumericError(ERR_NONICKNAMEGIVEN)
    for nick in targets(nicks, ctx.config.limits.targets.whois):
        user = ctx.state.user_by_nick(nick)
        if user is None:
            ctx.reply(ERR_NOSUCHNICK, nick)
        else:
            _whois_user(ctx, user)
        ctx.reply(RPL_ENDOFWHOIS, nick)


def _whois_user(ctx: Context, user: User) -> None:
    nick = user.nick
    itself = user.uid == ctx.uid
    ctx.reply(RPL_WHOISUSER, nick, user.username, user.host, "*", text=user.realname)
    channels = list(_whois_channels(ctx, user))
    room = MAX_BODY - 2 - len(f":{ctx.server.server_name} 319 {ctx.nick} {nick} :".encode())
    for text in wrap(channels, room):
        ctx.reply(RPL_WHOISCHANNELS, nick, text=text)
    if itself or ctx.has_privilege("see-hosts"):
        ctx.reply(RPL_WHOISACTUALLY, nick, f"{user.username}@{user.real_host}", user.ip or "0.0.0.0")  # noqa: S104  # no address, not one to bind
        ctx.reply(RPL_WHOISMODES, nick, text=f"is using modes +{''.join(sorted(user.modes))}")
    ctx.reply(RPL_WHOISSERVER, nick, ctx.server.server_of(user), text=ctx.config.server.description)
    if _shows_as_oper(ctx, user):
        ctx.reply(RPL_WHOISOPERATOR, nick)
    if user.account is not None:
        ctx.reply(RPL_WHOISACCOUNT, nick, user.account)
    if "B" in user.modes:
        ctx.reply(RPL_WHOISBOT, nick)
    if user.secure:
        ctx.reply(RPL_WHOISSECURE, nick)
    if user.certfp is not None and (itself or ctx.has_privilege("see-hosts")):
        ctx.reply(RPL_WHOISCERTFP, nick, text=f"has client certificate fingerprint {user.certfp}")
    if user.away is not None:
        ctx.reply(RPL_AWAY, nick, text=user.away)
    if ctx.caps & (METADATA | METADATA_3):
        for key, value in user.metadata.items():
            ctx.reply(RPL_WHOISKEYVALUE, nick, key, "*", text=value)
    ctx.reply(RPL_WHOISIDLE, nick, _idle(ctx, user), int(parse_timestamp(user.connected_at)))


def _whois_channels(ctx: Context, user: User) -> Iterator[str]:
    sees_hidden = ctx.has_privilege("see-hidden")
    for channel in ctx.state.channels_of(user.uid):
        # The same as NAMES and WHO of the channel show: where somebody is who is invisible (+i), members alone see.
        if user.uid == ctx.uid or (
            may_see_channel(channel, ctx.uid, sees_hidden=sees_hidden)
            and sees_member(channel, ctx.uid, user, sees_hidden=sees_hidden)
        ):
            symbols = CHANNEL_MODES.symbols(channel.members[user.uid], bool(ctx.caps & MULTI_PREFIX))
            yield symbols + channel.name


@command("WHOWAS")
def whowas(ctx: Context, nicks: str = "", count: str = "", _target: str = "") -> None:
    """WHOWAS <nick>{,<nick>} [<count>]  (RFC 2812 3.6.3)

    Shows who had a nick before, newest first.
    """
    if not nicks:
        raise NumericError(ERR_NONICKNAMEGIVEN)
    wanted = int(count[:6]) if count.isascii() and count.isdigit() else 0
    for nick in targets(nicks, ctx.config.limits.targets.whois):
        found = ctx.server.users.whowas(nick)
        ctx.work += ctx.config.limits.whowas // 10
        if not found:
            ctx.reply(ERR_WASNOSUCHNICK, nick)
        for gone in found[: wanted or None]:
            ctx.reply(RPL_WHOWASUSER, gone.nick, gone.username, gone.host, "*", text=gone.realname)
            if gone.account is not None:
                ctx.reply(RPL_WHOISACCOUNT, gone.nick, gone.account, text="was logged in as")
            ctx.reply(RPL_WHOISSERVER, gone.nick, ctx.server.server_name, text=gone.left_at)
        ctx.reply(RPL_ENDOFWHOWAS, nick)


# --- ISON, USERHOST -----------------------------------------------------------------------------------------------


@command("ISON", params=1)
def ison(ctx: Context, *nicks: str) -> None:
    """ISON <nick>{ <nick>}  (RFC 2812 4.9)

    Shows which of the nicks are online.
    """
    found: list[str] = []
    for word in nicks:
        for nick in word.split():
            user = ctx.state.user_by_nick(nick)
            if user is not None:
                found.append(user.nick)
    ctx.reply(RPL_ISON, text=" ".join(found))


@command("USERHOST", params=1)
def userhost(ctx: Context, *nicks: str) -> None:
    """USERHOST <nick>{ <nick>}  (RFC 2812 4.8)

    Shows away status and host of up to five users.
    """
    words: list[str] = []
    for nick in nicks[:MAX_USERHOST]:
        user = ctx.state.user_by_nick(nick)
        if user is not None:
            oper = "*" if _shows_as_oper(ctx, user) else ""
            sign = "+" if user.away is None else "-"
            words.append(f"{user.nick}{oper}={sign}{user.username}@{user.host}")
    ctx.reply(RPL_USERHOST, text=" ".join(words))
