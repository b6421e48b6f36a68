"""The state at a moment as a document for people and programs: `slircd-replay --schema` prints its JSON schema.

Equal questions give equal bytes: everything is sorted, nothing of the present is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from slircd.state.describe import MASKED, shown_setting
from slircd.state.feed import without_gc
from slircd.state.model import Account, Channel, Filter, NetworkBan, ServerState, User

VERSION: Final = 1


class Position(msgspec.Struct, kw_only=True):
    """Where in the log the moment is: the last event that counts."""

    id: int
    sequence: int
    timestamp: str


class UserView(msgspec.Struct, kw_only=True):
    """A user who was online."""

    uid: str
    nick: str
    username: str
    host: str
    real_host: str
    realname: str
    account: str | None
    oper: str | None
    modes: str
    away: str | None
    secure: bool
    clients: int
    """How many clients were attached; 0 for somebody who is always on and away from it."""
    always_on: bool
    connected_at: str
    channels: list[str]
    metadata: dict[str, str]


class TopicView(msgspec.Struct, kw_only=True, gc=False):
    """A topic, who set it and when."""

    text: str
    set_by: str
    set_at: str


class EntryView(msgspec.Struct, kw_only=True, gc=False):
    """An entry of a channel's list."""

    mask: str
    set_by: str
    set_at: str
    expires: str | None


class MemberView(msgspec.Struct, kw_only=True, gc=False):
    """Somebody on a channel, with prefix modes as letters."""

    uid: str
    nick: str
    prefixes: str


class AccessView(msgspec.Struct, kw_only=True, gc=False):
    """What an account, or a mask, may do on a registered channel."""

    entry: str
    flags: str
    set_by: str
    set_at: str
    reason: str


class RegistrationView(msgspec.Struct, kw_only=True):
    """A channel's registration."""

    founder: str
    registered_at: str
    settings: dict[str, str]
    access: list[AccessView]


class ChannelView(msgspec.Struct, kw_only=True):
    """A channel."""

    name: str
    former_names: list[str]
    """The casefolded names that it had before, the newest last."""
    created_at: str
    topic: TopicView | None
    modes: str
    params: dict[str, str]
    """Modes with a parameter; a key (k) is masked unless asked for."""
    lists: dict[str, list[EntryView]]
    members: list[MemberView]
    invited: list[str]
    metadata: dict[str, str]
    registration: RegistrationView | None


class AccountView(msgspec.Struct, kw_only=True):
    """A registered account."""

    name: str
    registered_at: str
    verified: bool
    nicks: list[str]
    certificates: int
    settings: dict[str, str]


class BanView(msgspec.Struct, kw_only=True, gc=False):
    """A network ban."""

    kind: str
    mask: str
    reason: str
    set_by: str
    set_at: str
    expires: str | None


class FilterView(msgspec.Struct, kw_only=True, gc=False):
    """A spam filter."""

    pattern: str
    action: str
    reason: str
    set_by: str
    set_at: str


class PluginView(msgspec.Struct, kw_only=True):
    """What a plugin had stored: keys and their values, as JSON."""

    plugin: str
    storage: dict[str, str]


class ServerSnapshot(msgspec.Struct, kw_only=True):
    """The server at a moment."""

    version: int = VERSION
    at: str
    """The moment that was asked for."""
    position: Position
    users: list[UserView]
    channels: list[ChannelView]
    accounts: list[AccountView]
    bans: list[BanView]
    filters: list[FilterView]
    plugins: list[PluginView]


def to_document(state: ServerState, at: str, position_id: int, *, show_keys: bool = False) -> ServerSnapshot:
    """A state as a document."""
    with without_gc():
        return _document(state, at, position_id, show_keys)


def _document(state: ServerState, at: str, position_id: int, show_keys: bool) -> ServerSnapshot:
    return ServerSnapshot(
        at=at,
        position=Position(id=position_id, sequence=state.sequence, timestamp=state.timestamp),
        users=[user_view(state, user) for _, user in sorted(state.users.items())],
        channels=[channel_view(state, channel, show_keys=show_keys) for _, channel in sorted(state.channels.items())],
        accounts=[account_view(account) for _, account in sorted(state.accounts.items())],
        bans=ban_views(state),
        filters=[filter_view(each) for _, each in sorted(state.filters.items())],
        plugins=[
            PluginView(plugin=name, storage=dict(sorted(kept.items()))) for name, kept in sorted(state.storage.items())
        ],
    )


def user_view(state: ServerState, user: User) -> UserView:
    """One user of a document."""
    return UserView(
        uid=user.uid,
        nick=user.nick,
        username=user.username,
        host=user.host,
        real_host=user.real_host,
        realname=user.realname,
        account=user.account,
        oper=user.oper,
        modes="".join(sorted(user.modes)),
        away=user.away,
        secure=user.secure,
        clients=user.clients,
        always_on=user.always_on,
        connected_at=user.connected_at,
        channels=sorted(state.channels[key].name for key in state.memberships[user.uid]),
        metadata=dict(sorted(user.metadata.items())),
    )


def account_view(account: Account) -> AccountView:
    """One account of a document."""
    return AccountView(
        name=account.name,
        registered_at=account.registered_at,
        verified=account.verified,
        nicks=sorted(account.nicks.values()),
        certificates=len(account.certfps),
        settings=dict(sorted(account.settings.items())),
    )


def ban_views(state: ServerState) -> list[BanView]:
    """The network bans of a document."""
    return [ban_view(kind, ban) for kind, bans in sorted(state.bans.items()) for _, ban in sorted(bans.items())]


def ban_view(kind: str, ban: NetworkBan) -> BanView:
    """One network ban of a document."""
    return BanView(
        kind=kind, mask=ban.mask, reason=ban.reason, set_by=ban.set_by, set_at=ban.set_at, expires=ban.expires
    )


def filter_view(found: Filter) -> FilterView:
    """One spam filter of a document."""
    return FilterView(
        pattern=found.pattern, action=found.action, reason=found.reason, set_by=found.set_by, set_at=found.set_at
    )


def channel_view(state: ServerState, channel: Channel, *, show_keys: bool = False) -> ChannelView:
    """One channel of a document; its key is masked unless `show_keys`."""
    registration = channel.registration
    params = dict(sorted(channel.params.items()))
    if "k" in params and not show_keys:
        params["k"] = MASKED
    return ChannelView(
        name=channel.name,
        former_names=[name.key for name in channel.former],
        created_at=channel.created_at,
        topic=TopicView(text=channel.topic.text, set_by=channel.topic.set_by, set_at=channel.topic.set_at)
        if channel.topic is not None
        else None,
        modes="".join(sorted(channel.flags)),
        params=params,
        lists={
            mode: [
                EntryView(mask=item.mask, set_by=item.set_by, set_at=item.set_at, expires=item.expires)
                for _, item in sorted(entries.items())
            ]
            for mode, entries in sorted(channel.lists.items())
        },
        members=[
            MemberView(uid=uid, nick=state.users[uid].nick, prefixes=modes)
            for uid, modes in sorted(channel.members.items())
        ],
        invited=sorted(state.users[uid].nick for uid in channel.invites),
        metadata=dict(sorted(channel.metadata.items())),
        registration=None
        if registration is None
        else RegistrationView(
            founder=registration.founder,
            registered_at=registration.registered_at,
            settings={
                setting: value if show_keys else shown_setting(setting, value)
                for setting, value in sorted(registration.settings.items())
            },
            access=[
                AccessView(
                    entry=item.entry, flags=item.flags, set_by=item.set_by, set_at=item.set_at, reason=item.reason
                )
                for _, item in sorted(registration.access.items())
            ],
        ),
    )


def narrow_to_channel(document: ServerSnapshot, name: str, fold: Callable[[str], str]) -> ServerSnapshot:
    """The document with one channel, and nothing else that there is."""
    found = [each for each in document.channels if fold(each.name) == fold(name)]
    return msgspec.structs.replace(document, users=[], channels=found, accounts=[], bans=[], filters=[], plugins=[])


def narrow_to_user(document: ServerSnapshot, name: str, fold: Callable[[str], str]) -> ServerSnapshot:
    """The document with the users of a nick, UID or account, and nothing else that there is."""
    key = fold(name)
    found = [
        each
        for each in document.users
        if key in (fold(each.nick), fold(each.uid)) or (each.account is not None and fold(each.account) == key)
    ]
    return msgspec.structs.replace(document, users=found, channels=[], accounts=[], bans=[], filters=[], plugins=[])
