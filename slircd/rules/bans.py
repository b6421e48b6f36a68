"""Whom an entry of a channel's list hits: masks and extended bans against a user."""

from __future__ import annotations

from slircd.state.model import Channel, ServerState, User
from slircd.wire.extbans import Extban, parse_extban
from slircd.wire.masks import matches_glob, matches_mask


def matches_entry(state: ServerState, entry: Extban, user: User) -> bool:
    """Whether a list entry, acting or not, is about `user`."""
    fold = state.fold
    if not entry.letter:
        # The real host and the address too, so that a ban cannot be escaped by a cloak or a virtual host.
        hosts = (user.host, user.real_host, user.ip)
        return matches_mask(entry.value, user.nick, user.username, hosts, user.ip, fold)
    if entry.letter == "U":
        return user.account is None
    pattern = fold(entry.value)
    if entry.letter == "a":
        return user.account is not None and matches_glob(pattern, fold(user.account))
    if entry.letter == "r":
        return matches_glob(pattern, fold(user.realname))
    if entry.letter == "z":
        return user.certfp is not None and matches_glob(pattern, user.certfp)
    return any(matches_glob(pattern, key) for key in state.memberships.get(user.uid, ()))


def is_listed(
    state: ServerState, channel: Channel, mode: str, user: User, action: str = "", *, since: str = ""
) -> bool:
    """Whether an entry of the list `mode` with the acting letter `action` (none: an ordinary one) hits `user`.

    Entries that were set at `since` (a timestamp of the log) or before do not count.
    """
    for item in channel.entries(mode).values():
        if item.set_at <= since:
            continue
        entry = parse_extban(item.mask)
        if entry is not None and entry.action == action and matches_entry(state, entry, user):
            return True
    return False


def is_banned(state: ServerState, channel: Channel, user: User, action: str = "", *, since: str = "") -> bool:
    """Whether `user` is banned from the channel, or from what `action` says (m: speaking, n: changing nick).

    An ordinary ban covers every action; an exception of either sort lifts it.  Bans that were set at `since` or before
    do not count.
    """
    if not channel.entries("b"):
        return False
    actions = ("", action) if action else ("",)
    if not any(is_listed(state, channel, "b", user, each, since=since) for each in actions):
        return False
    return not any(is_listed(state, channel, "e", user, each) for each in actions)
