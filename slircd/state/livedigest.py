"""The digest of a state that lives: kept while events are applied, and cheap to ask for.

Before an event is applied, `touch` takes the hashes of what it is about to change off the sum and notes their keys; the
new hashes are added later, a slice at a time, when somebody wants to know the digest.  So an event costs at most one
hash of each thing that it changes, a thing that changes often costs one hash between two questions, nothing is stored
for each thing, and replay, which asks once at its end, pays nothing at all.

What an event changes is said here, by TOUCHES and a rule for the rest: the thing that `target` names, and with
`member_uid` that member of it.  A test of every command compares the kept digest with one from scratch, so an event
that changes more and does not say so is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from slircd.events import types as ev
from slircd.state.model import ServerState
from slircd.state.snapshot import PARTS, Key, combine, digest, hash_of

_SINGLE: Final = tuple(part for part in PARTS if not part.pairs)
_PAIRS: Final = tuple(part for part in PARTS if part.pairs)


class LiveDigest:
    """The digest of `state`, which only `apply` changes, each time after `touch`."""

    __slots__ = ("_dirty", "_state", "_total")

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._total = 0
        self._dirty: set[Key] = set()
        self.forget()

    def forget(self) -> None:
        """Know nothing any more, because the state has become another: all of it will be hashed again."""
        self._total = 0
        self._dirty = {key for part in PARTS for key, _ in part.items(self._state)}

    @property
    def waiting(self) -> int:
        """How many things are to be hashed before the digest is known."""
        return len(self._dirty)

    def touch(self, event: ev.Event) -> None:
        """`event` is about to be applied."""
        self.touch_keys(TOUCHES[type(event)](self._state, event))

    def touch_keys(self, keys: Iterable[Key]) -> None:
        """The things under `keys`, those that there will be among them, are about to change."""
        dirty = self._dirty
        for key in keys:
            if key not in dirty:
                self._total -= self._hashes(key)
                dirty.add(key)

    def work(self, most: int) -> bool:
        """Hash at most so many of the things that wait; True if none is left."""
        dirty = self._dirty
        while dirty and most > 0:
            self._total += self._hashes(dirty.pop())
            most -= 1
        return not dirty

    def value(self) -> str:
        """The digest, equal to `digest(state)`; hashes what still waits."""
        self.work(len(self._dirty))
        return combine(self._state, self._total)

    def is_right(self) -> bool:
        """Whether it equals the digest from scratch; for tests."""
        return self.value() == digest(self._state)

    def _hashes(self, key: Key) -> int:
        """The sum of what there is under a key, over all kinds."""
        total = 0
        for part in _SINGLE if isinstance(key, str) else _PAIRS:
            value = part.get(self._state, key)
            if value is not None:
                total += hash_of(part.name, key, value)
        return total


# --- what an event changes ----------------------------------------------------------------------------------------

Touch = Callable[[ServerState, Any], Iterable[Key]]


def _nothing(state: ServerState, event: ev.Event) -> tuple[Key, ...]:
    return ()


def _target(state: ServerState, event: ev.Event) -> tuple[Key, ...]:
    return () if event.target is None else (event.target,)


def _membership(state: ServerState, event: Any) -> tuple[Key, ...]:
    return () if event.target is None else (event.target, (event.target, event.member_uid))


def _everything(state: ServerState, event: ev.Event) -> Iterable[Key]:
    return [key for part in PARTS for key, _ in part.items(state)]


def _disconnect(state: ServerState, event: ev.UserDisconnect) -> Iterable[Key]:
    uid = event.target or ""
    yield uid
    for key in state.memberships.get(uid, ()):
        yield key, uid
    yield from state.invited.get(uid, ())


def _modes(state: ServerState, event: ev.ChannelModeChange) -> Iterable[Key]:
    key = event.target or ""
    yield key
    for change in event.changes:
        if change.uid is not None:
            yield key, change.uid


def _rename(state: ServerState, event: ev.ChannelRename) -> Iterable[Key]:
    """The channel and its members, under the old key and the new one, and the accounts whose read markers go along."""
    old, new = event.target or "", state.fold(event.new_name)
    channel = state.channels.get(old)
    yield old
    yield new
    if channel is None:
        return
    for uid in channel.members:
        yield old, uid
        yield new, uid
    yield from (account.key for account in state.accounts_on(channel))


def _account_and_holders(state: ServerState, event: Any) -> Iterable[Key]:
    """The account, and whoever has a nick of it now, whose mode r may change."""
    account = state.accounts.get(event.target or "")
    nicks = set() if account is None else set(account.nicks)
    nicks.add(state.fold(getattr(event, "grouped", "")))
    yield from _target(state, event)
    for nick in nicks:
        uid = state.nicks.get(nick)
        if uid is not None:
            yield uid


def _line(state: ServerState, event: Any) -> tuple[Key, ...]:
    kind = event.event_type.removeprefix("oper.").removeprefix("un")
    return ((kind, state.fold(event.mask)),)


def _filter(state: ServerState, event: Any) -> tuple[Key, ...]:
    return (event.pattern,)


def _stored(state: ServerState, event: ev.PluginStore) -> Iterable[Key]:
    return [(event.target or "", key) for key in (*event.values, *event.removed)]


def _touches() -> dict[type[ev.Event], Touch]:
    special: dict[type[ev.Event], Touch] = {
        ev.UserDisconnect: _disconnect,
        ev.ChannelModeChange: _modes,
        ev.ChannelRename: _rename,
        ev.NickGroup: _account_and_holders,
        ev.NickUngroup: _account_and_holders,
        ev.NickDrop: _account_and_holders,
        ev.FilterAdd: _filter,
        ev.FilterRemove: _filter,
        ev.PluginStore: _stored,
        ev.ServerStart: _everything,
        **dict.fromkeys((*ev.LineAdd.__subclasses__(), *ev.LineRemove.__subclasses__()), _line),
    }
    return {cls: special.get(cls) or _usual(cls) for cls in ev.EVENT_TYPES.values()}


def _usual(cls: type[ev.Event]) -> Touch:
    if cls.state_free:
        return _nothing
    return _membership if "member_uid" in cls.__struct_fields__ else _target


TOUCHES: Final = _touches()
"""For each event class the keys of all that it is about to change; more than that is harmless."""
