"""What the server says of itself: MOTD, LUSERS, VERSION, ADMIN, INFO, TIME, STATS, LINKS, MAP, HELP."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, Final

from slircd.about import version
from slircd.commands.registry import COMMANDS, Context, Phase, command
from slircd.events.clock import parse_timestamp
from slircd.services.directory import SERVICES
from slircd.wire.capabilities import EXTENDED_ISUPPORT
from slircd.wire.extbans import EXTBANS, PREFIX
from slircd.wire.masks import matches_glob
from slircd.wire.modes import CHANNEL_MODES, USER_MODES, Kind
from slircd.wire.numerics import (
    ERR_HELPNOTFOUND,
    ERR_NOMOTD,
    ERR_NOSUCHSERVER,
    ERR_NOTREGISTERED,
    RPL_ADMINEMAIL,
    RPL_ADMINLOC1,
    RPL_ADMINLOC2,
    RPL_ADMINME,
    RPL_ENDOFHELP,
    RPL_ENDOFINFO,
    RPL_ENDOFLINKS,
    RPL_ENDOFMOTD,
    RPL_ENDOFSTATS,
    RPL_GLOBALUSERS,
    RPL_HELPSTART,
    RPL_HELPTXT,
    RPL_INFO,
    RPL_ISUPPORT,
    RPL_LINKS,
    RPL_LOCALUSERS,
    RPL_LUSERCHANNELS,
    RPL_LUSERCLIENT,
    RPL_LUSERME,
    RPL_LUSEROP,
    RPL_LUSERUNKNOWN,
    RPL_MAP,
    RPL_MAPEND,
    RPL_MOTD,
    RPL_MOTDSTART,
    RPL_STATSCOMMANDS,
    RPL_STATSCONN,
    RPL_STATSKLINE,
    RPL_STATSLINKINFO,
    RPL_STATSOLINE,
    RPL_STATSPLINE,
    RPL_STATSUPTIME,
    RPL_TIME,
    RPL_VERSION,
    NumericError,
)
from slircd.wire.snomasks import SNOMASKS


def require_this_server(ctx: Context, target: str) -> None:
    """Raise ERR_NOSUCHSERVER unless `target` (empty: not given) means this server: its name, a mask, or a nick."""
    if not target or ctx.state.user_by_nick(target) is not None:
        return
    if not matches_glob(target.lower(), ctx.server.server_name.lower()):
        raise NumericError(ERR_NOSUCHSERVER, target)


# --- ISUPPORT, MOTD, LUSERS ---------------------------------------------------------------------------------------


def send_isupport(ctx: Context) -> None:
    """What the server supports; one batch for clients that want it so."""
    with ctx.batch("draft/isupport") if ctx.caps & EXTENDED_ISUPPORT else nullcontext():
        for tokens in ctx.server.isupport:
            ctx.reply(RPL_ISUPPORT, " ".join(tokens))


@command("ISUPPORT", phase=Phase.ANY)
def isupport(ctx: Context) -> None:
    """ISUPPORT  (IRCv3 draft/extended-isupport)

    Shows what the server supports.
    """
    if not ctx.session.is_registered and not ctx.caps & EXTENDED_ISUPPORT:
        raise NumericError(ERR_NOTREGISTERED)
    send_isupport(ctx)


def send_motd(ctx: Context) -> None:
    """The message of the day, or that there is none."""
    lines = ctx.server.motd
    if not lines:
        ctx.reply(ERR_NOMOTD)
        return
    ctx.reply(RPL_MOTDSTART, text=f"- {ctx.server.server_name} Message of the day - ")
    for line in lines:
        ctx.reply(RPL_MOTD, text=f"- {line}")
    ctx.reply(RPL_ENDOFMOTD)


def send_lusers(ctx: Context) -> None:
    """How many users, operators and channels there are."""
    state, server = ctx.state, ctx.server
    invisible, opers = len(server.users.invisible), len(server.users.opers)
    total = len(state.users) - len(SERVICES) - len(server.extensions.services)
    unknown = len(server.strangers)
    ctx.reply(RPL_LUSERCLIENT, text=f"There are {total - invisible} users and {invisible} invisible on 1 servers")
    # Zeros too, so that who counts them sees them fall to nothing (modern.ircdocs.horse, LUSERS).
    ctx.reply(RPL_LUSEROP, opers)
    ctx.reply(RPL_LUSERUNKNOWN, unknown)
    ctx.reply(RPL_LUSERCHANNELS, len(state.channels))
    local, most = len(server.users), server.users.most
    ctx.reply(RPL_LUSERME, text=f"I have {local} clients and 0 servers")
    ctx.reply(RPL_LOCALUSERS, local, most, text=f"Current local users {local}, max {most}")
    ctx.reply(RPL_GLOBALUSERS, total, most, text=f"Current global users {total}, max {most}")


@command("MOTD")
def motd(ctx: Context, target: str = "") -> None:
    """MOTD [<server>]  (RFC 2812 3.4.1)

    Shows the message of the day.
    """
    require_this_server(ctx, target)
    send_motd(ctx)


@command("LUSERS")
def lusers(ctx: Context) -> None:
    """LUSERS  (RFC 2812 3.4.2)

    Shows how many users, operators and channels there are.
    """
    send_lusers(ctx)


# --- who we are ---------------------------------------------------------------------------------------------------


@command("VERSION")
def version_(ctx: Context, target: str = "") -> None:
    """VERSION [<server>]  (RFC 2812 3.4.3)

    Shows the version of the server, and what it supports.
    """
    require_this_server(ctx, target)
    ctx.reply(RPL_VERSION, f"slircd-{version()}", ctx.server.server_name, text="an IRC server with a flight recorder")
    send_isupport(ctx)


@command("ADMIN")
def admin(ctx: Context, target: str = "") -> None:
    """ADMIN [<server>]  (RFC 2812 3.4.9)

    Shows who runs the server.
    """
    require_this_server(ctx, target)
    contact = ctx.config.server.admin
    ctx.reply(RPL_ADMINME, ctx.server.server_name)
    ctx.reply(RPL_ADMINLOC1, text=contact.name or "The people who run this server have not said who they are")
    ctx.reply(RPL_ADMINLOC2, text=contact.location or "-")
    ctx.reply(RPL_ADMINEMAIL, text=contact.email or "-")


@command("INFO")
def info(ctx: Context, target: str = "") -> None:
    """INFO [<server>]  (RFC 2812 3.4.10)

    Shows what this software is, and since when it runs.
    """
    require_this_server(ctx, target)
    started = datetime.fromtimestamp(parse_timestamp(ctx.server.started_at), UTC)
    for line in (
        f"slircd {version()}: an IRC server with a flight recorder",
        "Every change of state is an event in an append-only log, and the state is that log, applied.",
        f"Network: {ctx.config.server.network}",
        f"Up since {started:%Y-%m-%d %H:%M:%S} UTC",
    ):
        ctx.reply(RPL_INFO, text=line)
    ctx.reply(RPL_ENDOFINFO)


@command("TIME")
def time(ctx: Context, target: str = "") -> None:
    """TIME [<server>]  (RFC 2812 3.4.6)

    Shows the server's time.
    """
    require_this_server(ctx, target)
    now = ctx.server.epoch_s()
    text = f"{datetime.fromtimestamp(now, UTC):%A %B %d %Y -- %H:%M:%S} +00:00"
    ctx.reply(RPL_TIME, ctx.server.server_name, int(now), "0", text=text)


@command("LINKS")
def links(ctx: Context, first: str = "", second: str = "") -> None:
    """LINKS [[<server>] <mask>]  (RFC 2812 3.4.5)

    Shows the servers of the network.
    """
    mask = second or first or "*"
    if second:
        require_this_server(ctx, first)
    name = ctx.server.server_name
    if matches_glob(mask.lower(), name.lower()):
        ctx.reply(RPL_LINKS, name, name, text=f"0 {ctx.config.server.description}")
    services = ctx.config.server.services_name
    if services and matches_glob(mask.lower(), services.lower()):
        ctx.reply(RPL_LINKS, services, name, text="1 Services of this network")
    ctx.reply(RPL_ENDOFLINKS, mask)


@command("MAP")
def map_(ctx: Context) -> None:
    """MAP

    Shows the servers of the network as a tree.
    """
    server = ctx.server
    ctx.reply(RPL_MAP, text=f"{server.server_name} ({ctx.config.server.sid}) | Users: {len(server.users)}")
    ctx.reply(RPL_MAPEND)


# --- STATS --------------------------------------------------------------------------------------------------------

LOOKED_AT: Final = 5_000
"""Users that are looked at in one turn where few of them become a line."""


async def _stats_uptime(ctx: Context) -> None:
    server = ctx.server
    seconds = int(server.reactor.seconds() - server.started_s)
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    ctx.reply(RPL_STATSUPTIME, text=f"Server Up {days} days {hours}:{rest // 60:02d}:{rest % 60:02d}")
    ctx.reply(
        RPL_STATSCONN,
        text=f"Highest connection count: {server.users.most} ({server.connections} connections received)",
    )


async def _stats_commands(ctx: Context) -> None:
    for name, count in sorted(ctx.server.command_counts.items()):
        ctx.reply(RPL_STATSCOMMANDS, name, count)


async def _stats_opers(ctx: Context) -> None:
    for name, oper in ctx.config.opers.items():
        for mask in oper.masks:
            ctx.reply(RPL_STATSOLINE, "O", mask, "*", name, "0", oper.oper_class)


async def _stats_online_opers(ctx: Context) -> None:
    count = 0
    async for users in ctx.pieces(list(ctx.state.users.values()), LOOKED_AT):
        for user in users:
            if user.is_oper and ctx.state.users.get(user.uid) is user:
                if "H" in user.modes and not ctx.has_privilege("see-hidden"):
                    continue
                count += 1
                ctx.reply(RPL_STATSPLINE, text=f"{user.nick} ({user.username}@{user.host}) [{user.oper}]")
    ctx.reply(RPL_STATSPLINE, text=f"{count} IRC operator(s) online")


async def _stats_links(ctx: Context) -> None:
    async for sessions in ctx.pieces(list(ctx.server.sessions)):
        now = ctx.server.reactor.seconds()
        for session in sessions:
            if session in ctx.server.sessions:
                ctx.reply(
                    RPL_STATSLINKINFO,
                    session.display_nick,
                    session.outbox.size,
                    session.outbox.lines_sent,
                    session.outbox.bytes_sent // 1024,
                    session.received,
                    session.received_bytes // 1024,
                    int(now - session.connected_s),
                )


async def _stats_lines(ctx: Context) -> None:
    lines = [(kind, ban) for kind, bans in ctx.state.bans.items() for ban in bans.values()]
    async for piece in ctx.pieces(lines):
        for kind, ban in piece:
            if ctx.state.bans.get(kind, {}).get(ctx.state.fold(ban.mask)) is not ban:
                continue  # removed meanwhile
            until = ban.expires[:19] + "Z" if ban.expires else "0"
            private = f"|{ban.private_reason}" if ban.private_reason else ""
            ctx.reply(RPL_STATSKLINE, kind.upper(), ban.mask, until, ban.set_by, text=f"{ban.reason}{private}")


async def _stats_listeners(ctx: Context) -> None:
    for listener in ctx.server.listeners:
        kind = "TLS" if listener.tls else "plain"
        ctx.reply(RPL_STATSPLINE, text=f"listener {listener.name} ({kind})")


STATS: Final[dict[str, tuple[str, bool, Callable[[Context], Coroutine[Any, Any, None]]]]] = {
    "k": ("network bans of all kinds", True, _stats_lines),
    "l": ("connections: queue, lines and kilobytes sent and received, age", True, _stats_links),
    "m": ("how often each command was used", False, _stats_commands),
    "o": ("operators that are configured", True, _stats_opers),
    "P": ("listeners", True, _stats_listeners),
    "p": ("operators who are online", False, _stats_online_opers),
    "u": ("how long the server has been up", False, _stats_uptime),
}
"""Letter to its meaning, whether it needs the privilege `stats`, and what answers it."""


@command("STATS")
async def stats(ctx: Context, query: str = "", target: str = "") -> None:
    """STATS [<query> [<server>]]  (RFC 2812 3.4.4)

    Shows statistics: one letter, or no letter for a list of the letters.
    """
    require_this_server(ctx, target)
    letter = query[:1]
    entry = STATS.get(letter)
    if entry is not None:
        _, privileged, answer = entry
        if privileged:
            ctx.require_privilege("stats")
        await answer(ctx)
    elif not letter:
        for known, (text, _, _) in STATS.items():
            ctx.notice(f"STATS {known}: {text}")
    ctx.reply(RPL_ENDOFSTATS, letter or "*")


# --- HELP ---------------------------------------------------------------------------------------------------------


def _help_index(names: list[str]) -> Iterator[str]:
    yield "HELP <command> explains a command; HELP CMODES, UMODES, EXTBANS and SNOMASKS list modes and the like."
    yield "Commands:"
    for start in range(0, len(names), 8):
        yield "  " + " ".join(names[start : start + 8])


def _help_modes() -> Iterator[str]:
    takes = {Kind.PREFIX: "<nick>", Kind.LIST: "<mask>", Kind.KEY: "<key>", Kind.SETTING: "<value>", Kind.FLAG: ""}
    for letter in CHANNEL_MODES.letters:
        kind = CHANNEL_MODES.kinds[letter]
        yield f"+{letter} {takes[kind]:8} {CHANNEL_MODES.descriptions[letter]}"
    yield "+q <mask> stands for +b ~m:<mask>: quiet whom the mask matches."


def _help_user_modes() -> Iterator[str]:
    return (f"+{letter}  {USER_MODES.descriptions[letter]}" for letter in USER_MODES.letters)


def _help_extbans() -> Iterator[str]:
    for letter, kind in EXTBANS.items():
        yield f"{PREFIX}{letter}: {kind.shape.value}: {kind.description}"


def _help_snomasks() -> Iterator[str]:
    return (f"{letter}: {text}" for letter, text in SNOMASKS.items())


TOPICS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "CMODES": _help_modes,
    "UMODES": _help_user_modes,
    "EXTBANS": _help_extbans,
    "SNOMASKS": _help_snomasks,
}


@command("HELP")
def help_(ctx: Context, subject: str = "") -> None:
    """HELP [<subject>]

    Shows the commands, or explains one of them.
    """
    topic = subject.upper() or "*"
    known = {**ctx.server.extensions.commands, **COMMANDS}
    entry = known.get(topic)
    if topic == "*":
        lines = list(_help_index(sorted(known)))
    elif entry is not None:
        lines = entry.help.splitlines()
    elif topic in TOPICS:
        lines = list(TOPICS[topic]())
    else:
        raise NumericError(ERR_HELPNOTFOUND, subject)
    ctx.reply(RPL_HELPSTART, topic, text=lines[0])
    for line in lines[1:]:
        ctx.reply(RPL_HELPTXT, topic, text=line or " ")
    ctx.reply(RPL_ENDOFHELP, topic, text="End of HELP")


@command("HELPOP")
def helpop(ctx: Context, subject: str = "") -> None:
    """HELPOP [<subject>]

    The same as HELP.
    """
    help_(ctx, subject)
