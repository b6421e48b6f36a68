"""Another client of a user arrives: it gets the user's place, and is shown where that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slircd.commands.backlog import replay_missed, replay_on_join
from slircd.commands.metadata import sync_joined
from slircd.commands.names import send_channel_state, send_implicit_names
from slircd.commands.registry import Context
from slircd.rules.account import login_events
from slircd.rules.bouncer import NewClient, decide_attach, shared_user
from slircd.wire.capabilities import EXTENDED_JOIN
from slircd.wire.line import Line
from slircd.wire.numerics import RPL_NOWAWAY

if TYPE_CHECKING:
    from slircd.state.model import User


def user_to_share(ctx: Context, nick: str) -> User | None:
    """The user whom the client, which has proved to own an account, is a client of; None if it is to be a new one."""
    account = ctx.server.accounts.pending(ctx.session)
    if account is None:
        return None
    return shared_user(ctx.state, ctx.config.bouncer, account, nick, ctx.server.users.node)


async def attach(ctx: Context, user: User, real_host: str) -> bool:
    """Make the client one of `user`; False if it is gone meanwhile.  Raises the numeric that says why not."""
    session, server = ctx.session, ctx.server
    client = NewClient(real_host, session.address, session.secure)
    events = list(decide_attach(ctx.state, user.uid, client, most=ctx.config.bouncer.clients))
    account, login = server.accounts.pending(session), session.pending_login
    if account is not None and login is not None:
        events += list(login_events(ctx.state, user.uid, user.nick, account.name, login.method))[:1]
    await ctx.emit(events)
    if session.is_closed:
        session.release(user.uid, "Connection closed")
        return False
    session.registered_as(user.uid)
    server.users.settle_away(server, user.uid)
    return True


async def show_place(ctx: Context) -> None:
    """Where the user is: its channels, with topic and names, and that it is away.  Raises ClientGone."""
    user, session = ctx.user, ctx.session
    timestamp = ctx.server.timestamp()
    for channel in list(ctx.state.channels_of(user.uid)):
        if ctx.state.channels.get(channel.key) is not channel or ctx.uid not in channel.members:
            continue  # left meanwhile
        more = f" {user.account or '*'} :{user.realname}" if session.caps & EXTENDED_JOIN else ""
        ctx.send(Line(f":{user.source} JOIN {channel.name}{more}", timestamp=timestamp, account=user.account))
        sync_joined(ctx.server, session, channel, ctx.send)
        if send_channel_state(ctx.server, session, channel, ctx.send):
            await send_implicit_names(ctx.server, session, channel, ctx.send, ctx.next_turn)
    if user.away is not None:
        ctx.reply(RPL_NOWAWAY)


async def show_missed(ctx: Context, since: str) -> None:
    """What was said while the user had no client (`since` a moment), or, beside others, the last lines."""
    if since:
        await replay_missed(ctx.server, ctx.session, since)
    else:
        for channel in list(ctx.state.channels_of(ctx.uid)) if ctx.session.uid else ():
            await replay_on_join(ctx.server, ctx.session, channel.name)
