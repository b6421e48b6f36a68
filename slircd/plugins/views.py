"""What plugins are shown of users, channels, accounts and events: plain values, without what they may not see."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from slircd.events import types as ev
from slircd.events.types import EVENT_TYPES, Event
from slircd.state.apply import Stamp
from slircd.state.model import Account, Channel, ServerState, User

MASKED: Final = "*"
MAX_MEMBERS: Final = 1000
"""Members that get_channel lists."""

HOST_FIELDS: Final = ("real_host", "ip", "certfp", "previous_host", "fingerprint")
"""Fields of events and users that only see-hosts shows; masks of network bans are addresses, too."""

MESSAGES: Final = ("message.privmsg", "message.notice")
"""Events that plugins hear also where messages are not logged."""

NEVER: Final = frozenset({"plugin.store", "message.redact", "message.tagmsg"})
"""What no plugin is shown: what others keep."""

NEEDS: Final[Mapping[str, str]] = {
    "message": "messages",
    "oper": "see-hidden",
    "admin": "see-hidden",
    "services": "accounts",
    "account": "accounts",
    "metadata": "accounts",
}
"""Family of events to the capability that shows them."""

EVENT_NAMES: Final = frozenset({*EVENT_TYPES, *MESSAGES}) - NEVER


def known_pattern(pattern: str) -> bool:
    """Whether a pattern, `channel.join`, `channel.*` or `*`, can match any event."""
    return any(matches(pattern, name) for name in EVENT_NAMES)


@lru_cache(maxsize=4096)
def matches(pattern: str, name: str) -> bool:
    """Whether an event of this name is one that the pattern means."""
    return pattern in ("*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


@lru_cache(maxsize=1024)
def capability_for(name: str) -> str | None:
    """The capability that shows events of this name; None if everybody may see them."""
    return NEEDS.get(name.partition(".")[0])


def is_hidden(channel: Channel) -> bool:
    """Whether only its members may know of the channel."""
    return bool(channel.flags & {"s", "p"})


_encode: Final = msgspec.json.Encoder().encode


class EventView:
    """One event on its way to the plugins: made plain once for each set of capabilities that matters, encoded once."""

    __slots__ = ("_encoded", "_fields", "_plain", "event_type", "hidden", "id")

    def __init__(self, event_type: str, number: int, plain: dict[str, Any], *, hidden: bool) -> None:
        self.event_type = event_type
        self.id = number
        self.hidden = hidden
        """Whether it happened on a channel that only members may know of."""
        self._plain = plain
        self._fields: dict[bool, dict[str, Any]] = {}
        self._encoded: dict[bool, bytes] = {}

    def show_all(self) -> None:
        """Nothing of it is hidden from anybody."""
        self._fields = {True: self._plain, False: self._plain}

    def fields(self, *, hosts: bool) -> dict[str, Any]:
        """The fields, payload and envelope beside each other; a copy for whoever asks.

        `hosts` says whether it may see real hosts.
        """
        return dict(self._for(hosts))

    def encoded(self, *, hosts: bool) -> bytes:
        """The same as JSON; one object for all who see the same."""
        data = self._encoded.get(hosts)
        if data is None:
            data = self._encoded[hosts] = _encode(self._for(hosts))
        return data

    def _for(self, hosts: bool) -> dict[str, Any]:
        fields = self._fields.get(hosts)
        if fields is None:
            fields = self._plain
            if not hosts:
                fields = {key: value for key, value in fields.items() if key not in HOST_FIELDS}
                if self.event_type in _LINES:
                    fields.pop("mask", None)
            self._fields[hosts] = fields
        return fields


class Batch:
    """Events of one type, one after the other, for those who may hear of them: encoded once for all of them."""

    __slots__ = ("_encoded", "views")

    def __init__(self, views: list[EventView]) -> None:
        self.views = views
        self._encoded: dict[bool, tuple[list[bytes], int]] = {}

    def encoded(self, *, hosts: bool) -> tuple[list[bytes], int]:
        """The events as JSON, and their bytes together."""
        done = self._encoded.get(hosts)
        if done is None:
            events = [view.encoded(hosts=hosts) for view in self.views]
            done = self._encoded[hosts] = events, sum(map(len, events))
        return done

    def without(self, own: Collection[int]) -> Batch:
        """The batch without the events of these ids."""
        if not own or not any(view.id in own for view in self.views):
            return self
        return Batch([view for view in self.views if view.id not in own])


_LINES: Final = frozenset(
    cls.event_type for cls in (*ev.LineAdd.__subclasses__(), *ev.LineRemove.__subclasses__()) if cls.event_type
)


def _seconds(timestamp: str) -> float:
    """Seconds since 1970 of a timestamp of the log, which is known to be one: several times as quick as strptime."""
    return datetime.fromisoformat(timestamp).timestamp()


def view_event(state: ServerState, event: Event, stamp: Stamp, hidden: Collection[str]) -> EventView:
    """A committed event for plugins; `hidden` are the keys of channels that only members may know of at that moment.

    Keys (+k) are masked, hidden channels left out of lists.
    """
    plain: dict[str, Any] = msgspec.to_builtins(event)
    plain.pop("v", None)
    plain.pop("actor_uid", None)
    plain.pop("private_reason", None)
    if isinstance(event, ev.ChannelModeChange):
        for change in plain["changes"]:
            if change["mode"] == "k" and "param" in change:
                change["param"] = MASKED
    if isinstance(event, ev.UserDisconnect):
        plain["channels"] = {key: modes for key, modes in event.channels.items() if key not in hidden}
    plain.update(
        type=event.event_type,
        id=stamp.id,
        timestamp=stamp.timestamp,
        time=_seconds(stamp.timestamp),
        sequence=stamp.sequence,
        actor=event.actor_uid,
        target=event.target,
    )
    plain.setdefault("nick", None)
    channel = state.channels.get(event.target or "")
    if channel is not None:
        plain.setdefault("channel", channel.name)
    return EventView(event.event_type, stamp.id, plain, hidden=event.target in hidden)


def view_message(verb: str, user: User, channel: Channel, text: str, msgid: str, timestamp: str) -> EventView:
    """Something that was said on a channel."""
    name = f"message.{verb.lower()}"
    plain = {
        "type": name,
        "nick": user.nick,
        "actor": user.uid,
        "account": user.account,
        "target": channel.key,
        "channel": channel.name,
        "prefixes": channel.members.get(user.uid, ""),
        "text": text,
        "msgid": msgid,
        "timestamp": timestamp,
        "time": _seconds(timestamp),
    }
    view = EventView(name, 0, plain, hidden=is_hidden(channel))
    view.show_all()
    return view


def view_user(state: ServerState, user: User, capabilities: Collection[str]) -> dict[str, Any]:
    """A user as get_user gives it."""
    hidden = "see-hidden" in capabilities
    view: dict[str, Any] = {
        "uid": user.uid,
        "nick": user.nick,
        "username": user.username,
        "host": user.host,
        "realname": user.realname,
        "account": user.account,
        "away": user.away,
        "is_oper": user.is_oper and (hidden or "H" not in user.modes),
        "is_bot": "B" in user.modes,
        "is_service": user.is_service,
        "secure": user.secure,
        "connected_at": user.connected_at,
        "channels": [channel.name for channel in state.channels_of(user.uid) if hidden or not is_hidden(channel)],
    }
    if "see-hosts" in capabilities:
        view.update(real_host=user.real_host, ip=user.ip, certfp=user.certfp)
    return view


def view_channel(state: ServerState, channel: Channel) -> dict[str, Any]:
    """A channel as get_channel gives it; its key is masked."""
    members = [
        {"uid": uid, "nick": state.users[uid].nick, "account": state.users[uid].account, "prefixes": prefixes}
        for uid, prefixes in list(channel.members.items())[:MAX_MEMBERS]
    ]
    topic = channel.topic
    return {
        "name": channel.name,
        "created_at": channel.created_at,
        "topic": None if topic is None else {"text": topic.text, "set_by": topic.set_by, "set_at": topic.set_at},
        "modes": "".join(sorted(channel.flags | channel.params.keys())),
        "params": {mode: MASKED if mode == "k" else value for mode, value in sorted(channel.params.items())},
        "members": members,
        "member_count": len(channel.members),
        "founder": channel.registration.founder if channel.registration is not None else None,
    }


def view_account(account: Account) -> dict[str, Any]:
    """An account as get_account gives it."""
    return {
        "name": account.name,
        "registered_at": account.registered_at,
        "verified": account.verified,
        "nicks": sorted(account.nicks.values()),
    }
