"""The server at a moment, piece by piece: a page of channels, one channel, a page of users.

A whole document of fifty thousand users is megabytes.  A page shows little of it at a time, so the states of the last
few moments are kept, and each question is answered with the piece that it asks for.  A later moment continues from the
state of an earlier one, so that going forward costs the events in between and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from slircd.admin.answers import Encoded
from slircd.admin.call import Call
from slircd.admin.errors import HTTPError
from slircd.admin.query import Moment as At
from slircd.admin.query import Query, Text
from slircd.admin.routes import route
from slircd.admin.turns import page_in_turns, select_in_turns
from slircd.events.reader import LogReader
from slircd.replay.document import (
    AccountView,
    BanView,
    ChannelView,
    Position,
    UserView,
    account_view,
    ban_views,
    channel_view,
    user_view,
)
from slircd.replay.reconstructor import Replayed, StateReconstructor, replay
from slircd.state.model import Channel, ServerState, User

KEPT: Final = 2
"""States in memory: two moments are compared with each other."""

FORWARD: Final = 50_000
"""Events that are rather applied to a kept state than to begin anew."""

MAX_PAGE: Final = 1000

T = TypeVar("T")


class Counts(msgspec.Struct, kw_only=True):
    """How many there are."""

    channels: int
    users: int
    accounts: int
    bans: int


class Moment(msgspec.Struct, kw_only=True):
    """A moment, and how much there was then."""

    at: str | None
    """The moment that was asked for; None: now."""
    position: Position
    counts: Counts


class ChannelSummary(msgspec.Struct, kw_only=True):
    """A line of the list of channels."""

    key: str
    name: str
    members: int
    modes: str
    topic: str
    bans: int
    registered: bool


class UserSummary(msgspec.Struct, kw_only=True):
    """A line of the list of users."""

    uid: str
    nick: str
    username: str
    host: str
    account: str | None
    oper: str | None
    away: bool
    secure: bool
    channels: int


class Page(msgspec.Struct, kw_only=True):
    """Some lines of a list."""

    position: Position
    total: int
    """How many there are."""
    matching: int
    """And how many of them fit the filter."""
    offset: int
    items: list[Any]


class Moments:
    """States at moments of one log; its methods block, and may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, ServerState] = OrderedDict()
        self._rewritten = 0

    def ask(self, reader: LogReader, at: str, question: Callable[[ServerState, int], T]) -> T:
        """The answer to `question`, which is given the state at `at` and its id.  Raises BeforeTheLog or Damaged."""
        with self._lock:
            # Somebody may have been erased from the log, and must not be shown from memory.
            rewritten = reader.rewritten()
            if rewritten != self._rewritten:
                self._rewritten = rewritten
                self._kept.clear()
            event_id, state = self._state(reader, at)
            self._kept[event_id] = state
            self._kept.move_to_end(event_id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return question(state, event_id)

    def _state(self, reader: LogReader, at: str) -> tuple[int, ServerState]:
        head = reader.head_at(at)
        if head.id in self._kept:
            return head.id, self._kept[head.id]
        earlier = max((known for known in self._kept if head.id - FORWARD < known < head.id), default=None)
        if earlier is None:
            reconstructor = StateReconstructor(reader)
            state = reconstructor.state_at(at)
            return reconstructor.last_id, state
        # If an event cannot be applied the state is neither the old nor the new one, and is not kept.
        into = Replayed(self._kept.pop(earlier))
        replay(reader.raw_rows(after_id=earlier, before_id=head.id + 1, for_replay=True), into)
        return head.id, into.state


@cache
def _moments_of(location: str) -> Moments:
    return Moments()


# --- pieces -------------------------------------------------------------------------------------------------------


def position_of(state: ServerState, event_id: int) -> Position:
    """Where in the log a state is."""
    return Position(id=event_id, sequence=state.sequence, timestamp=state.timestamp)


def overview(state: ServerState, event_id: int, at: str | None) -> Moment:
    """How much there is."""
    counts = Counts(
        channels=len(state.channels),
        users=len(state.users),
        accounts=len(state.accounts),
        bans=sum(map(len, state.bans.values())),
    )
    return Moment(at=at, position=position_of(state, event_id), counts=counts)


def channels_page(state: ServerState, event_id: int, match: str, sort: str, offset: int, limit: int) -> Page:
    """A page of channels whose name or topic contains `match` (lower case), by name or by members."""
    channels = list(state.channels.values())
    found = [each for each in channels if match in each.key or (each.topic and match in each.topic.text.lower())]
    if sort == "members":
        found.sort(key=lambda channel: (-len(channel.members), channel.key))
    else:
        found.sort(key=lambda channel: channel.key)
    return Page(
        position=position_of(state, event_id),
        total=len(channels),
        matching=len(found),
        offset=offset,
        items=[_channel_summary(channel) for channel in found[offset : offset + limit]],
    )


def _channel_summary(channel: Channel) -> ChannelSummary:
    return ChannelSummary(
        key=channel.key,
        name=channel.name,
        members=len(channel.members),
        modes="".join(sorted([*channel.flags, *channel.params])),
        topic=channel.topic.text if channel.topic is not None else "",
        bans=len(channel.entries("b")),
        registered=channel.registration is not None,
    )


def users_page(state: ServerState, event_id: int, match: str, offset: int, limit: int) -> Page:
    """A page of users, by nick, of whom a name, host or address contains `match` (lower case)."""
    keys = [key for key, uid in state.nicks.items() if not match or _fits(state.users[uid], match)]
    return _users_page(state, event_id, len(keys), offset, sorted(keys)[offset : offset + limit])


def _users_page(state: ServerState, event_id: int, matching: int, offset: int, keys: list[str]) -> Page:
    users = [state.users[uid] for key in keys if (uid := state.nicks.get(key)) is not None]
    return Page(
        position=position_of(state, event_id),
        total=len(state.users),
        matching=matching,
        offset=offset,
        items=[_user_summary(state, user) for user in users],
    )


def _fits(user: User, match: str) -> bool:
    texts: Iterable[str] = (user.nick, user.account or "", user.username, user.host, user.real_host, user.ip)
    return any(match in text.lower() for text in texts) or match in user.realname.lower()


def _user_summary(state: ServerState, user: User) -> UserSummary:
    return UserSummary(
        uid=user.uid,
        nick=user.nick,
        username=user.username,
        host=user.host,
        account=user.account,
        oper=user.oper,
        away=user.away is not None,
        secure=user.secure,
        channels=len(state.memberships.get(user.uid, ())),
    )


def accounts_page(state: ServerState, event_id: int, match: str, offset: int, limit: int) -> Page:
    """A page of accounts."""
    accounts = sorted(state.accounts.items())
    found = [account for key, account in accounts if match in key or any(match in nick for nick in account.nicks)]
    items: list[AccountView] = [account_view(account) for account in found[offset : offset + limit]]
    return Page(
        position=position_of(state, event_id), total=len(accounts), matching=len(found), offset=offset, items=items
    )


def bans_page(state: ServerState, event_id: int, match: str, offset: int, limit: int) -> Page:
    """A page of network bans."""
    bans = ban_views(state)
    found: list[BanView] = [ban for ban in bans if match in f"{ban.kind} {ban.mask} {ban.reason} {ban.set_by}".lower()]
    items = found[offset : offset + limit]
    return Page(position=position_of(state, event_id), total=len(bans), matching=len(found), offset=offset, items=items)


def one_channel(state: ServerState, event_id: int, name: str) -> ChannelView | None:
    """A channel, its key masked."""
    channel = state.channel_by_name(name)
    return None if channel is None else channel_view(state, channel)


def one_user(state: ServerState, event_id: int, name: str) -> UserView | None:
    """A user, by UID or by nick."""
    user = state.users.get(name) or state.user_by_nick(name)
    return None if user is None else user_view(state, user)


# --- routes -------------------------------------------------------------------------------------------------------


class MomentQuery(Query, frozen=True, kw_only=True):
    """Which moment."""

    at: Annotated[At | None, Meta(description="The moment; now if it is not given")] = None


class ListQuery(MomentQuery, frozen=True, kw_only=True):
    """Which lines of a list, and when."""

    match: Annotated[Text | None, Meta(description="Only what contains this")] = None
    offset: Annotated[int, Meta(ge=0, le=10**9, description="Leave out so many")] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="At most so many")] = 100


class ChannelListQuery(ListQuery, frozen=True, kw_only=True):
    """Which channels, in which order, and when."""

    sort: Annotated[Literal["name", "members"], Meta(description="By name, or the largest first")] = "name"


class OneQuery(MomentQuery, frozen=True, kw_only=True):
    """Which one, and when."""

    name: Annotated[Text, Meta(description="A name of a channel, or the UID or nick of a user")]


@route("GET", "/admin/moment", tag="time machine", returns=Moment, problems=(404,))
async def moment(call: Call, query: MomentQuery) -> Any:
    """How much there is, now or at a moment."""
    return await _answer(call, query.at, "overview", {"at": query.at})


@route("GET", "/admin/moment/channels", tag="time machine", returns=Page, problems=(404,))
async def moment_channels(call: Call, query: ChannelListQuery) -> Any:
    """A page of the list of channels, now or at a moment."""
    return await _answer(call, query.at, "channels", {**_page(query), "sort": query.sort})


@route("GET", "/admin/moment/users", tag="time machine", returns=Page, problems=(404,))
async def moment_users(call: Call, query: ListQuery) -> Any:
    """A page of the list of users, now or at a moment."""
    if query.at is not None:
        return await _answer(call, query.at, "users", _page(query))
    state, turns = call.state, call.server.turns
    match = (query.match or "").lower()
    keys = list(state.nicks)
    if match:
        users = await select_in_turns(turns, list(state.users.values()), lambda user: _fits(user, match))
        keys = [state.fold(user.nick) for user in users]
    page = await page_in_turns(turns, keys, query.offset, query.limit)
    return _users_page(state, state.sequence, len(keys), query.offset, page)


@route("GET", "/admin/moment/accounts", tag="time machine", returns=Page, problems=(404,))
async def moment_accounts(call: Call, query: ListQuery) -> Any:
    """A page of the list of accounts, now or at a moment."""
    return await _answer(call, query.at, "accounts", _page(query))


@route("GET", "/admin/moment/bans", tag="time machine", returns=Page, problems=(404,))
async def moment_bans(call: Call, query: ListQuery) -> Any:
    """A page of the list of network bans, now or at a moment."""
    return await _answer(call, query.at, "bans", _page(query))


@route("GET", "/admin/moment/channel", tag="time machine", returns=ChannelView, problems=(404,))
async def moment_channel(call: Call, query: OneQuery) -> Any:
    """One channel, now or at a moment; its key is masked."""
    return _found(await _answer(call, query.at, "channel", {"name": query.name}), "There is no such channel")


@route("GET", "/admin/moment/user", tag="time machine", returns=UserView, problems=(404,))
async def moment_user(call: Call, query: OneQuery) -> Any:
    """One user, by UID or nick, now or at a moment."""
    return _found(await _answer(call, query.at, "user", {"name": query.name}), "There is no such user")


def _page(query: ListQuery) -> dict[str, Any]:
    return {"match": (query.match or "").lower(), "offset": query.offset, "limit": query.limit}


async def _answer(call: Call, at: str | None, piece: str, arguments: dict[str, Any]) -> Any:
    """A piece of the live state, or of the past."""
    if at is None:
        return PIECES[piece](call.state, call.state.sequence, **arguments)
    return Encoded(await call.past(piece_of_past, at=at, piece=piece, arguments=arguments))


def _found(answer: Any, title: str) -> Any:
    if answer is None or (isinstance(answer, Encoded) and answer.body == b"null"):
        raise HTTPError(404, title)
    return answer


PIECES: Final[dict[str, Callable[..., Any]]] = {
    "overview": overview,
    "channels": channels_page,
    "users": users_page,
    "accounts": accounts_page,
    "bans": bans_page,
    "channel": one_channel,
    "user": one_user,
}


def piece_of_past(reader: LogReader, *, at: str, piece: str, arguments: dict[str, Any]) -> bytes:
    """A question to the log: a piece of the state at a moment."""

    def question(state: ServerState, event_id: int) -> bytes:
        return msgspec.json.encode(PIECES[piece](state, event_id, **arguments))

    return _moments_of(reader.location).ask(reader, at, question)
