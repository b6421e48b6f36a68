"""The audit: every change of state is an event, and the log alone makes the state.

A recorded random run of many users through all commands, against the real handlers.  After each command the digest of
the state is compared with the one before: if it changed without an event, something changed the state behind the log's
back.
"""

from __future__ import annotations

from base64 import b64encode
from random import Random

import pytest

from slircd.commands.registry import COMMANDS
from slircd.state.snapshot import digest
from slircd.wire.modes import CHANNEL_MODES, USER_MODES
from tests.harness import FakeClient, World, make_config

NICKS = ["ann", "bob", "eve", "joe", "Ann", "zoe"]
CHANNELS = ["#a", "#b", "#A", "#c"]
MASKS = ["bob!*@*", "*!*@192.0.2.*", "~m:eve", "~t:1:x!*@*", "~r:Real*", "~U", "~n:joe"]
WORDS = ["", ":some text", "x", "0", "5", "3:10", "key", "*", "a.host", "nosuch", ":\x02bold"]


def random_line(rng: Random) -> str:
    """A command, more often than not with parameters that make sense."""
    nick, channel, mask, word = rng.choice(NICKS), rng.choice(CHANNELS), rng.choice(MASKS), rng.choice(WORDS)
    letters = "".join(rng.choice("+-") + rng.choice(CHANNEL_MODES.letters) for _ in range(rng.randint(1, 3)))
    own = "".join(rng.choice("+-") + rng.choice(USER_MODES.letters) for _ in range(2))
    sensible = [
        f"JOIN {channel}",
        f"JOIN {channel},{rng.choice(CHANNELS)} {word}",
        f"PART {channel} {word}",
        "JOIN 0",
        f"TOPIC {channel} {word}",
        f"KICK {channel} {nick} {word}",
        f"INVITE {nick} {channel}",
        f"RENAME {channel} {rng.choice(CHANNELS)} {word}",
        f"METADATA {rng.choice(['*', nick, channel])} SET {rng.choice('ab')} {word}",
        f"METADATA {rng.choice(['*', channel])} CLEAR",
        f"KNOCK {channel}",
        f"MODE {channel} {letters} {nick} {mask} {word}",
        f"MODE {channel} +o {nick}",
        f"MODE {channel} +b {mask}",
        f"MODE {channel} -b {mask}",
        f"MODE {channel}",
        f"MODE {nick} {own}",
        f"NICK {nick}",
        f"NICK {nick}{rng.randint(1, 3)}",
        f"AWAY {word}",
        f"SETNAME {word}",
        f"PRIVMSG {channel} {word}",
        f"PRIVMSG {nick} :hi",
        f"NAMES {channel}",
        f"WHO {channel}",
        f"WHOIS {nick}",
        "LIST",
        f"MONITOR + {nick}",
        f"SILENCE {mask}",
        f"ACCEPT {rng.choice(['', '-'])}{nick}",
        f"NOTICE {channel},{nick} {word}",
        f"@+draft/react=x TAGMSG {channel}",
        f"CHATHISTORY LATEST {rng.choice([channel, nick])} * 5",
        "CHATHISTORY TARGETS timestamp=2020-01-01T00:00:00.000Z timestamp=2040-01-01T00:00:00.000Z 5",
        "NS SET NOHISTORY ON",
        f"NS SET {rng.choice(['ALWAYS-ON', 'MULTICLIENT'])} {rng.choice(['ON', 'OFF', 'DEFAULT'])}",
        f"NS CLIENTS LOGOUT {rng.choice(['1', '2', 'ALL'])}",
        f"PRIVMSG *playback :PLAY {channel} 0",
        f"REDACT {channel} {rng.randrange(400):x}-run-0 {word}",
        f"MARKREAD {rng.choice([channel, nick])} timestamp=202{rng.randrange(5)}-01-01T00:00:00.000Z",
        f"CS SET {channel} HISTORY {rng.choice(['ON', 'OFF', 'JOINED'])}",
        "OPER root sesame",
        f"KILL {nick} {word}",
        f"SAJOIN {nick} {channel}",
        f"SAPART {nick} {channel}",
        f"SANICK {nick} {rng.choice(NICKS)}",
        f"NS REGISTER {rng.choice(['password1', 'password2'])}",
        f"NS IDENTIFY {nick} password1",
        "NS GROUP",
        f"NS SAREGISTER {nick}x password1",
        "NS LOGOUT",
        "NS SET ENFORCE ON",
        "NS DROP password1",
        f"NS GHOST {nick} password1",
        f"CS REGISTER {channel}",
        f"CS FLAGS {channel} {nick} {rng.choice(['AOP', 'VOP', '-*', '+F', '=b'])}",
        f"CS AKICK {channel} ADD {mask}",
        f"CS SET {channel} {rng.choice(['GUARD ON', 'GUARD OFF', 'MLOCK +m-l', 'KEEPTOPIC OFF', 'FOUNDER ann'])}",
        f"CS {rng.choice(['OP', 'DEOP', 'RECOVER', 'SYNC', 'UNBAN', 'INVITE'])} {channel}",
        f"CS DROP {channel} {channel}",
        f"CS CLEAR {channel} {rng.choice(['USERS', 'BANS', 'OPS', 'MODES'])}",
        f"CS RESTORE {channel} -30s CONFIRM",
        f"CS RESTORE {channel} -30s",
        f"CS KICK {channel} {nick} x",
        f"CS TOPIC {channel} {word}",
        f"SAMODE {channel} {letters} {nick} {word}",
        f"CHGHOST {nick} a.host",
        f"VHOST {word}",
        "QUIT :bye",
    ]
    if rng.random() < 0.8:
        return rng.choice(sensible)
    parameters = " ".join(rng.choice([*NICKS, *CHANNELS, *MASKS, "x", "+o"]) for _ in range(rng.randint(0, 3)))
    return f"{rng.choice(sorted(COMMANDS))} {parameters} {word}".rstrip()


def newcomer(world: World, rng: Random) -> FakeClient:
    client = world.connect(f"192.0.2.{rng.randint(1, 9)}", tls=rng.random() < 0.3)
    if rng.random() < 0.5:
        client.sends(
            "CAP REQ :extended-join away-notify chghost account-notify invite-notify setname message-tags "
            "draft/message-redaction draft/read-marker"
        )
    if rng.random() < 0.4:
        blob = b64encode(f"\0{rng.choice(NICKS)}\0password1".encode()).decode()
        client.sends("CAP REQ sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {blob}")
    client.sends(f"NICK {rng.choice(NICKS)}{rng.choice(['', '_', '1'])}", "USER u 0 * :Real name", "CAP END")
    return client


@pytest.mark.parametrize("seed", range(8))
def test_no_change_without_an_event(seed: int) -> None:
    """400 random commands: a changed digest without an event is a failure, and so is a state that is not the log's."""
    rng = Random(seed)
    keeps = seed % 2 == 0
    world = World(
        config=make_config(
            {
                "history": {"channels": keeps, "direct": keeps},
                "bouncer": {"always_on": "opt-in" if keeps else "opt-out"},
                "accounts": {"sasl_plain_without_tls": True},
            }
        )
    )
    before, count = digest(world.state), len(world.store.rows)
    for _ in range(400):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 5:
            line, client = "(connects)", newcomer(world, rng)
        else:
            line, client = random_line(rng), rng.choice(clients)
            client.sends(line)
        after, rows = digest(world.state), len(world.store.rows)
        assert after == before or rows > count, f"{line!r} changed the state without an event"
        before, count = after, rows
        if rng.random() < 0.05:
            world.clock.advance(rng.choice([1, 30, 61]))
            before, count = digest(world.state), len(world.store.rows)
    assert digest(world.state) == digest(world.replayed())


def test_the_audit_can_fail() -> None:
    """A handler that writes to the state is found out."""
    world = World()
    ann = world.client("ann")
    before, rows = digest(world.state), len(world.store.rows)
    world.state.users[ann.uid].nick = "changed"
    assert digest(world.state) != before
    assert len(world.store.rows) == rows
