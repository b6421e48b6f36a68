"""Who set it: for each mode, ban, topic, flag and setting of a channel the event that made it what it is."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from slircd.events import types as ev
from slircd.events.codec import decode_event
from slircd.events.row import Row
from slircd.state.describe import who


class Blamed(msgspec.Struct, kw_only=True):
    """Something that is set, and the event that set it."""

    what: str
    """`topic`, `mode +m`, `list b`, `access`, `setting`."""
    value: str
    event_id: int
    timestamp: str
    actor_uid: str | None
    by: str


def blame(rows: Iterable[Row]) -> list[Blamed]:
    """What is set on a channel after `rows`, the events of that channel in order; keys (+k) are masked."""
    found: dict[tuple[str, str], Blamed] = {}
    for row in rows:
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
        for what, item, value in _sets(event):
            key = (what, item)
            if value is None:
                found.pop(key, None)
            else:
                found[key] = Blamed(
                    what=what,
                    value=value,
                    event_id=row.id,
                    timestamp=row.timestamp,
                    actor_uid=row.actor_uid,
                    by=who(event),
                )
        if isinstance(event, ev.ChannelDestroy):
            found.clear()
        if isinstance(event, ev.ChanDrop):
            found = {key: item for key, item in found.items() if key[0] not in ("access", "setting", "founder")}
    return list(found.values())


def _sets(event: ev.Event) -> list[tuple[str, str, str | None]]:
    """What an event sets: what, which, and the value; None takes it off."""
    if isinstance(event, ev.ChannelCreate):
        return [(f"mode +{mode}", "", "") for mode in event.modes]
    if isinstance(event, ev.ChannelTopicChange):
        return [("topic", "", event.topic or None)]
    if isinstance(event, ev.MetadataSet):
        return [("metadata", event.key, f"{event.key} {event.value}" if event.value else None)]
    if isinstance(event, ev.ChannelModeChange):
        return [_mode(change) for change in event.changes]
    if isinstance(event, ev.ChannelBanAdd):
        return [(f"list {event.mode}", event.mask.lower(), event.mask)]
    if isinstance(event, ev.ChannelBanRemove):
        return [(f"list {event.mode}", event.mask.lower(), None)]
    if isinstance(event, ev.ChanRegister):
        return [("founder", "", event.founder)]
    if isinstance(event, ev.ChanFlags):
        return [("access", event.entry.lower(), f"{event.entry} +{event.flags}" if event.flags else None)]
    if isinstance(event, ev.ChanSet):
        if event.setting == "founder":
            return [("founder", "", event.value)]
        return [("setting", event.setting, f"{event.setting} {event.value}" if event.value else None)]
    if isinstance(event, ev.ChannelPart | ev.ChannelKick):
        return [(f"mode +{mode}", event.member_uid, None) for mode in "qaohv"]
    return []


def _mode(change: ev.ModeDelta) -> tuple[str, str, str | None]:
    what = f"mode +{change.mode}"
    if change.sign == "-":
        return what, change.uid or "", None
    value = "*" if change.mode == "k" else change.param or ""
    return what, change.uid or "", value
