"""A channel as it was: what differs from a moment of its past, and the events that give that back.

Given back are topic, modes, lists, settings and access, and the prefix modes of those who are on the channel: who was
there at the moment has those that he had, who came later those that the access list gives him.  Nobody is made to join.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from slircd.events import types as ev
from slircd.rules.registration import guard_moves
from slircd.state.access import prefixes_of
from slircd.state.model import Channel, Registration, ServerState
from slircd.wire.modes import CHANNEL_MODES, Kind

KEPT: Final = frozenset("OP")
"""Flags that are IRC operators' business, and no part of what is given back."""


class Restorer(NamedTuple):
    """Who gives a channel back: `uid` is the actor of the events (a user, or `admin:NAME`).

    `staff` may give back to whom a channel belongs, too, and registers it again where somebody dropped it.
    """

    uid: str
    nick: str
    source: str
    """What stands as the setter of a topic that is removed."""
    staff: bool = False


def decide_restore(
    state: ServerState, actor: Restorer, key: str, past: Channel, at: str, moment: str
) -> list[ev.Event]:
    """The events that make the channel what it was; none if nothing differs.

    `past` is the channel at the moment `at`, `moment` is the present; both are timestamps of the log's format.
    """
    changes = list(_Restoration(state, actor, past, key, moment).events())
    if not changes:
        return []
    return [ev.ChanRestore(actor_uid=actor.uid, target=key, nick=actor.nick, at=at), *changes]


class _Restoration:
    """One restoration; all of its events have the same actor, nick and target."""

    def __init__(self, state: ServerState, actor: Restorer, past: Channel, key: str, moment: str) -> None:
        self._state = state
        self._actor = actor
        self._past = past
        self._key = key
        self._moment = moment
        now = state.channels.get(key)
        # A channel that is gone is compared with one that has just been made.
        self._exists = now is not None
        self._now = now or Channel(key=key, name=past.name, created_at=moment, flags=set(state.channel_modes))
        self._by = {"actor_uid": actor.uid, "target": key, "nick": actor.nick}

    def events(self) -> Iterator[ev.Event]:
        """What differs, in an order in which each event may rely on those before it."""
        if not self._exists:
            if not (self._actor.staff and self._past.registration is not None and self._founder_is_there()):
                return
            yield ev.ChannelCreate(**self._by, name=self._past.name, modes=self._state.channel_modes)
        yield from self._registration()
        yield from self._topic()
        yield from self._modes()
        yield from self._lists()

    def _founder_is_there(self) -> bool:
        return self._past.registration is not None and self._past.registration.founder in self._state.accounts

    # --- whose it is ----------------------------------------------------------------------------------------------

    def _registration(self) -> Iterator[ev.Event]:
        now, past = self._now.registration, self._past.registration
        if past is None:
            return
        if now is None:
            if not (self._actor.staff and self._founder_is_there()):
                return
            yield ev.ChanRegister(**self._by, founder=past.founder)
            now = Registration(founder=past.founder, registered_at=self._moment)
        elif now.founder != past.founder and self._actor.staff and self._founder_is_there():
            yield self._set("founder", past.founder, now.founder)
        yield from self._settings(now.settings, past.settings)
        yield from self._access(now, past)

    def _set(self, setting: str, value: str, previous: str) -> ev.ChanSet:
        return ev.ChanSet(**self._by, setting=setting, value=value, previous=previous)

    def _settings(self, now: dict[str, str], past: dict[str, str]) -> Iterator[ev.Event]:
        for setting in sorted(now.keys() | past.keys()):
            value, previous = past.get(setting, ""), now.get(setting, "")
            if value == previous or (setting == "successor" and value and value not in self._state.accounts):
                continue
            yield self._set(setting, value, previous)
            if setting == "guard":
                yield from guard_moves(self._state, self._now, self._actor.nick, value)

    def _access(self, now: Registration, past: Registration) -> Iterator[ev.Event]:
        before, after = now.access, past.access
        for key in [*before, *(key for key in after if key not in before)]:
            old = before[key].flags if key in before else ""
            new = after[key].flags if key in after else ""
            # An account that was dropped meanwhile gets nothing back: the name may be somebody else's by now.
            if old == new or (new and "!" not in key and key not in self._state.accounts):
                continue
            yield ev.ChanFlags(
                **self._by,
                entry=(after.get(key) or before[key]).entry,
                flags=new,
                previous=old,
                reason=after[key].reason if key in after else "",
            )

    # --- what it is like ------------------------------------------------------------------------------------------

    def _topic(self) -> Iterator[ev.Event]:
        before = self._now.topic.text if self._now.topic is not None else ""
        after = self._past.topic.text if self._past.topic is not None else ""
        if before != after:
            set_by = self._past.topic.set_by if self._past.topic is not None else self._actor.source
            yield ev.ChannelTopicChange(**self._by, topic=after, set_by=set_by, previous=before)

    def _modes(self) -> Iterator[ev.Event]:
        deltas = [*self._flags(), *self._params(), *self._prefixes()]
        if deltas:
            yield ev.ChannelModeChange(**self._by, changes=deltas)

    def _flags(self) -> Iterator[ev.ModeDelta]:
        for mode in sorted((self._now.flags - self._past.flags) - KEPT):
            yield ev.ModeDelta("-", mode)
        for mode in sorted((self._past.flags - self._now.flags) - KEPT):
            yield ev.ModeDelta("+", mode)

    def _params(self) -> Iterator[ev.ModeDelta]:
        now, past = self._now.params, self._past.params
        for mode in sorted(now.keys() | past.keys()):
            value = past.get(mode)
            if value is None:
                yield ev.ModeDelta("-", mode, now[mode] if CHANNEL_MODES.kinds[mode] is Kind.KEY else None)
            elif value != now.get(mode):
                yield ev.ModeDelta("+", mode, value)

    def _prefixes(self) -> Iterator[ev.ModeDelta]:
        restored = self._restored()
        wanted: dict[str, str] = {}
        for uid in self._now.members:
            user = self._state.users[uid]
            if user.is_service:
                continue
            wanted[uid] = self._past.members.get(uid, "") or prefixes_of(self._state, restored, user)
        if restored.registration is None and not any(mode in "qao" for modes in wanted.values() for mode in modes):
            # Whoever ran the channel then has gone, and no access list says who may: those who run it now go on.
            wanted = {uid: self._past.members.get(uid, self._now.members[uid]) for uid in wanted}
        for sign in "-+":
            for uid, modes in wanted.items():
                has = self._now.members[uid]
                less, more = (modes, has) if sign == "-" else (has, modes)
                for mode in more:
                    if mode not in less:
                        yield ev.ModeDelta(sign, mode, self._state.users[uid].nick, uid)

    def _restored(self) -> Channel:
        """The channel with the registration that it will have: what access will give to whom."""
        now, past = self._now.registration, self._past.registration
        if past is None or (now is None and not self._actor.staff):
            return self._now
        founder = past.founder if self._actor.staff or now is None else now.founder
        return msgspec.structs.replace(self._now, registration=msgspec.structs.replace(past, founder=founder))

    def _lists(self) -> Iterator[ev.Event]:
        now, past = self._now, self._past
        for mode in sorted(now.lists.keys() | past.lists.keys()):
            before, after = now.entries(mode), past.entries(mode)
            for key, item in before.items():
                if key not in after:
                    yield ev.ChannelBanRemove(**self._by, mode=mode, mask=item.mask)
            for key, item in after.items():
                # What would have ended meanwhile stays ended.
                if key not in before and (item.expires is None or item.expires > self._moment):
                    yield ev.ChannelBanAdd(
                        **self._by, mode=mode, mask=item.mask, set_by=item.set_by, expires=item.expires
                    )
