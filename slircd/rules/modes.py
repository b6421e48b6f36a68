"""Who may change which mode of a channel or of itself, and what change it is in the end.

A MODE of a client asks for several changes; those that it may make are one decision, those that it may not are
reported each with its numeric, as every server does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from slircd.events import types as ev
from slircd.rules.channel import OPERATORS, STAFF, rank
from slircd.rules.lookup import actor_of, may_see_channel
from slircd.state.model import Channel, ServerState, User
from slircd.wire.extbans import (
    MAX_MASK_BYTES,
    PREFIX,
    format_extban,
    looks_like_mask,
    parse_extban,
)
from slircd.wire.message import truncate_utf8
from slircd.wire.modes import CHANNEL_MODES, USER_MODES, Change, Kind, parse_changes
from slircd.wire.numerics import (
    ERR_BANLISTFULL,
    ERR_CHANOPRIVSNEEDED,
    ERR_INVALIDKEY,
    ERR_INVALIDMODEPARAM,
    ERR_MLOCKRESTRICTED,
    ERR_NOPRIVILEGES,
    ERR_NOSUCHNICK,
    ERR_USERNOTINCHANNEL,
    NumericError,
)
from slircd.wire.snomasks import SNOMASKS

MAY_GIVE: Final = {"q": "q", "a": "q", "o": "qao", "h": "qao", "v": "qaoh"}
"""Prefix mode to the prefix modes of those who may give and take it."""

OPER_FLAGS: Final = frozenset("OP")
"""Flags that only IRC operators may set."""

OWN_MODES: Final = frozenset("BDgHiRTwx")
"""User modes that users may change themselves; o may be taken off, too."""

MAX_LIMIT: Final = 999_999
MAX_RATE: Final = 999
_RATE: Final = re.compile(r"([0-9]{1,3}):([0-9]{1,3})", re.ASCII)


class Rate(NamedTuple):
    """The parameter of +f and +j: at most `most` within `seconds`."""

    most: int
    seconds: int


def parse_rate(text: str) -> Rate | None:
    """`N:S` as a rate; None if it is none."""
    match = _RATE.fullmatch(text)
    rate = Rate(int(match[1]), int(match[2])) if match else None
    return rate if rate is not None and rate.most and rate.seconds else None


def parse_lock(text: str) -> list[Change]:
    """The changes that a mode lock (ChanServ SET MLOCK) stands for: flags, and modes with a parameter."""
    parsed = parse_changes(text.split(), CHANNEL_MODES)
    kinds = (Kind.FLAG, Kind.SETTING, Kind.KEY)
    return [change for change in parsed.changes if CHANNEL_MODES.kinds[change.mode] in kinds]


class Decided(NamedTuple):
    """What becomes of a MODE: the events that are one decision, and the refusals of single changes."""

    events: list[ev.Event]
    refused: list[NumericError]


class ModeLimits(NamedTuple):
    """What configuration says of a channel's modes: entries of all lists, bytes of a key."""

    list_entries: int
    key_bytes: int


# --- channels -----------------------------------------------------------------------------------------------------


def decide_channel_modes(
    state: ServerState,
    actor: str,
    channel: Channel,
    changes: Iterable[Change],
    limits: ModeLimits,
    expiry: Callable[[int], str],
    *,
    override: bool = False,
    oper: bool = False,
) -> Decided:
    """The events of the changes that `actor` may make; `expiry` gives the timestamp that lies so many minutes ahead.

    `oper` says that the client which asks is an IRC operator's.
    """
    deciding = _ChannelModes(state, actor, channel, limits, expiry, override=override, oper=oper)
    refused: dict[tuple[str, ...], NumericError] = {}
    for change in changes:
        try:
            deciding.take(change)
        except NumericError as error:
            refused.setdefault((error.numeric.code, *error.params, error.text), error)
    return Decided(deciding.events(), list(refused.values()))


class _ChannelModes:
    """The changes of one MODE, each checked against the channel as the ones before it would leave it."""

    def __init__(
        self,
        state: ServerState,
        actor: str,
        channel: Channel,
        limits: ModeLimits,
        expiry: Callable[[int], str],
        *,
        override: bool,
        oper: bool,
    ) -> None:
        self._state = state
        self._user = actor_of(state, actor)
        self._channel = channel
        self._limits = limits
        self._expiry = expiry
        self._override = override
        self._oper = oper
        self._events: list[ev.Event] = []
        self._deltas: list[ev.ModeDelta] = []
        self._settings: dict[str, str | None] = {}
        self._members: dict[str, str] = {}
        self._masks: dict[tuple[str, str], ev.ChannelBanAdd | ev.ChannelBanRemove] = {}
        """What happens to an entry; two changes that undo each other are none."""

    def events(self) -> list[ev.Event]:
        """One event for flags, parameters and members, one for each list entry, in the order of the changes."""
        self._flush()
        return self._events

    def take(self, change: Change) -> None:
        """Check one change and note its event; raises the numeric that refuses it."""
        kind = CHANNEL_MODES.kinds[change.mode]
        if kind is Kind.PREFIX and change.mode == "q" and change.param and looks_like_mask(change.param):
            kind, change = Kind.LIST, Change(change.sign, "b", f"{PREFIX}m:{change.param}")
        if kind is Kind.PREFIX:
            self._prefix(change)
            return
        self._require(STAFF)
        self._check_lock(change)
        if kind is Kind.LIST:
            self._list(change)
        else:
            self._setting(change, kind)

    def _require(self, modes: str) -> None:
        if not self._override and not self._channel.has_any(self._user.uid, modes):
            raise NumericError(ERR_CHANOPRIVSNEEDED, self._channel.name)

    def _check_lock(self, change: Change) -> None:
        registration = self._channel.registration
        if registration is None or self._override:
            return
        lock = registration.settings.get("mlock", "")
        for locked in parse_lock(lock):
            if locked.mode == change.mode and (locked.sign != change.sign or locked.param != change.param):
                raise NumericError(ERR_MLOCKRESTRICTED, self._channel.name, change.mode, lock.replace(" ", "_"))

    def _refuse(self, change: Change, text: str) -> NumericError:
        return NumericError(ERR_INVALIDMODEPARAM, self._channel.name, change.mode, change.param or "*", text=text)

    # --- members ----------------------------------------------------------------------------------------------------

    def _prefix(self, change: Change) -> None:
        channel = self._channel
        nick = change.param or ""
        member = self._state.user_by_nick(nick)
        itself = member is not None and member.uid == self._user.uid
        if not (itself and change.sign == "-"):
            self._require(MAY_GIVE[change.mode])
        if member is None:
            raise NumericError(ERR_NOSUCHNICK, nick)
        if member.uid not in channel.members:
            raise NumericError(ERR_USERNOTINCHANNEL, member.nick, channel.name)
        if member.is_service and not self._override:
            raise NumericError(ERR_CHANOPRIVSNEEDED, channel.name, text=f"{member.nick} is a service")
        modes = self._members.get(member.uid, channel.members[member.uid])
        below = self._override or itself or rank(modes) <= rank(channel.members.get(self._user.uid, ""))
        if change.sign == "-" and not below:
            raise NumericError(
                ERR_CHANOPRIVSNEEDED, channel.name, text=f"{member.nick} stands above you on this channel"
            )
        if (change.mode in modes) == (change.sign == "+"):
            return
        others = modes.replace(change.mode, "")
        self._members[member.uid] = CHANNEL_MODES.sort_prefixes(others + change.mode if change.sign == "+" else others)
        self._deltas.append(ev.ModeDelta(change.sign, change.mode, member.nick, member.uid))

    # --- flags and parameters ---------------------------------------------------------------------------------------

    def _setting(self, change: Change, kind: Kind) -> None:
        channel, mode = self._channel, change.mode
        if mode in OPER_FLAGS and not self._oper:
            raise NumericError(ERR_NOPRIVILEGES, text=f"Permission Denied- Only IRC operators may change mode {mode}")
        if mode in self._settings:
            now = self._settings[mode]
        elif kind is Kind.FLAG:
            now = "" if mode in channel.flags else None
        else:
            now = channel.params.get(mode)
        if change.sign == "-":
            if now is not None:
                self._settings[mode] = None
                # -k shows the key that it takes off, as clients expect a parameter there.
                self._deltas.append(ev.ModeDelta("-", mode, now if kind is Kind.KEY else None))
            return
        value = "" if kind is Kind.FLAG else self._value(change)
        if value != now:
            self._settings[mode] = value
            self._deltas.append(ev.ModeDelta("+", mode, value or None))

    def _value(self, change: Change) -> str:
        text = change.param or ""
        if change.mode == "k":
            wrong = not text or text.startswith(":") or any(c in " ,\t" or ord(c) < 32 for c in text)
            if wrong or len(text.encode()) > self._limits.key_bytes:
                raise NumericError(ERR_INVALIDKEY, self._channel.name)
            return text
        if change.mode == "l":
            if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= MAX_LIMIT):
                raise self._refuse(change, f"A limit is a number from 1 to {MAX_LIMIT}")
            return str(int(text))
        if change.mode == "L":
            return self._link(change, text)
        rate = parse_rate(text)
        if rate is None:
            raise self._refuse(change, f"A rate is N:S, N times in S seconds, each from 1 to {MAX_RATE}")
        return f"{rate.most}:{rate.seconds}"

    def _link(self, change: Change, name: str) -> str:
        """The name of the channel that others are sent to, which they must be wanted on: its operators may do that."""
        linked = self._state.channel_by_name(name)
        visible = linked is not None and may_see_channel(linked, self._user.uid, sees_hidden=self._override)
        if linked is None or not visible or linked is self._channel:
            raise self._refuse(change, "A link leads to another channel that is there")
        if not self._override and not linked.has_any(self._user.uid, OPERATORS):
            raise NumericError(ERR_CHANOPRIVSNEEDED, linked.name)
        return linked.name

    # --- lists ------------------------------------------------------------------------------------------------------

    def _list(self, change: Change) -> None:
        entry = parse_extban(truncate_utf8(change.param or "", MAX_MASK_BYTES))
        if entry is None:
            raise self._refuse(change, "Not an extended ban; see HELP EXTBANS")
        mask = format_extban(entry)
        if any(ord(c) <= 32 for c in mask):
            raise self._refuse(change, "A mask has no spaces")
        key = (change.mode, self._state.fold(mask))
        item = self._channel.entries(change.mode).get(key[1])
        earlier = self._masks.get(key)
        is_set = item is not None if earlier is None else isinstance(earlier, ev.ChannelBanAdd)
        if is_set == (change.sign == "+"):
            return
        if earlier is not None:
            self._events.remove(earlier)
            del self._masks[key]
            return
        if change.sign == "+" and self._entries() >= self._limits.list_entries:
            raise NumericError(ERR_BANLISTFULL, self._channel.name, change.mode)
        event: ev.ChannelBanAdd | ev.ChannelBanRemove
        if item is not None:
            event = ev.ChannelBanRemove(
                actor_uid=self._user.uid,
                target=self._channel.key,
                nick=self._user.nick,
                mode=change.mode,
                mask=item.mask,
            )
        else:
            event = ev.ChannelBanAdd(
                actor_uid=self._user.uid,
                target=self._channel.key,
                nick=self._user.nick,
                mode=change.mode,
                mask=mask,
                set_by=self._user.source,
                expires=self._expiry(entry.minutes) if entry.minutes is not None else None,
            )
        self._flush()
        self._masks[key] = event
        self._events.append(event)

    def _entries(self) -> int:
        """How many entries all lists will have after the changes so far."""
        count = sum(len(entries) for entries in self._channel.lists.values())
        return count + sum(1 if isinstance(event, ev.ChannelBanAdd) else -1 for event in self._masks.values())

    def _flush(self) -> None:
        if self._deltas:
            self._events.append(
                ev.ChannelModeChange(
                    actor_uid=self._user.uid,
                    target=self._channel.key,
                    nick=self._user.nick,
                    changes=self._deltas,
                )
            )
            self._deltas = []


def expiry_event(channel: Channel, mode: str, mask: str) -> ev.ChannelBanRemove:
    """The server removes an entry whose time has come."""
    return ev.ChannelBanRemove(actor_uid=ev.SERVER, target=channel.key, nick="", mode=mode, mask=mask)


# --- users --------------------------------------------------------------------------------------------------------


def decide_user_modes(
    state: ServerState, uid: str, changes: Iterable[Change], cloak: Callable[[User], str], *, oper: bool = False
) -> Iterator[ev.Event]:
    """A user changes its own modes; what it may not change is left as it is, as every server does it.

    `cloak` gives the host that hides the user's address, `oper` says that the client which asks is an IRC operator's.
    """
    user = state.users[uid]
    modes = set(user.modes)
    snomask = user.snomask
    for change in changes:
        mode = change.mode
        if mode == "s":
            if oper or change.sign == "-":
                snomask = _snomask(snomask, change)
            continue
        allowed = mode in OWN_MODES or (mode == "o" and change.sign == "-")
        if not allowed or (mode == "H" and change.sign == "+" and not oper):
            continue
        if change.sign == "+":
            modes.add(mode)
        else:
            modes.discard(mode)
    if "o" not in modes:
        modes.discard("H")
        snomask = ""
    (modes.add if snomask else modes.discard)("s")
    deltas = [ev.ModeDelta("-", mode) for mode in sorted(user.modes - modes)]
    deltas += [ev.ModeDelta("+", mode) for mode in sorted(modes - user.modes) if mode != "s"]
    if snomask and snomask != user.snomask:
        deltas.append(ev.ModeDelta("+", "s", snomask))
    if deltas:
        yield ev.UserModeChange(actor_uid=uid, target=uid, nick=user.nick, changes=deltas)
    if "x" in modes ^ user.modes:
        host = cloak(user) if "x" in modes else user.real_host
        if host != user.host:
            yield host_change(user, uid, user.username, host)


def _snomask(now: str, change: Change) -> str:
    """The letters of server notices after `+s abc` (all without letters), `+s -b` or `-s`."""
    if change.sign == "-":
        return ""
    letters = set(now)
    sign = "+"
    for letter in change.param or SNOMASKS:
        if letter in "+-":
            sign = letter
        elif letter in SNOMASKS:
            (letters.add if sign == "+" else letters.discard)(letter)
    return "".join(sorted(letters))


def host_change(user: User, actor: str, username: str, host: str) -> ev.UserHostChange:
    """The user name and host that people see of `user` become others."""
    return ev.UserHostChange(
        actor_uid=actor,
        target=user.uid,
        nick=user.nick,
        username=username,
        host=host,
        previous_username=user.username,
        previous_host=user.host,
    )


def unknown_user_modes(words: str) -> str:
    """The letters of a mode string that are no user modes."""
    return "".join(letter for letter in words if letter not in USER_MODES.kinds and letter not in "+-")
