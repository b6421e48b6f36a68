"""The network as it is now, in pages: 50,000 users are never one document."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import Annotated, Final, TypeVar

from msgspec import Meta

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

T = TypeVar("T")


class PageQuery(Query, frozen=True, kw_only=True):
    """Which part of a list."""

    after: Annotated[Text | None, Meta(description="Only what comes after this in the list's order")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="At most so many")] = DEFAULT_LIMIT


def take(call: Call, items: Iterable[T], key: Callable[[T], str], query: PageQuery) -> list[T]:
    """A page of a list by its key, with a Link to the next one."""
    after = query.after
    wanted = items if after is None else (item for item in items if key(item) > after)
    found = nsmallest(query.limit, wanted, key=key)
    if len(found) == query.limit:
        call.link_next(after=key(found[-1]))
    return found


@route("GET", "/admin/channels", tag="now")
async def channels(call: Call, query: PageQuery) -> list[ChannelView]:
    """The channels, by casefolded name."""
    found = take(call, call.state.channels.values(), lambda channel: channel.key, query)
    return [channel_view(call.state, channel, show_keys=False) for channel in found]


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
    found = take(call, call.state.users.values(), lambda user: user.uid, query)
    return [user_view(call.state, user) for user in found]


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
    return [account_view(each) for each in take(call, call.state.accounts.values(), lambda each: each.key, query)]


@route("GET", "/admin/bans", tag="now")
async def bans(call: Call, query: PageQuery) -> list[BanView]:
    """The network bans, by kind and casefolded mask."""
    items = [
        (f"{kind} {mask}", kind, ban) for kind, entries in call.state.bans.items() for mask, ban in entries.items()
    ]
    return [ban_view(kind, ban) for _, kind, ban in take(call, items, lambda item: item[0], query)]
