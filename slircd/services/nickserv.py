"""NickServ: accounts and their nicks, for people."""

from __future__ import annotations

from typing import Final

from slircd.events.clock import parse_timestamp
from slircd.rules.account import (
    SETTINGS,
    decide_account_set,
    decide_cert,
    decide_group,
    decide_logout,
    decide_ungroup,
)
from slircd.rules.bouncer import CHOICES
from slircd.rules.user import disconnect_event
from slircd.services.dispatch import Refused, Service, ServiceContext
from slircd.state.access import NICKSERV
from slircd.state.model import Account
from slircd.wire.masks import matches_glob
from slircd.wire.numerics import RPL_LOGGEDOUT

nickserv: Final = Service("NickServ", NICKSERV, "NickServ keeps accounts, and the nicks that belong to them.")

LIST_LIMIT: Final = 50
MAX_AUTOREPLAY: Final = 500
"""Lines that somebody can wish to see on joining."""


@nickserv.command("REGISTER", params=1)
async def register(ctx: ServiceContext, password: str, email: str = "") -> None:
    """REGISTER <password> [<e-mail>]

    Makes an account with the name of your nick.
    """
    accounts = ctx.server.accounts
    account = await accounts.register(ctx.ctx, ctx.ctx.nick, email, password)
    if account.verified:
        ctx.reply(f"The account {account.name} is yours.")
    else:
        ctx.reply("A code was mailed to you: /msg NickServ VERIFY <account> <code>")


@nickserv.command("VERIFY", params=2)
async def verify(ctx: ServiceContext, name: str, code: str) -> None:
    """VERIFY <account> <code>

    Proves the e-mail address of an account with the code that was mailed.
    """
    account = await ctx.server.accounts.verify(ctx.ctx, name, code)
    ctx.reply(f"The e-mail address of {account.name} is proved.")


@nickserv.command("IDENTIFY", "ID", "LOGIN", params=1)
async def identify(ctx: ServiceContext, first: str, second: str = "") -> None:
    """IDENTIFY [<account>] <password>

    Logs you in.
    """
    name, password = (first, second) if second else (ctx.ctx.nick, first)
    accounts = ctx.server.accounts
    account = await accounts.authenticate(ctx.ctx.session.address, name, password)
    if ctx.ctx.session.is_registered:
        await accounts.log_in(ctx.ctx, account, "password")
        ctx.reply(f"You are now logged in as {account.name}.")


@nickserv.command("LOGOUT", account=True)
async def logout(ctx: ServiceContext) -> None:
    """LOGOUT

    Logs you out.
    """
    await ctx.emit(decide_logout(ctx.state, ctx.ctx.uid))
    ctx.ctx.reply(RPL_LOGGEDOUT, ctx.ctx.user.source)
    ctx.reply("You are logged out.")


# --- nicks --------------------------------------------------------------------------------------------------------


async def _prove(ctx: ServiceContext, nick: str, password: str) -> Account:
    """The account that owns `nick`, if who asks does, too."""
    owner = ctx.state.owner_of_nick(nick)
    if owner is None:
        raise Refused(f"{nick} is not registered.")
    if ctx.state.account_of(ctx.ctx.user) is owner:
        return owner
    if not password:
        raise Refused(f"{nick} is not yours.  If it is: add the password.")
    return await ctx.server.accounts.authenticate(ctx.ctx.session.address, owner.name, password)


async def _free(ctx: ServiceContext, nick: str) -> None:
    """Disconnect whoever else has the nick."""
    holder = ctx.state.user_by_nick(nick)
    if holder is not None and holder.uid != ctx.ctx.uid:
        reason = f"Disconnected by {ctx.ctx.nick}, who owns this nick"
        await ctx.emit([disconnect_event(holder, ctx.ctx.uid, reason)])


@nickserv.command("GHOST", params=1)
async def ghost(ctx: ServiceContext, nick: str, password: str = "") -> None:
    """GHOST <nick> [<password>]

    Disconnects who has a nick that belongs to you.
    """
    if ctx.state.user_by_nick(nick) is None:
        raise Refused(f"Nobody has the nick {nick}.")
    if ctx.state.fold(nick) == ctx.state.fold(ctx.ctx.nick):
        raise Refused("You cannot ghost yourself.")
    await _prove(ctx, nick, password)
    await _free(ctx, nick)
    ctx.reply(f"{nick} is free.")


@nickserv.command("RELEASE", params=1)
async def release(ctx: ServiceContext, nick: str, password: str = "") -> None:
    """RELEASE <nick> [<password>]

    Lets go of a nick that NickServ holds for you.
    """
    await _prove(ctx, nick, password)
    if not ctx.server.enforcement.release(nick):
        raise Refused(f"{nick} is not held.")
    ctx.reply(f"{nick} is free.")


@nickserv.command("REGAIN", "RECOVER", params=1)
async def regain(ctx: ServiceContext, nick: str, password: str = "") -> None:
    """REGAIN <nick> [<password>]

    Disconnects who has a nick that belongs to you, logs you in, and gives you the nick.
    """
    from slircd.rules.user import decide_nick

    account = await _prove(ctx, nick, password)
    await _free(ctx, nick)
    ctx.server.enforcement.release(nick)
    if ctx.state.account_of(ctx.ctx.user) is not account:
        await ctx.server.accounts.log_in(ctx.ctx, account, "password")
    max_length = ctx.ctx.config.limits.nicklen
    await ctx.emit(decide_nick(ctx.state, ctx.ctx.uid, ctx.ctx.uid, nick, max_length))
    ctx.reply(f"You have {nick} again.")


@nickserv.command("GROUP", account=True)
async def group(ctx: ServiceContext) -> None:
    """GROUP

    Adds the nick that you have now to your account.
    """
    await ctx.emit(decide_group(ctx.state, ctx.ctx.user, ctx.account, ctx.ctx.config.accounts.nicks))
    ctx.reply(f"{ctx.ctx.nick} belongs to your account now.")


@nickserv.command("UNGROUP", account=True)
async def ungroup(ctx: ServiceContext, nick: str = "") -> None:
    """UNGROUP [<nick>]

    Takes a nick off your account.
    """
    nick = nick or ctx.ctx.nick
    await ctx.emit(decide_ungroup(ctx.state, ctx.ctx.user, ctx.account, nick))
    ctx.reply(f"{nick} belongs to your account no longer.")


@nickserv.command("DROP", params=1, account=True)
async def drop(ctx: ServiceContext, password: str) -> None:
    """DROP <password>

    Removes your account, with its nicks; your channels go to their successors or are dropped.
    """
    name = ctx.account.name
    account = await ctx.server.accounts.authenticate(ctx.ctx.session.address, name, password)
    await ctx.server.accounts.drop(ctx.ctx.user, account)
    ctx.reply(f"The account {name} is removed.")


# --- asking -------------------------------------------------------------------------------------------------------


def _date(timestamp: str) -> str:
    return f"{timestamp[:10]} {timestamp[11:19]} UTC"


@nickserv.command("INFO")
async def info(ctx: ServiceContext, name: str = "") -> None:
    """INFO [<nick or account>]

    Shows what is known of an account.
    """
    name = name or ctx.ctx.nick
    account = ctx.state.account_named(name) or ctx.state.owner_of_nick(name)
    if account is None:
        raise Refused(f"{name} is not registered.")
    mine = ctx.state.account_of(ctx.ctx.user) is account
    staff = ctx.ctx.has_privilege("see-hidden")
    ctx.reply(f"{account.name}, registered {_date(account.registered_at)}")
    if account.is_set("private") and not (mine or staff):
        return
    ctx.reply(f"Nicks: {', '.join(account.nicks.values())}")
    peers = ctx.state.peers_of(ctx.ctx.uid)
    # Who asks for a nick of the account learns that it is online (ISON); under which other nicks it is, it does not.
    online = [
        user.nick
        for user in ctx.state.users_of_account(account.key)
        if mine or staff or "i" not in user.modes or user.uid in peers or ctx.state.fold(user.nick) in account.nicks
    ]
    ctx.reply(f"Online as: {', '.join(online) or 'nobody'}")
    if mine:
        email = ctx.server.accounts.email_of(account)
        ctx.reply(f"E-mail: {email or 'none'}; certificates: {len(account.certfps)}")
        ctx.reply(f"Settings: {', '.join(sorted(account.settings)) or 'none'}")
    if not account.verified:
        ctx.reply("The e-mail address is not proved yet.")


@nickserv.command("SESSIONS", account=True)
async def sessions(ctx: ServiceContext) -> None:
    """SESSIONS

    Shows who is logged in to your account.
    """
    now = ctx.server.epoch_s()
    for user in ctx.state.users_of_account(ctx.account.key):
        minutes = int(now - parse_timestamp(user.connected_at)) // 60
        tls = ", TLS" if user.secure else ""
        ctx.reply(f"{user.nick} from {user.real_host}, for {minutes} minutes{tls}")


@nickserv.command("LIST", params=1)
async def list_(ctx: ServiceContext, pattern: str) -> None:
    """LIST <pattern>

    Shows accounts whose name or nick matches; for IRC operators.
    """
    ctx.ctx.require_privilege("see-hidden")
    found = [
        account
        for account in ctx.state.accounts.values()
        if any(matches_glob(ctx.state.fold(pattern), nick) for nick in account.nicks)
    ]
    for account in found[:LIST_LIMIT]:
        ctx.reply(f"{account.name} ({', '.join(account.nicks.values())}) {_date(account.registered_at)}")
    ctx.reply(f"{len(found)} found" + (f", the first {LIST_LIMIT} shown" if len(found) > LIST_LIMIT else ""))


@nickserv.command("SAREGISTER", params=2)
async def saregister(ctx: ServiceContext, name: str, password: str, email: str = "") -> None:
    """SAREGISTER <account> <password> [<e-mail>]

    Makes an account for somebody else, also where registration is closed; for IRC operators.
    """
    ctx.ctx.require_privilege("saregister")
    account = await ctx.server.accounts.register_for(ctx.ctx, name, email, password)
    ctx.server.bans.notify("o", f"{ctx.ctx.nick} registered the account {account.name} for somebody (SAREGISTER)")
    ctx.reply(f"The account {account.name} is registered.")


# --- settings -----------------------------------------------------------------------------------------------------


@nickserv.command("SET", params=2, account=True)
async def set_(ctx: ServiceContext, setting: str, value: str) -> None:
    """SET PASSWORD <password> | EMAIL <address or none> | ENFORCE | HIDEMAIL | PRIVATE | NOHISTORY | NEVEROP ON | OFF
    SET MULTICLIENT | ALWAYS-ON ON | OFF | DEFAULT, SET AUTOREPLAY <lines> | DEFAULT

    Changes a setting of your account.
    """
    name = setting.lower()
    accounts, user = ctx.server.accounts, ctx.ctx.user
    if name == "password":
        others = await accounts.set_password(ctx.ctx, ctx.account, value)
        ctx.reply(f"Your other clients were disconnected: {others}.")
    elif name == "email":
        if not await accounts.set_email(ctx.ctx, ctx.account, "" if value.lower() == "none" else value):
            ctx.reply(f"A code was mailed there: /msg NickServ VERIFY {ctx.account.name} <code>")
            return
    elif name in SETTINGS:
        chosen = _switch(value)
        if chosen not in ("on", "off"):
            raise Refused(f"{setting.upper()} is ON or OFF: {SETTINGS[name]}")
        await ctx.emit(decide_account_set(user, ctx.account, name, chosen))
    elif name in CHOICES:
        await _set_choice(ctx, name, _switch(value))
    elif name == "autoreplay":
        most = MAX_AUTOREPLAY
        if value.lower() != "default" and not (value.isascii() and value.isdigit() and int(value[:9]) <= most):
            raise Refused(f"AUTOREPLAY is a number of lines from 0 to {most}, or DEFAULT")
        lines = "" if value.lower() == "default" else str(int(value))
        await ctx.emit(decide_account_set(user, ctx.account, name, lines))
    else:
        names = ", ".join(map(str.upper, (*SETTINGS, *CHOICES)))
        raise Refused(f"{setting.upper()} is no setting: PASSWORD, EMAIL, AUTOREPLAY, {names}")
    ctx.reply(f"{setting.upper()} is set.")


def _switch(value: str) -> str:
    """`on` and `off` in the words that people use on other networks, too."""
    word = value.lower()
    return {"true": "on", "yes": "on", "false": "off", "no": "off"}.get(word, word)


async def _set_choice(ctx: ServiceContext, name: str, value: str) -> None:
    """MULTICLIENT, ALWAYS-ON: what the account chooses where the network leaves it the choice."""
    if value not in ("on", "off", "default"):
        raise Refused(f"{name.upper()} is ON, OFF or DEFAULT: {CHOICES[name]}")
    bouncer = ctx.ctx.config.bouncer
    policy = bouncer.multiclient if name == "multiclient" else bouncer.always_on
    if policy == "off" and value == "on":
        raise Refused(f"{name.upper()} is not possible on this network")
    chosen = "" if value == "default" else value
    await ctx.emit(decide_account_set(ctx.ctx.user, ctx.account, name, chosen))
    if name == "always-on":
        await ctx.server.accounts.settle_always_on(ctx.account)


@nickserv.command("CLIENTS", params=1, account=True)
async def clients(ctx: ServiceContext, action: str, which: str = "") -> None:
    """CLIENTS LIST | LOGOUT <number> | LOGOUT ALL

    Shows the clients that are logged in to your account, or disconnects one, or all but this one.
    """
    verb, users = action.upper(), ctx.server.users
    found = [
        (user, session)
        for user in ctx.state.users_of_account(ctx.account.key)
        for session in users.sessions_of(user.uid)
    ]
    if verb == "LIST":
        now = ctx.server.reactor.seconds()
        for number, (user, session) in enumerate(found, 1):
            own = " (this one)" if session is ctx.ctx.session else ""
            tls = ", TLS" if session.secure else ""
            minutes = int(now - session.connected_s) // 60
            ctx.reply(f"{number}. {user.nick} from {session.address or 'unix'}, for {minutes} minutes{tls}{own}")
        return
    if verb != "LOGOUT" or not (which.upper() == "ALL" or (which.isascii() and which.isdigit())):
        raise Refused("CLIENTS LIST, CLIENTS LOGOUT <number> or CLIENTS LOGOUT ALL")
    number = int(which[:9]) if which.isdigit() else 0
    if number > len(found) or (which.isdigit() and not number):
        raise Refused(f"You have {len(found)} clients: CLIENTS LIST")
    ended = [session for _, session in found if session is not ctx.ctx.session]
    if number:
        ended = [found[number - 1][1]]
    ctx.reply(f"{len(ended)} disconnected.")
    for session in ended:
        session.close(f"Logged out by {ctx.ctx.nick}")


@nickserv.command("CERT", params=1, account=True)
async def cert(ctx: ServiceContext, action: str, fingerprint: str = "") -> None:
    """CERT LIST | ADD [<fingerprint>] | DEL <fingerprint>

    Certificates that log you in (SASL EXTERNAL); ADD alone takes the one of this connection.
    """
    verb = action.upper()
    if verb == "LIST":
        for known, since in ctx.account.certfps.items():
            ctx.reply(f"{known} since {_date(since)}")
        ctx.reply(f"{len(ctx.account.certfps)} fingerprints")
        return
    if verb not in ("ADD", "DEL"):
        raise Refused("CERT LIST, CERT ADD or CERT DEL")
    wanted = (fingerprint or ctx.ctx.session.certfp or "").replace(":", "").lower()
    if len(wanted) != 64 or wanted.strip("0123456789abcdef"):
        raise Refused("A fingerprint is the SHA-256 of a certificate, 64 hexadecimal digits.")
    most = ctx.ctx.config.accounts.certfps
    await ctx.emit(decide_cert(ctx.state, ctx.ctx.user, ctx.account, wanted, added=verb == "ADD", most=most))
    ctx.reply("Done.")


@nickserv.command("SENDPASS", params=1)
async def sendpass(ctx: ServiceContext, name: str) -> None:
    """SENDPASS <account>

    Mails a code with which you can set a new password.
    """
    await ctx.server.accounts.send_reset(ctx.ctx, name)
    ctx.reply("If this account has an e-mail address, a code is on its way there.")


@nickserv.command("RESETPASS", params=3)
async def resetpass(ctx: ServiceContext, name: str, code: str, password: str) -> None:
    """RESETPASS <account> <code> <password>

    Sets a new password with the code that was mailed.
    """
    await ctx.server.accounts.reset(ctx.ctx, name, code, password)
    ctx.reply("The password is set.")
