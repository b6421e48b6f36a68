"""A channel as it was: its past from the rows of the log, what differs, and the events that give it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from slircd.events import types as ev
from slircd.state.access import CHANSERV
from slircd.state.apply import Stamp, apply
from slircd.state.model import Channel, ServerState, User
from slircd.wire.modes import CHANNEL_MODES, Kind

OWN_STATE: Final = (
    ev.ChannelCreate,
    ev.ChannelDestroy,
    ev.ChannelTopicChange,
    ev.ChannelModeChange,
    ev.ChannelBanAdd,
    ev.ChannelBanRemove,
    ev.ChanRegister,
    ev.ChanDrop,
    ev.ChanFlags,
    ev.ChanSet,
)
"""What makes a channel but its members."""


def channel_of_events(state: ServerState, key: str, events: Iterable[tuple[ev.Event, Stamp]]) -> Channel | None:
    """The channel that its own events up to some moment make, without members; None if there was none then."""
    past = ServerState()
    past.casemap = state.casemap
    for event, stamp in events:
        if isinstance(event, ev.ChannelModeChange):
            event = msgspec.structs.replace(event, changes=[each for each in event.changes if each.uid is None])
        if isinstance(event, OWN_STATE):
            apply(past, event, stamp)
    return past.channels.get(key)


def decide_restore(
    state: ServerState, user: User, now: Channel, past: Channel, at: str, moment: str
) -> Iterator[ev.Event]:
    """The events that give topic, modes, lists and access back; `at` is the moment restored, `moment` the present."""
    changes = list(_differences(state, user, now, past, moment))
    if changes:
        yield ev.ChanRestore(actor_uid=user.uid, target=now.key, nick=user.nick, at=at)
        yield from changes


def _differences(state: ServerState, user: User, now: Channel, past: Channel, moment: str) -> Iterator[ev.Event]:
    before = now.topic.text if now.topic is not None else ""
    after = past.topic.text if past.topic is not None else ""
    if before != after:
        set_by = past.topic.set_by if past.topic is not None else user.source
        yield ev.ChannelTopicChange(
            actor_uid=CHANSERV, target=now.key, nick=user.nick, topic=after, set_by=set_by, previous=before
        )
    deltas = list(_modes(now, past))
    if deltas:
        yield ev.ChannelModeChange(actor_uid=CHANSERV, target=now.key, nick=user.nick, changes=deltas)
    yield from _lists(user, now, past, moment)
    yield from _access(state, user, now, past)


def _modes(now: Channel, past: Channel) -> Iterator[ev.ModeDelta]:
    kept = {"O", "P"}
    for mode in sorted((now.flags - past.flags) - kept):
        yield ev.ModeDelta("-", mode)
    for mode in sorted((past.flags - now.flags) - kept):
        yield ev.ModeDelta("+", mode)
    for mode in sorted(now.params.keys() | past.params.keys()):
        value = past.params.get(mode)
        if value is None:
            is_key = CHANNEL_MODES.kinds[mode] is Kind.KEY
            yield ev.ModeDelta("-", mode, now.params[mode] if is_key else None)
        elif value != now.params.get(mode):
            yield ev.ModeDelta("+", mode, value)


def _lists(user: User, now: Channel, past: Channel, moment: str) -> Iterator[ev.Event]:
    for mode in sorted(now.lists.keys() | past.lists.keys()):
        before, after = now.entries(mode), past.entries(mode)
        for key, item in before.items():
            if key not in after:
                yield ev.ChannelBanRemove(actor_uid=CHANSERV, target=now.key, nick=user.nick, mode=mode, mask=item.mask)
        for key, item in after.items():
            # What would have ended meanwhile stays ended.
            if key not in before and (item.expires is None or item.expires > moment):
                yield ev.ChannelBanAdd(
                    actor_uid=CHANSERV,
                    target=now.key,
                    nick=user.nick,
                    mode=mode,
                    mask=item.mask,
                    set_by=item.set_by,
                    expires=item.expires,
                )


def _access(state: ServerState, user: User, now: Channel, past: Channel) -> Iterator[ev.Event]:
    if now.registration is None or past.registration is None:
        return
    before, after = now.registration.access, past.registration.access
    for key in [*before, *(key for key in after if key not in before)]:
        old = before[key].flags if key in before else ""
        new = after[key].flags if key in after else ""
        # An account that was dropped meanwhile gets nothing back: the name may be somebody else's by now.
        if old == new or (new and "!" not in key and key not in state.accounts):
            continue
        entry = (after.get(key) or before[key]).entry
        reason = after[key].reason if key in after else ""
        yield ev.ChanFlags(
            actor_uid=CHANSERV,
            target=now.key,
            nick=user.nick,
            entry=entry,
            flags=new,
            previous=old,
            reason=reason,
        )
