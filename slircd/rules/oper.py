"""What IRC operators do to others.  That they may, the registry has checked against their class's privileges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slircd.events import types as ev
from slircd.rules.lookup import actor_of, person_named
from slircd.rules.modes import host_change
from slircd.rules.user import check_nick, disconnect_event
from slircd.state.model import ServerState, User
from slircd.wire.masks import canonical_mask, matches_mask
from slircd.wire.names import valid_host, valid_username
from slircd.wire.numerics import StandardReply


def matches_oper_masks(state: ServerState, user: User, masks: Sequence[str]) -> bool:
    """Whether the user's user name and host, or address, are among those that an operator block allows."""
    hosts = (user.real_host, user.ip, user.host)
    return any(
        matches_mask(canonical_mask(mask), user.nick, user.username, hosts, user.ip, state.fold) for mask in masks
    )


def decide_oper(state: ServerState, uid: str, oper: str, oper_class: str, vhost: str | None) -> Iterator[ev.Event]:
    """A user has given the right credentials of the operator block `oper`."""
    user = state.users[uid]
    yield ev.OperLogin(actor_uid=uid, target=uid, nick=user.nick, oper=oper, oper_class=oper_class)
    yield ev.UserModeChange(actor_uid=uid, target=uid, nick=user.nick, changes=[ev.ModeDelta("+", "o")], oper=oper)
    if vhost is not None and vhost != user.host:
        yield host_change(user, uid, user.username, vhost)


def decide_kill(state: ServerState, actor: str, nick: str, reason: str) -> Iterator[ev.Event]:
    """An operator disconnects a user."""
    victim = person_named(state, nick)
    oper = actor_of(state, actor)
    yield ev.OperKill(actor_uid=actor, target=victim.uid, nick=oper.nick, member=victim.nick, reason=reason)
    yield disconnect_event(victim, actor, f"Killed ({oper.nick} ({reason}))")


def decide_sanick(state: ServerState, actor: str, nick: str, new_nick: str, max_length: int) -> Iterator[ev.Event]:
    """An operator gives a user another nick; nothing if it is the same to the letter."""
    user = person_named(state, nick)
    check_nick(state, new_nick, max_length, own_uid=user.uid)
    if new_nick != user.nick:
        yield ev.UserNickChange(actor_uid=actor, target=user.uid, nick=user.nick, new_nick=new_nick)


def decide_chghost(
    state: ServerState, actor: str, nick: str, username: str | None, host: str, max_username: int
) -> Iterator[ev.Event]:
    """An operator gives a user another host and, unless None, another user name."""
    user = person_named(state, nick)
    username = user.username if username is None else username
    if not valid_username(username, max_username):
        raise StandardReply("FAIL", "INVALID_PARAMS", username, text="That is no user name")
    if not valid_host(host):
        raise StandardReply(
            "FAIL", "INVALID_PARAMS", host, text="A host has at most 63 characters, and a dot, colon or slash"
        )
    if (username, host) != (user.username, user.host):
        yield host_change(user, actor, username, host)
