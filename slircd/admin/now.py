"""The network as it is now, in pages: 50,000 users are never one document."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated, Final

from msgspec import Meta

from slircd.admin.answers import Encoded, encode
from slircd.admin.call import Call
from slircd.admin.errors import HTTPError
from slircd.admin.query import Query, Text
from slircd.admin.routes import route
from slircd.replay.document import (
    AccountView,
    BanView,
    ChannelView,
    UserView,
    account_view,
    ban_view,
    channel_view,
    user_view,
)

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
"""What one turn of the reactor can encode."""

TURN_ROWS: Final = 1000
"""Channels and members that are looked at in one turn of the reactor."""


class PageQuery(Query, frozen=True, kw_only=True):
    """Which part of a list."""

    after: Annotated[Text | None, Meta(description="Only what comes after this in the list's order")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="At most so many")] = DEFAULT_LIMIT


def take(call: Call, keys: Iterable[str], query: PageQuery) -> list[str]:
    """A page of a list by its keys, with a Link to the next one; what is in order already costs next to nothing."""
    ordered = sorted(keys)
    start = 0 if query.after is None else bisect_right(ordered, query.after)
    found = ordered[start : start + query.limit]
    if start + query.limit < len(ordered):
        call.link_next(after=found[-1])
    return found


@route("GET", "/admin/channels", tag="now", returns=list[ChannelView])
async def channels(call: Call, query: PageQuery) -> Encoded:
    """The channels, by casefolded name."""
    views: list[ChannelView] = []
    rows = 0
    for key in take(call, call.state.channels, query):
        found = call.state.channels.get(key)
        if found is None:  # it ended in one of the turns
            continue
        views.append(channel_view(call.state, found, show_keys=False))
        rows += 1 + len(found.members)
        if rows >= TURN_ROWS:
            rows = 0
            await call.turn()
    return Encoded(await call.backend.run(encode, views))


@route("GET", "/admin/channels/<path:name>", tag="now", problems=(404,))
async def channel(call: Call, name: str) -> ChannelView:
    """One channel, by name."""
    found = call.state.channel_by_name(name)
    if found is None:
        raise HTTPError(404, "No such channel")
    return channel_view(call.state, found, show_keys=False)


@route("GET", "/admin/users", tag="now")
async def users(call: Call, query: PageQuery) -> list[UserView]:
    """The users, by UID."""
    users = call.state.users
    return [user_view(call.state, users[uid]) for uid in take(call, users, query)]


@route("GET", "/admin/users/<path:name>", tag="now", problems=(404,))
async def user(call: Call, name: str) -> UserView:
    """One user, by UID or nick."""
    found = call.state.users.get(name) or call.state.user_by_nick(name)
    if found is None:
        raise HTTPError(404, "No such user")
    return user_view(call.state, found)


@route("GET", "/admin/accounts", tag="now")
async def accounts(call: Call, query: PageQuery) -> list[AccountView]:
    """The registered accounts, by casefolded name."""
    accounts = call.state.accounts
    return [account_view(accounts[key]) for key in take(call, accounts, query)]


@route("GET", "/admin/bans", tag="now")
async def bans(call: Call, query: PageQuery) -> list[BanView]:
    """The network bans, by kind and casefolded mask."""
    items = {f"{kind} {mask}": (kind, ban) for kind, found in call.state.bans.items() for mask, ban in found.items()}
    return [ban_view(*items[key]) for key in take(call, items, query)]
