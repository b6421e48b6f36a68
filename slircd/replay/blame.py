"""Who set it: for each mode, ban, topic, flag and setting of a channel the event that made it what it is.

What is set is taken from the state at the moment, so that the account is complete and has nothing too much, whatever
ended silently (a member who lost its connection, a run of the server that crashed); who set it from the channel's own
events, under all names that it had.  What was set before the retention horizon has no event any more: of topic, lists
and access the state still knows who and when.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from slircd.events import types as ev
from slircd.events.codec import DecodeError, decode_event
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.replay.lineage import names_of
from slircd.replay.reconstructor import Damaged, StateReconstructor
from slircd.state.describe import MASKED, shown_setting, who
from slircd.state.model import Channel, ServerState

BEFORE: Final = "before the log begins"

Thing = tuple[str, str]
"""What, and which of its kind."""


class Blamed(msgspec.Struct, kw_only=True):
    """Something that is set, and the event that set it."""

    what: str
    """`topic`, `mode +m`, `list b`, `metadata`, `founder`, `access`, `setting`."""
    value: str
    event_id: int | None
    """None if that event lies before the retention horizon."""
    timestamp: str | None
    actor_uid: str | None
    by: str


TYPES: Final = (
    "channel.create",
    "channel.destroy",
    "channel.topic_change",
    "channel.mode_change",
    "channel.ban_add",
    "channel.ban_remove",
    "metadata.set",
    "services.chan_register",
    "services.chan_drop",
    "services.chan_flags",
    "services.chan_set",
)
"""The types of events that set something on a channel."""


def blame_channel(reader: LogReader, name: str, at: str | None = None, *, skip_damaged: bool = False) -> list[Blamed]:
    """What is set on a channel at a moment (None: at the end of the log), and who set it; keys (+k) are masked.

    Empty if there is no such channel then.  Raises BeforeTheLog, Damaged and DamagedBase.
    """
    reconstructor = StateReconstructor(reader, skip_damaged=skip_damaged)
    state = reconstructor.state_at(at or reader.end().timestamp)
    channel = state.channel_by_name(name)
    if channel is None:
        return []
    found = _Setters(reader, state, skip_damaged).of(channel, reconstructor.last_id)
    return [_blamed(thing, value, found.get(thing), channel) for thing, value in _set(state, channel)]


# --- what is set --------------------------------------------------------------------------------------------------


def _set(state: ServerState, channel: Channel) -> Iterator[tuple[Thing, str]]:
    """Everything that is set on a channel, and its value as everybody may see it."""
    if channel.topic is not None:
        yield ("topic", ""), channel.topic.text
    for mode in sorted(channel.flags):
        yield (f"mode +{mode}", ""), ""
    for mode, value in sorted(channel.params.items()):
        yield (f"mode +{mode}", ""), MASKED if mode == "k" else value
    for uid, prefixes in channel.members.items():
        for mode in prefixes:
            yield (f"mode +{mode}", uid), state.users[uid].nick
    for mode, entries in sorted(channel.lists.items()):
        for key, entry in entries.items():
            yield (f"list {mode}", key), entry.mask
    for key, value in sorted(channel.metadata.items()):
        yield ("metadata", key), f"{key} {value}"
    registration = channel.registration
    if registration is not None:
        yield ("founder", ""), registration.founder
        for key, access in registration.access.items():
            yield ("access", key), f"{access.entry} +{access.flags}"
        for setting, value in sorted(registration.settings.items()):
            yield ("setting", setting), f"{setting} {shown_setting(setting, value)}"


def _blamed(thing: Thing, value: str, found: tuple[Row, ev.Event] | None, channel: Channel) -> Blamed:
    what, item = thing
    if found is not None:
        row, event = found
        return Blamed(
            what=what,
            value=value,
            event_id=row.id,
            timestamp=row.timestamp,
            actor_uid=row.actor_uid,
            by=who(event),
        )
    by, since = BEFORE, None
    if what == "topic" and channel.topic is not None:
        by, since = channel.topic.set_by, channel.topic.set_at
    elif what.startswith("list "):
        entry = channel.lists[what.removeprefix("list ")][item]
        by, since = entry.set_by, entry.set_at
    elif what == "access" and channel.registration is not None:
        access = channel.registration.access[item]
        by, since = access.set_by, access.set_at
    return Blamed(what=what, value=value, event_id=None, timestamp=since, actor_uid=None, by=by)


# --- who set it ---------------------------------------------------------------------------------------------------


class _Setters:
    """Walks through a channel's events and remembers the last one that set each thing."""

    def __init__(self, reader: LogReader, state: ServerState, skip_damaged: bool) -> None:
        self._reader = reader
        self._fold = state.fold
        self._skip_damaged = skip_damaged
        self._found: dict[Thing, tuple[Row, ev.Event]] = {}

    def of(self, channel: Channel, last_id: int) -> dict[Thing, tuple[Row, ev.Event]]:
        """The setters up to the event `last_id`."""
        for key, after_id, before_id in names_of(self._reader, self._fold, self._decoded, channel.key, last_id + 1):
            for row in self._reader.rows(target=key, after_id=after_id, before_id=before_id, types=TYPES):
                self._see(row)
        return self._found

    def _decoded(self, row: Row) -> ev.Event | None:
        try:
            return decode_event(row.event_type, row.actor_uid, row.target, row.payload)
        except DecodeError as error:
            if not self._skip_damaged:
                raise Damaged(row.id, str(error)) from None
            return None

    def _see(self, row: Row) -> None:
        event = self._decoded(row)
        if event is None:
            return
        if isinstance(event, ev.ChannelCreate):
            # A crash ends channels without an event of their own, so what was before is forgotten here, too.
            self._found.clear()
            self._first_member(row)
        elif isinstance(event, ev.ChannelDestroy):
            self._found.clear()
        elif isinstance(event, ev.ChanDrop):
            for thing in [thing for thing in self._found if thing[0] in ("access", "setting", "founder")]:
                del self._found[thing]
        for thing in self._sets(event):
            self._found[thing] = (row, event)

    def _first_member(self, created: Row) -> None:
        """Who makes a channel is its operator by joining, which is the event behind."""
        for row in self._reader.rows(after_id=created.id, before_id=created.id + 2, limit=1):
            event = self._decoded(row)
            if isinstance(event, ev.ChannelJoin) and event.target == created.target:
                for mode in event.prefixes:
                    self._found[f"mode +{mode}", event.member_uid] = (row, event)

    def _sets(self, event: ev.Event) -> list[Thing]:
        """What an event sets; what it takes off the state does not have, so that needs no saying."""
        if isinstance(event, ev.ChannelCreate):
            return [(f"mode +{mode}", "") for mode in event.modes]
        if isinstance(event, ev.ChannelTopicChange):
            return [("topic", "")]
        if isinstance(event, ev.ChannelModeChange):
            return [(f"mode +{change.mode}", change.uid or "") for change in event.changes if change.sign == "+"]
        if isinstance(event, ev.ChannelBanAdd):
            return [(f"list {event.mode}", self._fold(event.mask))]
        if isinstance(event, ev.MetadataSet):
            return [("metadata", event.key)]
        if isinstance(event, ev.ChanRegister):
            return [("founder", "")]
        if isinstance(event, ev.ChanFlags):
            return [("access", self._fold(event.entry))]
        if isinstance(event, ev.ChanSet):
            return [("founder", "")] if event.setting == "founder" else [("setting", event.setting)]
        return []
