"""What holds of a running server between two turns, whatever its clients did."""

from __future__ import annotations

from slircd.network.server import IRCServer
from slircd.security.confusables import LookAlikes
from slircd.state.model import ServerState
from slircd.state.snapshot import decode_snapshot, encode_snapshot
from slircd.wire.modes import CHANNEL_MODES, USER_MODES, Kind

PREFIXES = "".join(CHANNEL_MODES.prefixes)


def check_state(server: IRCServer) -> None:
    """The state agrees with itself, and the live services agree with the state."""
    check_references(server.state)
    check_indexes(server.state)
    check_users(server)
    check_channels(server)
    check_sessions(server)
    check_bans(server)


def check_references(state: ServerState) -> None:
    """Whatever names something names something that there is, under its right name."""
    for uid, user in state.users.items():
        assert user.uid == uid
        assert state.nicks.get(state.fold(user.nick)) == uid, f"{user.nick} is not {uid}"
        assert user.account is None or state.fold(user.account) in state.accounts, f"{user.nick}: {user.account}"
        assert set(user.modes) <= set(USER_MODES.letters)
        assert ("o" in user.modes) == user.is_oper, f"{user.nick}: {user.modes} {user.oper}"
        assert user.clients >= 0 and (user.clients or user.always_on or user.is_service), user.nick
        assert bool(user.detached_at) == (user.clients == 0 and not user.is_service), user.nick
    for key, channel in state.channels.items():
        assert key == channel.key == state.fold(channel.name)
        assert channel.members or channel.is_permanent, f"{key} is empty"
        assert set(channel.members) <= set(state.users)
        for prefixes in channel.members.values():
            assert prefixes == "".join(mode for mode in PREFIXES if mode in prefixes)
        assert all(CHANNEL_MODES.kinds[mode] is Kind.FLAG for mode in channel.flags)
        assert all(CHANNEL_MODES.kinds[mode] in (Kind.KEY, Kind.SETTING) for mode in channel.params)
        assert set(channel.invites) <= set(state.users) and not set(channel.invites) & set(channel.members)
        for entries in channel.lists.values():
            assert entries and all(mask == state.fold(entry.mask) for mask, entry in entries.items())
        if channel.registration is not None:
            assert channel.registration.founder in state.accounts
    for key, account in state.accounts.items():
        assert key == account.key == state.fold(account.name)
        assert all(nick == state.fold(name) for nick, name in account.nicks.items())
    owned = [nick for account in state.accounts.values() for nick in account.nicks]
    assert len(owned) == len(set(owned)), "a nick has two owners"


def check_indexes(state: ServerState) -> None:
    """Each index is what it would be if it were made anew."""
    fresh = decode_snapshot(encode_snapshot(state))
    assert state.nicks == fresh.nicks
    assert state.nick_owners == fresh.nick_owners
    for name in ("account_users", "memberships", "invited"):
        kept, made = getattr(state, name), getattr(fresh, name)
        assert _filled(kept) == _filled(made), name


def _filled(index: dict[str, dict[str, None]]) -> dict[str, set[str]]:
    return {key: set(values) for key, values in index.items() if values}


def check_users(server: IRCServer) -> None:
    """The registry of users knows who is here, and who hears what."""
    state, users = server.state, server.users
    people = {uid for uid, user in state.users.items() if not user.is_service and user.node == users.node}
    assert users.people == people
    assert users.invisible == {uid for uid in people if "i" in state.users[uid].modes}
    opers = {uid for uid in people if state.users[uid].is_oper and "H" not in state.users[uid].modes}
    assert users.opers == opers
    hearing = {uid for uid in people if state.users[uid].snomask and state.users[uid].is_oper}
    assert set(users.hearing) == hearing
    for uid in people:
        assert len(users.sessions_of(uid)) == state.users[uid].clients, state.users[uid].nick
    assert set(users._sessions) <= people
    if server.lookalikes is not None:
        fresh = LookAlikes()
        for user in state.users.values():
            fresh.came(user.nick, user.uid)
        assert {key: set(value) for key, value in server.lookalikes._online.items()} == {
            key: set(value) for key, value in fresh._online.items()
        }


def check_channels(server: IRCServer) -> None:
    """Each channel has its service, which knows whose sessions hear it."""
    state, channels = server.state, server.channels
    assert set(channels.namedServices) == set(state.channels)
    for key, channel in state.channels.items():
        service = channels.get(key)
        assert service is not None and service.key == service.name == key
        sessions = {session for uid in channel.members for session in server.users.sessions_of(uid)}
        assert set(service.sessions) == sessions, key
        assert service.deaf == {session for session in sessions if "D" in state.users[session.uid].modes}, key


def check_sessions(server: IRCServer) -> None:
    """Each session is a stranger, a client of a user who is there, or over."""
    for session in server.sessions:
        assert (session in server.strangers) == (not session.uid and not session.is_closed)
        if session.uid:
            assert session in server.users.sessions_of(session.uid)
            assert session.registration is None
        if session.is_closed:
            assert not session.uid
    watchers: dict[str, set[object]] = {}
    for session in server.sessions:
        for key in session.monitored:
            watchers.setdefault(key, set()).add(session)
    assert {key: set(each) for key, each in server.monitor._watchers.items()} == watchers
    assert server.throttle.total == sum(session.is_admitted for session in server.sessions)


def check_bans(server: IRCServer) -> None:
    """What keeps people out is what the state says."""
    state = server.state
    assert len(server.bans.filters._filters) == len(state.filters)
    assert server.bans.tables.has_shuns == bool(state.bans.get("shun"))
    for kind, bans in state.bans.items():
        for mask, ban in bans.items():
            assert mask == state.fold(ban.mask), kind
