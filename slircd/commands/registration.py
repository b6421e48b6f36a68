"""Becoming a user: PASS, NICK, USER, and the welcome; and PING, PONG, QUIT, which work at any time."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from slircd.about import version
from slircd.commands.attach import attach, show_missed, show_place, user_to_share
from slircd.commands.features import mode_letters
from slircd.commands.messaging import is_filtered
from slircd.commands.metadata import send_own_metadata
from slircd.commands.registry import Context, Phase, command
from slircd.commands.server_info import send_isupport, send_lusers, send_motd
from slircd.events.types import Event, MetadataSet
from slircd.rules.account import login_events
from slircd.rules.bouncer import decide_arriving_always_on, may_wait_for
from slircd.rules.user import NewUser, away_event, check_nick, decide_connect, decide_nick
from slircd.security.addresses import normal_address
from slircd.wire.message import truncate_utf8
from slircd.wire.names import clean_username, valid_host
from slircd.wire.numerics import (
    ERR_NEEDMOREPARAMS,
    ERR_NICKNAMEINUSE,
    ERR_NONICKNAMEGIVEN,
    ERR_NOORIGIN,
    ERR_PASSWDMISMATCH,
    ERR_SASLABORTED,
    ERR_UNAVAILRESOURCE,
    ERR_YOUREBANNEDCREEP,
    RPL_CREATED,
    RPL_MYINFO,
    RPL_VISIBLEHOST,
    RPL_WELCOME,
    RPL_YOURHOST,
    NumericError,
)

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.network.session import Session
from slircd.state.model import User


class Step(enum.Enum):
    """What a client does on its way to become a user."""

    NICK = "NICK"
    USER = "USER"
    CAP_BEGIN = "CAP LS or CAP REQ"
    CAP_END = "CAP END"
    REFUSED = "nick refused"


class Stage(enum.Enum):
    """How far a client is; the letters say what it still owes: a nick, a user name, the end of CAP negotiation."""

    NU = "owes nick and user"
    N = "owes nick"
    U = "owes user"
    NUC = "owes nick, user and CAP END"
    NC = "owes nick and CAP END"
    UC = "owes user and CAP END"
    C = "owes CAP END"
    COMPLETE = "may become a user"


STAGES: Final[dict[tuple[Stage, Step], Stage]] = {
    (Stage.NU, Step.NICK): Stage.U,
    (Stage.NU, Step.USER): Stage.N,
    (Stage.NU, Step.CAP_BEGIN): Stage.NUC,
    (Stage.N, Step.NICK): Stage.COMPLETE,
    (Stage.N, Step.CAP_BEGIN): Stage.NC,
    (Stage.U, Step.NICK): Stage.U,
    (Stage.U, Step.USER): Stage.COMPLETE,
    (Stage.U, Step.CAP_BEGIN): Stage.UC,
    (Stage.NUC, Step.NICK): Stage.UC,
    (Stage.NUC, Step.USER): Stage.NC,
    (Stage.NUC, Step.CAP_BEGIN): Stage.NUC,
    (Stage.NUC, Step.CAP_END): Stage.NU,
    (Stage.NC, Step.NICK): Stage.C,
    (Stage.NC, Step.CAP_BEGIN): Stage.NC,
    (Stage.NC, Step.CAP_END): Stage.N,
    (Stage.UC, Step.NICK): Stage.UC,
    (Stage.UC, Step.USER): Stage.C,
    (Stage.UC, Step.CAP_BEGIN): Stage.UC,
    (Stage.UC, Step.CAP_END): Stage.U,
    (Stage.C, Step.NICK): Stage.C,
    (Stage.C, Step.CAP_BEGIN): Stage.C,
    (Stage.C, Step.CAP_END): Stage.COMPLETE,
    (Stage.COMPLETE, Step.REFUSED): Stage.N,
}
"""What each step leads to; a step that is not here changes nothing."""


class Registration:
    """What a client has said of itself before it is a user; the password is forgotten as soon as it is checked."""

    __slots__ = ("away", "metadata", "nick", "password", "realname", "stage", "username", "wanted")

    def __init__(self) -> None:
        self.stage = Stage.NU
        self.nick: str | None = None
        self.wanted = ""
        """The nick that was asked for last, given or refused."""
        self.username = ""
        self.realname = ""
        self.password: str | None = None
        self.away = ""
        """The away message that it will have from the start (IRCv3 draft/pre-away)."""
        self.metadata: dict[str, str] = {}
        """The metadata that it will have from the start."""

    def take(self, step: Step) -> None:
        """Note that the client has done `step`."""
        self.stage = STAGES.get((self.stage, step), self.stage)


# --- commands -----------------------------------------------------------------------------------------------------


@command("PASS", params=1, phase=Phase.REGISTERING)
def pass_(ctx: Context, password: str) -> None:
    """PASS <password>  (RFC 2812 3.1.1)

    The password of the server, where it asks for one; before NICK and USER.
    """
    _registration(ctx).password = password


@command("WEBIRC", params=4, phase=Phase.REGISTERING)
async def webirc(ctx: Context, password: str, gateway: str, hostname: str, address: str, options: str = "") -> None:
    """WEBIRC <password> <gateway> <hostname> <address> [<options>]  (IRCv3 webirc)

    Tells who the client of a gateway is; for gateways that the configuration names, as their first command.
    """
    session, server = ctx.session, ctx.server
    try:
        client = normal_address(address)
    except ValueError:
        client = ""
    known = session.gateway and session.received == 1
    entry = await server.gateways.authenticate(
        server.passwords, session.address, session.fingerprint(), password if known else None
    )
    if session.is_closed:
        return
    if entry is None or not client:
        server.bans.notify("f", f"WEBIRC of {session.address} ({gateway[:50]}) was refused")
        session.close("Invalid WebIRC password" if entry is None else "WEBIRC names no address")
        return
    names = {option.partition("=")[0].lower() for option in options.split()}
    session.comes_through(client, hostname if valid_host(hostname) else "", secure="secure" in names)


@command("NICK", phase=Phase.ANY)
async def nick(ctx: Context, wanted: str = "") -> None:
    """NICK <nickname>  (RFC 2812 3.1.2)

    Takes a nick, or changes it.
    """
    if not wanted:
        raise NumericError(ERR_NONICKNAMEGIVEN)
    max_length = ctx.config.limits.nicklen
    if ctx.session.is_registered:
        _check_held(ctx, wanted)
        _check_likeness(ctx, wanted)
        await ctx.emit(decide_nick(ctx.state, ctx.uid, ctx.uid, wanted, max_length))
        return
    registration = _registration(ctx)
    registration.wanted = wanted
    try:
        check_nick(ctx.state, wanted, max_length)
    except NumericError:
        # Who proves to own the account of the nick's user becomes a client of it; only the end of the registration
        # tells who does not.
        if not may_wait_for(ctx.state, ctx.config.bouncer, wanted):
            raise
    _check_held(ctx, wanted)
    _check_likeness(ctx, wanted)
    registration.nick = wanted
    registration.take(Step.NICK)
    await register_if_complete(ctx)


def _own_account(ctx: Context) -> str | None:
    """The key of the account that the client is logged in to, or will be as a user."""
    is_user = ctx.session.is_registered
    account = ctx.state.account_of(ctx.user) if is_user else ctx.server.accounts.pending(ctx.session)
    return None if account is None else account.key


def _check_held(ctx: Context, nick: str) -> None:
    """Raise ERR_UNAVAILRESOURCE if NickServ keeps the nick for its owner, who is somebody else."""
    owner = ctx.state.owner_of_nick(nick)
    if owner is None or not ctx.server.enforcement.holds(nick):
        return
    if _own_account(ctx) != owner.key:
        raise NumericError(ERR_UNAVAILRESOURCE, nick)


def _check_likeness(ctx: Context, nick: str) -> None:
    """Raise ERR_NICKNAMEINUSE if the nick looks like one of somebody else, online or registered."""
    known = ctx.server.lookalikes
    if known is None:
        return
    session, state = ctx.session, ctx.state
    key = _own_account(ctx)
    owner = known.owner(nick, ((name, each.key) for each in state.accounts.values() for name in each.nicks.values()))
    taken = any(uid != session.uid for uid in known.holders(nick))
    if taken or (owner is not None and owner != key):
        raise NumericError(ERR_NICKNAMEINUSE, nick, text="This nick looks like another one")


@command("USER", params=4, phase=Phase.REGISTERING)
async def user(ctx: Context, username: str, _mode: str, _unused: str, realname: str) -> None:
    """USER <username> 0 * <realname>  (RFC 2812 3.1.3)

    Tells who the user is; once, while registering.
    """
    if not username or not realname:
        raise NumericError(ERR_NEEDMOREPARAMS, "USER")
    registration = _registration(ctx)
    limits = ctx.config.limits
    registration.username = clean_username(username, limits.userlen - 1)
    registration.realname = truncate_utf8(realname, limits.reallen)
    registration.take(Step.USER)
    await register_if_complete(ctx)


@command("PING", phase=Phase.ANY, free=True)
def ping(ctx: Context, token: str = "") -> None:
    """PING <token>  (RFC 2812 3.7.2)

    Asks for a PONG.
    """
    if not token:
        raise NumericError(ERR_NOORIGIN)
    ctx.from_server(f"PONG {ctx.server.server_name} :{token}", free=True)


@command("PONG", phase=Phase.ANY, free=True)
def pong(ctx: Context) -> None:
    """PONG <token>  (RFC 2812 3.7.3)

    Answers a PING of the server; any line does as well.
    """


@command("QUIT", phase=Phase.ANY)
def quit_(ctx: Context, reason: str = "") -> None:
    """QUIT [<reason>]  (RFC 2812 3.1.7)

    Leaves the network.
    """
    text = truncate_utf8(reason, ctx.config.limits.quitlen)
    if text and ctx.session.is_registered and is_filtered(ctx, text):
        text = ""
    reason = f"Quit: {text}" if text else "Client quit"
    farewell = f":{ctx.user.source} QUIT :{reason}" if ctx.session.is_registered else ""
    ctx.session.close(reason, farewell=farewell)


# --- completing ---------------------------------------------------------------------------------------------------


def _registration(ctx: Context) -> Registration:
    registration = ctx.session.registration
    if registration is None:
        raise RuntimeError("the registry let a registered client register")
    return registration


async def register_if_complete(ctx: Context) -> None:
    """Make the client a user if it has done all that it owes."""
    registration = _registration(ctx)
    session, server = ctx.session, ctx.server
    if registration.stage is not Stage.COMPLETE or session.is_closed:
        return
    if session.gateway and not session.admit():
        return
    if not await _password_is_right(server, registration):
        ctx.reply(ERR_PASSWDMISMATCH)
        session.close("Bad password")
        return
    if not await _is_welcome(ctx, registration) or session.is_closed or registration.nick is None:
        return
    if session.sasl is not None:
        session.end_sasl()
        ctx.reply(ERR_SASLABORTED)
    session.certfp = session.fingerprint()
    real_host = _as_parameter(session.hostname or session.address or "localhost")
    shared = user_to_share(ctx, registration.nick)
    if shared is not None:
        await _share(ctx, shared, registration, real_host)
        return
    uid, number = server.users.new_uid()
    host, modes = _host_and_modes(server, session)
    new = NewUser(
        uid=uid,
        number=number,
        node=server.users.node,
        nick=registration.nick,
        username="~" + registration.username,
        host=host,
        real_host=real_host,
        ip=session.address,
        realname=registration.realname,
        modes=modes,
        secure=session.secure,
        certfp=session.certfp,
    )
    # The session has to be known before the event is rendered, and is nobody's again if it is refused.
    server.users.attach(uid, session)
    try:
        await ctx.emit(_decide_arrival(ctx, new))
    except NumericError:
        registration.nick = None
        registration.take(Step.REFUSED)
        raise
    finally:
        if uid not in server.state.users:
            server.users.detach(uid, session)
    _take_away(session, registration)
    if _is_closed(session):
        session.release(uid, "Connection closed")
        return
    session.registered_as(uid)
    _welcome(ctx)


def _take_away(session: Session, registration: Registration) -> None:
    session.away = registration.away or None
    session.away_since_s = session.server.reactor.seconds()


async def _share(ctx: Context, user: User, registration: Registration, real_host: str) -> None:
    """The client becomes one of a user who is there."""
    since = user.detached_at
    _take_away(ctx.session, registration)
    try:
        if not await attach(ctx, user, real_host):
            return
    except NumericError:
        registration.nick = None
        registration.take(Step.REFUSED)
        raise
    _welcome(ctx)
    await show_place(ctx)
    await show_missed(ctx, since)


def _decide_arrival(ctx: Context, new: NewUser) -> Iterator[Event]:
    """The client becomes a user, logged in if it has proved to own an account that is still there."""
    yield from decide_connect(ctx.state, new)
    login, account = ctx.session.pending_login, ctx.server.accounts.pending(ctx.session)
    if login is not None and account is not None:
        yield from login_events(ctx.state, new.uid, new.nick, account.name, login.method)
        yield from decide_arriving_always_on(ctx.state, new.uid, new.nick, account, ctx.config.bouncer)
    registration = _registration(ctx)
    if registration.away:
        yield away_event(new.uid, new.nick, registration.away)
    for key, value in registration.metadata.items():
        yield MetadataSet(
            actor_uid=new.uid, target=new.uid, nick=new.nick, name=new.nick, key=key, value=value, previous=""
        )


def _is_closed(session: Session) -> bool:
    """Asked anew: the client may have gone while its decision was ordered."""
    return session.is_closed


async def _is_welcome(ctx: Context, registration: Registration) -> bool:
    """Whether no network ban and no block list keeps the client out; it is told, and closed, if one does."""
    session, server = ctx.session, ctx.server
    waiting, session.blocklisted = session.blocklisted, None
    reason = await waiting if waiting is not None else None
    hosts = (session.address, session.hostname or session.address, server.cloak.cloak(session.address))
    username = "~" + registration.username
    ban = server.bans.tables.for_user(username, hosts, session.address, registration.realname)
    if ban is not None:
        reason = f"Banned: {ban.reason}"
    if reason is None:
        return True
    server.measures.refused["dnsbl" if ban is None else "ban"] += 1
    server.bans.notify("f", f"refused {registration.nick} ({session.address}): {reason}")
    ctx.reply(ERR_YOUREBANNEDCREEP, text=reason)
    session.close(reason)
    return False


async def _password_is_right(server: IRCServer, registration: Registration) -> bool:
    password, registration.password = registration.password, None
    wanted = server.config.server.password_hash
    if wanted is None:
        return True
    return password is not None and await server.passwords.verify(wanted, password)


def _host_and_modes(server: IRCServer, session: Session) -> tuple[str, str]:
    modes = set(server.config.server.default_user_modes)
    host = session.hostname or session.address or "localhost"
    if server.config.cloak.enabled:
        modes.add("x")
        host = server.cloak.cloak(session.address)
    if session.secure:
        modes.add("Z")
    return _as_parameter(host), "".join(sorted(modes))


def _as_parameter(host: str) -> str:
    """An address that begins with a colon would be taken for a trailing parameter."""
    return f"0{host}" if host.startswith(":") else host


def _welcome(ctx: Context) -> None:
    server, user = ctx.server, ctx.user
    letters = mode_letters()
    ctx.reply(RPL_WELCOME, text=f"Welcome to the {ctx.config.server.network} Network, {user.source}")
    ctx.reply(RPL_YOURHOST, text=f"Your host is {server.server_name}, running version slircd-{version()}")
    ctx.reply(RPL_CREATED, text=f"This server was started {server.started_at[:19].replace('T', ' ')} UTC")
    ctx.reply(RPL_MYINFO, server.server_name, f"slircd-{version()}", *letters)
    send_isupport(ctx)
    send_lusers(ctx)
    send_own_metadata(ctx)
    send_motd(ctx)
    ctx.send_text(f":{user.source} MODE {user.nick} +{''.join(sorted(user.modes))}")
    if "x" in user.modes:
        ctx.reply(RPL_VISIBLEHOST, user.host)
