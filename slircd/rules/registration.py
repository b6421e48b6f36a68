"""Registered channels: what founders and access lists allow.

What ChanServ does for somebody is an event of the actor `chanserv` that carries the nick of who asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slircd.events import types as ev
from slircd.rules.account import AccountError
from slircd.rules.bans import matches_entry
from slircd.rules.history import history_seconds
from slircd.rules.lookup import channel_named, may_see_channel
from slircd.rules.modes import parse_lock
from slircd.state.access import CHANSERV, FLAGS, TEMPLATES, flags_of, granted_modes
from slircd.state.model import Account, Channel, Registration, ServerState, User
from slircd.wire.extbans import parse_extban
from slircd.wire.masks import canonical_mask
from slircd.wire.modes import CHANNEL_MODES, Change, Kind, format_changes
from slircd.wire.numerics import ERR_NOSUCHCHANNEL, NumericError

ON_OFF: Final[dict[str, str]] = {
    "keeptopic": "the topic stays when everybody leaves (default ON)",
    "topiclock": "only who has flag t changes the topic",
    "restricted": "only who is on the access list may join",
    "noautoop": "nobody gets modes on joining",
    "private": "INFO and LIST tell others only that the channel is registered",
    "guard": "ChanServ stays on the channel",
}
"""Settings of a channel that are on or off."""

TEXTS: Final[dict[str, str]] = {
    "entrymsg": "what who joins is told",
    "description": "what the channel is about",
    "url": "where there is more to read",
    "mlock": "modes that nobody may change, such as +nt-s",
    "founder": "the account that owns the channel",
    "history": "ON: what is said here is kept, where the network does that; OFF: it is not; JOINED: members see only "
    "what was said since they joined; 12h or 7d: only what is not older",
    "successor": "the account that gets it when the founder's is dropped",
}
"""Settings that hold a text."""

MAX_TEXT: Final = 300
LIST_OF: Final = {"bans": "b", "excepts": "e", "invites": "I"}
NICK: Final = "ChanServ"


def denied(channel: Channel, flags: str) -> AccountError:
    """You may not do that here."""
    words = " or ".join(flags)
    return AccountError("ACCESS_DENIED", f"You need the flag {words} on {channel.name}.")


def known_channel(state: ServerState, name: str, user: User, *, override: bool = False) -> Channel:
    """The channel of this name; raises ERR_NOSUCHCHANNEL also where `user` may not know of it.

    Members may know of a hidden channel, and who has flags there.
    """
    channel = channel_named(state, name)
    if not may_see_channel(channel, user.uid, sees_hidden=override) and not flags_of(state, channel, user):
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    return channel


def registered_channel(
    state: ServerState, name: str, user: User, *, override: bool = False
) -> tuple[Channel, Registration]:
    """A registered channel that `user` may know of, and its registration.  Raises AccountError or ERR_NOSUCHCHANNEL."""
    channel = known_channel(state, name, user, override=override)
    if channel.registration is None:
        raise AccountError("NOT_REGISTERED", f"{channel.name} is not registered.")
    return channel, channel.registration


def require_flag(state: ServerState, channel: Channel, user: User, flags: str, *, override: bool = False) -> None:
    """Raise AccountError unless the user has one of the flags on the channel."""
    if not override and not set(flags) & set(flags_of(state, channel, user)):
        raise denied(channel, flags)


# --- register, drop -----------------------------------------------------------------------------------------------


def decide_chan_register(
    state: ServerState, user: User, account: Account, name: str, max_channels: int
) -> Iterator[ev.Event]:
    """An operator of a channel registers it to its account."""
    channel = known_channel(state, name, user)
    if channel.registration is not None:
        raise AccountError("REGISTERED", f"{channel.name} is registered already.")
    if not channel.has_any(user.uid, CHANNEL_MODES.at_least("o")):
        raise AccountError("ACCESS_DENIED", f"You must be an operator of {channel.name}.")
    own = sum(1 for each in state.channels.values() if each.registration and each.registration.founder == account.key)
    if own >= max_channels:
        raise AccountError("TOO_MANY_CHANNELS", f"An account has at most {max_channels} channels.")
    yield ev.ChanRegister(actor_uid=user.uid, target=channel.key, nick=user.nick, founder=account.key)
    missing = [mode for mode in "qo" if mode not in channel.members[user.uid]]
    if missing:
        deltas = [ev.ModeDelta("+", mode, user.nick, user.uid) for mode in missing]
        yield ev.ChannelModeChange(actor_uid=CHANSERV, target=channel.key, nick=user.nick, changes=deltas)


def decide_chan_drop(state: ServerState, user: User, name: str, *, override: bool) -> Iterator[ev.Event]:
    """The founder gives a channel up."""
    channel, registration = registered_channel(state, name, user, override=override)
    account = state.account_of(user)
    if not override and (account is None or account.key != registration.founder):
        raise AccountError("ACCESS_DENIED", "Only the founder may do that.")
    guard = state.users.get(CHANSERV)
    if guard is not None and CHANSERV in channel.members and len(channel.members) > 1:
        yield _guard_part(channel, user.nick)
    yield ev.ChanDrop(actor_uid=user.uid, target=channel.key, nick=user.nick, founder=registration.founder)


# --- access -------------------------------------------------------------------------------------------------------


def parse_flags(text: str, before: str) -> str:
    """`+ov-t`, `=AOP`, or the name of a template, applied to the flags of before.  Raises AccountError."""
    if text.lstrip("=+").upper() in TEMPLATES:
        return _sorted(TEMPLATES[text.lstrip("=+").upper()])
    flags = set(before)
    sign = "+"
    for letter in text:
        if letter in "+-=":
            sign = letter
            if sign == "=":
                flags, sign = set(), "+"
        elif letter == "*" and sign == "-":
            flags.clear()
        elif letter == "*":
            flags.update(flag for flag in FLAGS if flag not in "bF")
        elif letter not in FLAGS:
            known = "".join(FLAGS)
            raise AccountError("INVALID_FLAGS", f"{letter} is no flag: {known}, or {', '.join(TEMPLATES)}.")
        elif sign == "+":
            flags.add(letter)
        else:
            flags.discard(letter)
    return _sorted("".join(flags))


def _sorted(flags: str) -> str:
    return "".join(flag for flag in FLAGS if flag in flags)


def entry_name(state: ServerState, word: str) -> str:
    """What an access entry is called: the name of an account, or a mask.  Raises AccountError."""
    if any(sign in word for sign in "!@*?"):
        return canonical_mask(word)
    account = state.account_named(word) or state.owner_of_nick(word)
    if account is None:
        raise AccountError("NO_ACCOUNT", f"{word} is no account; a mask has ! or @.")
    return account.name


def decide_flags(
    state: ServerState, user: User, name: str, word: str, change: str, reason: str = "", *, override: bool = False
) -> Iterator[ev.Event]:
    """The access flags of an account or a mask are changed; who does it must have them, and f; F is the founder's."""
    channel, registration = registered_channel(state, name, user, override=override)
    entry = entry_name(state, word)
    key = state.fold(entry)
    access = registration.access.get(key)
    before = access.flags if access is not None else ""
    own = set(flags_of(state, channel, user))
    account = state.account_of(user)
    itself = account is not None and key == account.key
    after = parse_flags(change, before)
    changed = set(before) ^ set(after)
    if not override:
        leaving = itself and not after
        if not leaving:
            require_flag(state, channel, user, "f")
        allowed = own | {"b"} if "r" in own or "F" in own else own
        if not leaving and changed - allowed:
            raise denied(channel, "".join(sorted(changed - allowed)))
        founder = account is not None and account.key == registration.founder
        if "F" in changed and not founder and not leaving:
            raise AccountError("ACCESS_DENIED", "Only the founder may do that.")
    if key == registration.founder:
        raise AccountError("FOUNDER", "The founder has all rights; see SET FOUNDER.")
    if "b" in after and set(after) != {"b"}:
        raise AccountError("INVALID_FLAGS", "Flag b stands alone: who is kept out has no rights.")
    if len(registration.access) >= MAX_ENTRIES and access is None:
        raise AccountError("TOO_MANY_ENTRIES", f"A channel has at most {MAX_ENTRIES} entries.")
    if after == before:
        return
    yield ev.ChanFlags(
        actor_uid=user.uid,
        target=channel.key,
        nick=user.nick,
        entry=entry,
        flags=after,
        previous=before,
        reason=reason if "b" in after else "",
    )
    if "b" in after:
        yield from _kick_matching(state, channel, user, key, entry, reason or "You are kept out of this channel")


MAX_ENTRIES: Final = 500


def _kick_matching(
    state: ServerState, channel: Channel, user: User, key: str, entry: str, reason: str
) -> Iterator[ev.Event]:
    mask = parse_extban(entry) if "!" in entry else None
    for uid in channel.members:
        member = state.users[uid]
        hit = (
            matches_entry(state, mask, member)
            if mask is not None
            else member.account is not None and state.fold(member.account) == key
        )
        if hit and not member.is_service and not set(flags_of(state, channel, member)) - {"b"}:
            yield _kick(channel, user.nick, member, reason)


def _kick(channel: Channel, nick: str, member: User, reason: str) -> ev.ChannelKick:
    return ev.ChannelKick(
        actor_uid=CHANSERV,
        target=channel.key,
        nick=nick,
        member_uid=member.uid,
        member=member.nick,
        name=channel.name,
        reason=reason,
        prefixes="",
    )


# --- settings -----------------------------------------------------------------------------------------------------


def decide_chan_set(
    state: ServerState, user: User, name: str, setting: str, value: str, *, override: bool = False
) -> Iterator[ev.Event]:
    """A setting of a registered channel is changed: by who has flag s, founder and successor by the founder."""
    channel, registration = registered_channel(state, name, user, override=override)
    account = state.account_of(user)
    if setting in ("founder", "successor"):
        if not override and (account is None or account.key != registration.founder):
            raise AccountError("ACCESS_DENIED", "Only the founder may do that.")
    else:
        require_flag(state, channel, user, "s", override=override)
    value = _checked(state, setting, value)
    previous = registration.founder if setting == "founder" else registration.settings.get(setting, "")
    if value == previous:
        return
    yield ev.ChanSet(
        actor_uid=user.uid, target=channel.key, nick=user.nick, setting=setting, value=value, previous=previous
    )
    if setting == "mlock":
        yield from lock_changes(channel, user.nick, value)
    if setting == "guard":
        yield from guard_moves(state, channel, user.nick, value)


def _checked(state: ServerState, setting: str, value: str) -> str:
    if setting in ON_OFF:
        word = value.lower()
        if word not in ("on", "off"):
            raise AccountError("INVALID_VALUE", f"{setting.upper()} is ON or OFF: {ON_OFF[setting]}.")
        if setting == "keeptopic":
            return "off" if word == "off" else ""
        return "on" if word == "on" else ""
    if setting not in TEXTS:
        names = ", ".join(each.upper() for each in (*ON_OFF, *TEXTS))
        raise AccountError("INVALID_SETTING", f"{setting.upper()} is no setting: {names}.")
    if setting in ("founder", "successor"):
        account = state.account_named(value)
        if account is None and (setting == "founder" or value):
            raise AccountError("NO_ACCOUNT", f"{value} is no account.")
        return account.key if account is not None else ""
    if setting == "mlock":
        return _checked_lock(value)
    if setting == "history":
        word = value.lower()
        if word not in ("on", "off", "joined") and history_seconds(word) is None:
            raise AccountError("INVALID_VALUE", "HISTORY is ON, OFF, JOINED, or an age such as 12h or 7d.")
        return "" if word == "on" else word
    if len(value.encode()) > MAX_TEXT:
        raise AccountError("INVALID_VALUE", f"At most {MAX_TEXT} bytes.")
    return value


def _checked_lock(value: str) -> str:
    changes = parse_lock(value)
    letters = [letter for letter in value.split()[0] if letter not in "+-"] if value.split() else []
    if len(changes) != len(letters) or len({change.mode for change in changes}) != len(changes):
        raise AccountError(
            "INVALID_VALUE", "A lock has flags and k, f, j, l with their parameters, each once: +ntl-s 50"
        )
    if any(change.mode in "OP" for change in changes):
        raise AccountError("INVALID_VALUE", "O and P are for IRC operators.")
    if any(change.mode == "L" and change.sign == "+" for change in changes):
        raise AccountError("INVALID_VALUE", "L is set by an operator of the channel that it leads to: MODE.")
    return " ".join(next(format_changes(changes, len(changes), MAX_TEXT))) if changes else ""


def lock_changes(channel: Channel, nick: str, lock: str) -> Iterator[ev.Event]:
    """What has to change so that the channel has the modes of a lock."""
    deltas: list[ev.ModeDelta] = []
    for change in parse_lock(lock):
        kind = CHANNEL_MODES.kinds[change.mode]
        now = channel.params.get(change.mode) if kind is not Kind.FLAG else None
        is_set = change.mode in channel.flags if kind is Kind.FLAG else now is not None
        if change.sign == "+" and (not is_set or (kind is not Kind.FLAG and now != change.param)):
            deltas.append(ev.ModeDelta("+", change.mode, change.param))
        elif change.sign == "-" and is_set:
            deltas.append(ev.ModeDelta("-", change.mode, now if kind is Kind.KEY else None))
    if deltas:
        yield ev.ChannelModeChange(actor_uid=CHANSERV, target=channel.key, nick=nick, changes=deltas)


def guard_moves(state: ServerState, channel: Channel, nick: str, value: str) -> Iterator[ev.Event]:
    """ChanServ joins or leaves, as the setting GUARD now says."""
    guard = state.users.get(CHANSERV)
    if guard is None:
        return
    if value and CHANSERV not in channel.members:
        yield ev.ChannelJoin(
            actor_uid=CHANSERV,
            target=channel.key,
            nick=nick,
            member_uid=CHANSERV,
            member=guard.nick,
            name=channel.name,
            prefixes="ao",
        )
    elif not value and CHANSERV in channel.members:
        yield _guard_part(channel, nick)


def _guard_part(channel: Channel, nick: str) -> ev.ChannelPart:
    return ev.ChannelPart(
        actor_uid=CHANSERV,
        target=channel.key,
        nick=nick,
        member_uid=CHANSERV,
        member=NICK,
        name=channel.name,
        reason="",
        prefixes="",
    )


# --- what ChanServ does for people --------------------------------------------------------------------------------

GIVES: Final = {"q": "q", "a": "a", "o": "o", "h": "h", "v": "v"}
"""Prefix mode to the flag that allows to have ChanServ give and take it."""


def decide_give(
    state: ServerState, user: User, name: str, change: Change, nicks: list[str], *, override: bool = False
) -> Iterator[ev.Event]:
    """ChanServ gives members a prefix mode, or takes it."""
    channel, _ = registered_channel(state, name, user, override=override)
    require_flag(state, channel, user, GIVES[change.mode], override=override)
    deltas: list[ev.ModeDelta] = []
    for nick in nicks or [user.nick]:
        member = state.user_by_nick(nick)
        if member is None or member.uid not in channel.members:
            raise AccountError("NOT_ON_CHANNEL", f"{nick} is not on {channel.name}.")
        if (change.mode in channel.members[member.uid]) != (change.sign == "+"):
            deltas.append(ev.ModeDelta(change.sign, change.mode, member.nick, member.uid))
    if deltas:
        yield ev.ChannelModeChange(actor_uid=CHANSERV, target=channel.key, nick=user.nick, changes=deltas)


def decide_cs_kick(
    state: ServerState, user: User, name: str, nick: str, reason: str, *, override: bool = False
) -> Iterator[ev.Event]:
    """ChanServ removes a member, who must not have more rights than who asks."""
    channel, _ = registered_channel(state, name, user, override=override)
    require_flag(state, channel, user, "r", override=override)
    member = state.user_by_nick(nick)
    if member is None or member.uid not in channel.members:
        raise AccountError("NOT_ON_CHANNEL", f"{nick} is not on {channel.name}.")
    if member.is_service or (
        not override and set(flags_of(state, channel, member)) - set(flags_of(state, channel, user))
    ):
        raise AccountError("ACCESS_DENIED", f"{member.nick} has rights that you have not.")
    yield _kick(channel, user.nick, member, f"({user.nick}) {reason}")


def decide_cs_invite(state: ServerState, user: User, name: str, nick: str) -> Iterator[ev.Event]:
    """ChanServ invites who has flag i, or somebody for it; past bans if it might lift them, too (flag r)."""
    channel, _ = registered_channel(state, name, user)
    require_flag(state, channel, user, "i")
    invited = state.user_by_nick(nick or user.nick)
    if invited is None:
        raise AccountError("NO_SUCH_NICK", f"There is no {nick}.")
    if invited.uid in channel.members:
        raise AccountError("ON_CHANNEL", f"{invited.nick} is on {channel.name} already.")
    yield ev.ChannelInvite(
        actor_uid=CHANSERV,
        target=channel.key,
        nick=user.nick,
        member_uid=invited.uid,
        member=invited.nick,
        by_staff="r" in flags_of(state, channel, user),
    )


def _unban(channel: Channel, nick: str, mode: str, mask: str) -> ev.ChannelBanRemove:
    return ev.ChannelBanRemove(actor_uid=CHANSERV, target=channel.key, nick=nick, mode=mode, mask=mask)


def decide_unban(state: ServerState, user: User, name: str, who: str) -> Iterator[ev.Event]:
    """ChanServ takes off every ban that hits somebody, or a ban itself."""
    channel, _ = registered_channel(state, name, user)
    require_flag(state, channel, user, "r")
    victim = state.user_by_nick(who or user.nick)
    if victim is None:
        entry = channel.entries("b").get(state.fold(canonical_mask(who)))
        if entry is None:
            raise AccountError("NO_BAN", f"{who} is neither a user nor a ban.")
        yield _unban(channel, user.nick, "b", entry.mask)
        return
    for item in channel.entries("b").values():
        entry_parts = parse_extban(item.mask)
        if entry_parts is not None and matches_entry(state, entry_parts, victim):
            yield _unban(channel, user.nick, "b", item.mask)


def decide_ban(state: ServerState, user: User, name: str, who: str) -> Iterator[ev.Event]:
    """ChanServ bans a mask, or a user's host."""
    channel, _ = registered_channel(state, name, user)
    require_flag(state, channel, user, "r")
    victim = state.user_by_nick(who)
    mask = f"*!*@{victim.host}" if victim is not None else canonical_mask(who)
    if state.fold(mask) not in channel.entries("b"):
        yield ev.ChannelBanAdd(
            actor_uid=CHANSERV, target=channel.key, nick=user.nick, mode="b", mask=mask, set_by=user.source
        )


def decide_clear(state: ServerState, user: User, name: str, what: str, *, override: bool = False) -> Iterator[ev.Event]:
    """ChanServ empties a list, takes off modes or prefixes, or removes everybody."""
    channel, registration = registered_channel(state, name, user, override=override)
    require_flag(state, channel, user, "R", override=override)
    if what in LIST_OF:
        for item in channel.entries(LIST_OF[what]).values():
            yield _unban(channel, user.nick, LIST_OF[what], item.mask)
    elif what == "modes":
        kept = {change.mode for change in parse_lock(registration.settings.get("mlock", ""))} | {"P", "O"}
        deltas = [ev.ModeDelta("-", mode) for mode in sorted(channel.flags - kept)]
        for mode, value in sorted(channel.params.items()):
            if mode not in kept:
                deltas.append(ev.ModeDelta("-", mode, value if mode == "k" else None))
        if deltas:
            yield ev.ChannelModeChange(actor_uid=CHANSERV, target=channel.key, nick=user.nick, changes=deltas)
    elif what in ("ops", "voices"):
        letters = "qaoh" if what == "ops" else "v"
        yield from _strip(state, channel, user, letters)
    elif what == "users":
        for uid in channel.members:
            member = state.users[uid]
            if not member.is_service and uid != user.uid:
                yield _kick(channel, user.nick, member, f"CLEAR USERS by {user.nick}")
    else:
        raise AccountError("INVALID_VALUE", "CLEAR BANS, EXCEPTS, INVITES, MODES, OPS, VOICES or USERS.")


def _strip(state: ServerState, channel: Channel, user: User, letters: str) -> Iterator[ev.Event]:
    deltas = [
        ev.ModeDelta("-", mode, state.users[uid].nick, uid)
        for uid, modes in channel.members.items()
        for mode in modes
        if mode in letters and uid != user.uid and not state.users[uid].is_service
    ]
    if deltas:
        yield ev.ChannelModeChange(actor_uid=CHANSERV, target=channel.key, nick=user.nick, changes=deltas)


def decide_recover(state: ServerState, user: User, name: str, *, override: bool = False) -> Iterator[ev.Event]:
    """A channel is taken back: nobody else is staff, nothing keeps who asks out, and it is an operator."""
    channel, _ = registered_channel(state, name, user, override=override)
    require_flag(state, channel, user, "R", override=override)
    yield from _strip(state, channel, user, "qaoh")
    deltas = [ev.ModeDelta("-", mode) for mode in "im" if mode in channel.flags]
    deltas += [
        ev.ModeDelta("-", mode, channel.params[mode] if mode == "k" else None)
        for mode in "kl"
        if mode in channel.params
    ]
    if user.uid in channel.members and "o" not in channel.members[user.uid]:
        deltas.append(ev.ModeDelta("+", "o", user.nick, user.uid))
    if deltas:
        yield ev.ChannelModeChange(actor_uid=CHANSERV, target=channel.key, nick=user.nick, changes=deltas)
    for item in channel.entries("b").values():
        entry = parse_extban(item.mask)
        if entry is not None and matches_entry(state, entry, user):
            yield _unban(channel, user.nick, "b", item.mask)


def decide_cs_topic(
    state: ServerState, user: User, name: str, topic: str, *, override: bool = False
) -> Iterator[ev.Event]:
    """ChanServ sets the topic for who has flag t."""
    channel, _ = registered_channel(state, name, user, override=override)
    require_flag(state, channel, user, "t", override=override)
    yield ev.ChannelTopicChange(
        actor_uid=CHANSERV,
        target=channel.key,
        nick=user.nick,
        topic=topic,
        set_by=user.source,
        previous=channel.topic.text if channel.topic is not None else "",
    )


def decide_sync(state: ServerState, user: User, name: str) -> Iterator[ev.Event]:
    """Members get the modes that the access list gives them."""
    channel, _ = registered_channel(state, name, user)
    require_flag(state, channel, user, "R")
    for uid, modes in channel.members.items():
        yield from granted_modes(state, channel, state.users[uid], modes)
