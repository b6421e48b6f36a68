"""What there is: users, channels, and who is where.

Mutable, but only by `apply`; everybody else reads.  The classes are msgspec structs, so that a snapshot is written and
read by the library.  What can be derived (who has which nick, who is on which channels) is kept beside them as an
index and is no part of a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from slircd.wire.casemap import CASEMAPS, CaseMap

SERVICES: Final = "services"
"""The node of NickServ and ChanServ: users without a connection, who outlive every run of the server."""


class User(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Somebody on the network.  `host` is what people see, `real_host` and `ip` what staff may see."""

    uid: str
    nick: str
    username: str
    host: str
    real_host: str
    ip: str
    realname: str
    node: str
    connected_at: str
    nick_at: str
    modes: set[str]
    secure: bool = False
    certfp: str | None = None
    account: str | None = None
    away: str | None = None
    snomask: str = ""
    """Letters of the server notices that the user hears, while +s is set."""
    oper: str | None = None
    """The name of the operator block, while +o is set."""
    metadata: dict[str, str] = {}
    clients: int = 1
    """How many clients are attached."""
    always_on: bool = False
    """Whether the user stays when its last client is gone."""
    detached_at: str = ""
    """Since when it has no client; empty while it has one."""

    @property
    def source(self) -> str:
        """nick!user@host, as lines of this user are prefixed."""
        return f"{self.nick}!{self.username}@{self.host}"

    @property
    def is_service(self) -> bool:
        """Whether this is NickServ or ChanServ."""
        return self.node == SERVICES

    @property
    def is_oper(self) -> bool:
        """Whether the user has +o."""
        return self.oper is not None


class Topic(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A channel's topic, who set it (nick!user@host) and when."""

    text: str
    set_by: str
    set_at: str


class ListEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A mask on one of a channel's lists."""

    mask: str
    set_by: str
    set_at: str
    expires: str | None = None


class Account(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A registered account: `key` is its casefolded name.  What proves to own it is elsewhere, never in the state."""

    key: str
    name: str
    registered_at: str
    verified: bool
    nicks: dict[str, str] = {}
    """Casefolded nicks that belong to it, and how they are written."""
    certfps: dict[str, str] = {}
    """Fingerprints of certificates that prove to own it, and since when."""
    settings: dict[str, str] = {}
    read_markers: dict[str, str] = {}
    """Casefolded channel or nick to the moment up to which it was read; for its owner's eyes."""

    def is_set(self, setting: str) -> bool:
        """Whether a setting that is on or off is on."""
        return self.settings.get(setting) == "on"


class Access(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an account, or a mask, may do on a registered channel."""

    entry: str
    flags: str
    set_by: str
    set_at: str
    reason: str = ""


class Registration(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A channel's registration.  `founder` is the key of an account."""

    founder: str
    registered_at: str
    access: dict[str, Access] = {}
    """By casefolded name of account or mask."""
    settings: dict[str, str] = {}

    def is_set(self, setting: str) -> bool:
        """Whether a setting that is on or off is on."""
        return self.settings.get(setting) == "on"


class NetworkBan(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A line against users of the whole network."""

    mask: str
    reason: str
    private_reason: str
    set_by: str
    set_at: str
    expires: str | None = None


class Filter(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A spam filter."""

    pattern: str
    action: str
    reason: str
    set_by: str
    set_at: str


class FormerName(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A name that a channel had: `key` is the casefolded name, `since` when it got it.

    `until_id` is the event that took it away; what stands in the log before it under this name is the channel's.
    """

    key: str
    since: str
    until_id: int


class Channel(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A channel: `key` is its casefolded name, `name` the one that people see."""

    key: str
    name: str
    created_at: str
    topic: Topic | None = None
    flags: set[str]
    params: dict[str, str] = {}
    """Modes with one parameter (k, f, j, L, l) and that parameter."""
    members: dict[str, str] = {}
    """UID to prefix modes, highest first, as letters ("" for an ordinary member), in order of joining."""
    lists: dict[str, dict[str, ListEntry]] = {}
    """List mode to entries by casefolded mask, in order of setting."""
    invites: dict[str, str] = {}
    """UIDs that were invited and have not joined yet, and when."""
    opened_to: set[str] = set()
    """Those of them whom staff invited: key, limit and the bans of before do not hold for them."""
    registration: Registration | None = None
    metadata: dict[str, str] = {}
    named_at: str = ""
    """When it was last renamed; empty if it never was."""
    former: list[FormerName] = []
    """The names that it had, the newest last; at most MAX_FORMER_NAMES of them (state.apply)."""

    @property
    def history_since(self) -> str:
        """When its history begins: with the channel, or with the oldest name that is still known."""
        return self.former[0].since if self.former else self.named_at or self.created_at

    def key_at(self, timestamp: str) -> str:
        """The key that it had at a moment, as far as its former names are known."""
        ends = [*(name.since for name in self.former[1:]), self.named_at]
        names = zip(self.former, ends, strict=False)
        return next((name.key for name, end in names if timestamp < end), self.key)

    @property
    def is_permanent(self) -> bool:
        """Whether the channel stays when its last member leaves."""
        return self.registration is not None or "P" in self.flags

    def has_any(self, uid: str, modes: str) -> bool:
        """Whether `uid` is a member with at least one of these prefix modes."""
        return any(mode in modes for mode in self.members.get(uid, ""))

    def entries(self, mode: str) -> dict[str, ListEntry]:
        """The entries of one list; empty if there are none."""
        return self.lists.get(mode, {})


class ServerState:
    """Everything that the log says is true now.

    `users` by UID and `channels` by key hold the truth; `nicks`, `memberships` and `invited` are indexes over them that
    `apply` keeps.  `sequence` and `timestamp` are those of the last applied event.
    """

    __slots__ = (
        "_casemap",
        "account_users",
        "accounts",
        "bans",
        "channel_modes",
        "channels",
        "filters",
        "fold",
        "invited",
        "memberships",
        "nick_owners",
        "nicks",
        "sequence",
        "storage",
        "timestamp",
        "uid_counters",
        "users",
    )

    def __init__(self) -> None:
        self.casemap = CASEMAPS["ascii"]
        self.channel_modes = ""
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.accounts: dict[str, Account] = {}
        self.bans: dict[str, dict[str, NetworkBan]] = {}
        """Kind of network ban (kline, …) to bans by casefolded mask."""
        self.filters: dict[str, Filter] = {}
        """Spam filters by pattern."""
        self.storage: dict[str, dict[str, str]] = {}
        """What plugins keep: name of the plugin to keys and values, which are JSON."""
        self.nick_owners: dict[str, str] = {}
        """Casefolded registered nick to the key of its account."""
        self.nicks: dict[str, str] = {}
        self.account_users: dict[str, dict[str, None]] = {}
        """Casefolded account to the UIDs of those who are logged in to it; an index over `users`."""
        self.memberships: dict[str, dict[str, None]] = {}
        """UID to the keys of its channels, in order of joining."""
        self.invited: dict[str, dict[str, None]] = {}
        """UID to the keys of channels that it is invited to; the other side of `Channel.invites`."""
        self.uid_counters: dict[str, int] = {}
        """Node to the number of its newest UID; UIDs are never used twice within a log."""
        self.sequence = 0
        self.timestamp = ""

    @property
    def casemap(self) -> CaseMap:
        """The network's CASEMAPPING."""
        return self._casemap

    @casemap.setter
    def casemap(self, casemap: CaseMap) -> None:
        self._casemap = casemap
        self.fold: Callable[[str], str] = casemap.fold
        """The casefolded form of a nick, channel or mask: an attribute, because every event asks for it."""

    def user_by_nick(self, nick: str) -> User | None:
        """The user who has this nick now, or None."""
        uid = self.nicks.get(self.fold(nick))
        return None if uid is None else self.users[uid]

    def channel_by_name(self, name: str) -> Channel | None:
        """The channel of this name, or None."""
        return self.channels.get(self.fold(name))

    def account_named(self, name: str) -> Account | None:
        """The account of this name, or None."""
        return self.accounts.get(self.fold(name))

    def account_of(self, user: User) -> Account | None:
        """The account that a user is logged in to, or None."""
        return None if user.account is None else self.accounts.get(self.fold(user.account))

    def users_of_account(self, key: str) -> list[User]:
        """Who is logged in to an account, in order of logging in."""
        return [self.users[uid] for uid in self.account_users.get(key, ())]

    def owner_of_nick(self, nick: str) -> Account | None:
        """The account that a nick belongs to, or None."""
        key = self.nick_owners.get(self.fold(nick))
        return None if key is None else self.accounts[key]

    def accounts_on(self, channel: Channel) -> list[Account]:
        """The accounts of a channel's members, each once, in order of joining."""
        accounts = (self.account_of(self.users[uid]) for uid in channel.members)
        return list({account.key: account for account in accounts if account is not None}.values())

    def channels_of(self, uid: str) -> Iterator[Channel]:
        """The channels that a user is on, in order of joining."""
        channels = self.channels
        return (channels[key] for key in self.memberships.get(uid, ()))

    def peers_of(self, uid: str) -> set[str]:
        """UIDs that share a channel with `uid`, itself included if it is on one."""
        peers: set[str] = set()
        for channel in self.channels_of(uid):
            peers.update(channel.members)
        return peers

    def replace_with(self, other: ServerState) -> None:
        """Become equal to `other`, which must not be used afterwards; for a rebuild from the log."""
        for slot in self.__slots__:
            setattr(self, slot, getattr(other, slot))
