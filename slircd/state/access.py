"""What the access list of a registered channel gives: Atheme's flags, and the prefix modes that follow from them.

It stands in `state` because a join of somebody with access entails a mode change at the moment of ordering.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slircd.events import types as ev
from slircd.state.model import Channel, ServerState, User
from slircd.wire.masks import matches_mask
from slircd.wire.modes import CHANNEL_MODES

NICKSERV: Final = "nickserv"
CHANSERV: Final = "chanserv"
"""Actors of what the services do of themselves."""

FLAGS: Final[dict[str, str]] = {
    "v": "may voice and devoice itself and others",
    "V": "is voiced on joining",
    "h": "may halfop and dehalfop itself and others",
    "H": "is halfopped on joining",
    "o": "may op and deop itself and others",
    "O": "is opped on joining",
    "a": "may protect and deprotect",
    "q": "may make owners",
    "s": "may change the channel's settings",
    "i": "may invite itself and have the channel opened to it",
    "r": "may kick, ban and unban",
    "R": "may recover and clear the channel",
    "f": "may change the access list",
    "t": "may change the topic",
    "A": "may see the access list and the history",
    "S": "may be the channel's successor",
    "F": "has the founder's rights",
    "b": "is kicked and banned on joining (AKICK)",
}
"""Letter to meaning; letters are those of Atheme."""

TEMPLATES: Final[dict[str, str]] = {
    "VOP": "AV",
    "HOP": "AHhiv",
    "AOP": "AOhioRrtv",
    "SOP": "AOafhioRrstv",
}
"""XOP names for sets of flags, as Atheme has them."""

_JOINING: Final = {"F": "qo", "O": "o", "H": "h", "V": "v"}
"""Flag to the prefix modes on joining, highest first: only those of the first flag that somebody has are given."""


def flags_of(state: ServerState, channel: Channel, user: User) -> str:
    """All flags that a user has on a registered channel: by its account and by masks; the founder has all but b."""
    registration = channel.registration
    if registration is None:
        return ""
    account = state.fold(user.account) if user.account is not None else None
    if account is not None and account == registration.founder:
        return "".join(flag for flag in FLAGS if flag != "b")
    flags: set[str] = set()
    for key, access in registration.access.items():
        if key == account or ("!" in key and _matches(state, access.entry, user)):
            flags.update(access.flags)
    if "F" in flags:
        flags.update(flag for flag in FLAGS if flag != "b")
    return "".join(flag for flag in FLAGS if flag in flags)


def _matches(state: ServerState, mask: str, user: User) -> bool:
    hosts = (user.host, user.real_host, user.ip)
    return matches_mask(mask, user.nick, user.username, hosts, user.ip, state.fold)


def prefixes_of(state: ServerState, channel: Channel, user: User) -> str:
    """The prefix modes that access gives a user on joining, highest first."""
    if channel.registration is not None and channel.registration.is_set("noautoop"):
        return ""
    flags = flags_of(state, channel, user)
    return next((modes for flag, modes in _JOINING.items() if flag in flags), "")


def granted_modes(state: ServerState, channel: Channel, user: User, has: str) -> Iterator[ev.ChannelModeChange]:
    """The mode change by ChanServ for a member who has the prefix modes `has`; none if it lacks nothing."""
    wanted = prefixes_of(state, channel, user)
    missing = [mode for mode in CHANNEL_MODES.prefixes if mode in wanted and mode not in has]
    if missing:
        yield ev.ChannelModeChange(
            actor_uid=CHANSERV,
            target=channel.key,
            nick="ChanServ",
            changes=[ev.ModeDelta("+", mode, user.nick, user.uid) for mode in missing],
        )
