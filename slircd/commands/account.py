"""Accounts on the wire: AUTHENTICATE, REGISTER, VERIFY; and NICKSERV and CHANSERV as commands."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from slircd.commands.registry import Context, Phase, command
from slircd.rules.account import AccountError
from slircd.services.chanserv import chanserv
from slircd.services.nickserv import nickserv
from slircd.services.sasl import begin, mechanisms
from slircd.state.model import Account
from slircd.wire.numerics import (
    ERR_NEEDMOREPARAMS,
    ERR_SASLABORTED,
    ERR_SASLFAIL,
    ERR_SASLTOOLONG,
    RPL_SASLMECHS,
    RPL_SASLSUCCESS,
    NumericError,
    StandardReply,
)

CHUNK: Final = 400
MAX_SASL: Final = 8192
"""Characters of one SASL message, all its chunks together."""


# --- SASL ---------------------------------------------------------------------------------------------------------


@command("AUTHENTICATE", params=1, phase=Phase.ANY)
async def authenticate(ctx: Context, data: str) -> None:
    """AUTHENTICATE <mechanism> | <base64> | + | *  (IRCv3 sasl-3.2)

    Logs in to an account.
    """
    session = ctx.session
    if session.sasl is None:
        _begin(ctx, data.upper())
        return
    if data == "*":
        session.end_sasl()
        ctx.reply(ERR_SASLABORTED)
        return
    if len(data) > CHUNK or len(session.sasl_data) + len(data) > MAX_SASL:
        session.end_sasl()
        ctx.reply(ERR_SASLTOOLONG if len(data) > CHUNK else ERR_SASLFAIL)
        return
    if data != "+":
        session.sasl_data += data
        if len(data) == CHUNK:
            return
    text, session.sasl_data = session.sasl_data, ""
    await _step(ctx, text)


def _begin(ctx: Context, mechanism: str) -> None:
    known = mechanisms(ctx.server.accounts, ctx.session)
    if mechanism not in known:
        ctx.reply(RPL_SASLMECHS, ",".join(known))
        ctx.reply(ERR_SASLFAIL)
        return
    ctx.session.sasl = begin(ctx.server.accounts, ctx.session, mechanism)
    ctx.session.sasl_mechanism = mechanism
    ctx.send_text("AUTHENTICATE +")


async def _step(ctx: Context, text: str) -> None:
    session = ctx.session
    exchange = session.sasl
    if exchange is None:
        return
    try:
        result = await exchange.step(b64decode(text, validate=True))
        if session.sasl is not exchange:
            return
        if isinstance(result, Account):
            method = session.sasl_mechanism
            session.end_sasl()
            await ctx.server.accounts.log_in(ctx, result, method)
            ctx.reply(RPL_SASLSUCCESS)
            return
    except (AccountError, ValueError):  # binascii.Error, and what b64decode says of letters that are not ASCII
        session.end_sasl()
        session.failures += 1
        ctx.reply(ERR_SASLFAIL)
        return
    encoded = b64encode(result).decode()
    for start in range(0, len(encoded) + 1, CHUNK):
        ctx.send_text(f"AUTHENTICATE {encoded[start : start + CHUNK] or '+'}")


# --- draft/account-registration -----------------------------------------------------------------------------------


def _fail(ctx: Context, code: str, account: str, text: str) -> StandardReply:
    return StandardReply("FAIL", code, account, text=text, always=True)


@command("REGISTER", params=3, phase=Phase.ANY)
async def register(ctx: Context, name: str, email: str, password: str) -> None:
    """REGISTER <account | *> <e-mail | *> <password>  (IRCv3 draft/account-registration)

    Makes an account.
    """
    session = ctx.session
    account = name
    if name == "*":
        wanted = session.registration.wanted if session.registration is not None else ctx.nick
        if not wanted or wanted == "*":
            raise _fail(ctx, "NEED_NICK", "*", "Choose a nick first")
        account = wanted
    if not session.is_registered and not ctx.config.accounts.before_connect:
        raise _fail(ctx, "COMPLETE_CONNECTION_REQUIRED", account, "Register after you have connected")
    if session.is_registered and ctx.user.account is not None:
        raise _fail(ctx, "ALREADY_AUTHENTICATED", ctx.user.account, "You are logged in already")
    try:
        made = await ctx.server.accounts.register(ctx, account, "" if email == "*" else email, password)
    except AccountError as error:
        raise _fail(ctx, error.code, account, error.text) from None
    verdict = "SUCCESS" if made.verified else "VERIFICATION_REQUIRED"
    text = "The account is yours" if made.verified else "A code was mailed to you: VERIFY <account> <code>"
    ctx.from_server(f"REGISTER {verdict} {made.name} :{text}")


@command("VERIFY", params=2, phase=Phase.ANY)
async def verify(ctx: Context, name: str, code: str) -> None:
    """VERIFY <account> <code>  (IRCv3 draft/account-registration)

    Proves the e-mail address of an account.
    """
    try:
        account = await ctx.server.accounts.verify(ctx, name, code)
    except AccountError as error:
        raise _fail(ctx, error.code, name, error.text) from None
    ctx.from_server(f"VERIFY SUCCESS {account.name} :The account is yours")


# --- services as commands -----------------------------------------------------------------------------------------


@command("NICKSERV")
async def nickserv_(ctx: Context, *words: str) -> None:
    """NICKSERV <command>

    Says something to NickServ.
    """
    if not words:
        raise NumericError(ERR_NEEDMOREPARAMS, "NICKSERV")
    await nickserv.handle(ctx, " ".join(words))


@command("NS")
async def ns(ctx: Context, *words: str) -> None:
    """NS <command>

    The same as NICKSERV.
    """
    await nickserv_(ctx, *words)


@command("CHANSERV")
async def chanserv_(ctx: Context, *words: str) -> None:
    """CHANSERV <command>

    Says something to ChanServ.
    """
    if not words:
        raise NumericError(ERR_NEEDMOREPARAMS, "CHANSERV")
    await chanserv.handle(ctx, " ".join(words))


@command("CS")
async def cs(ctx: Context, *words: str) -> None:
    """CS <command>

    The same as CHANSERV.
    """
    await chanserv_(ctx, *words)
