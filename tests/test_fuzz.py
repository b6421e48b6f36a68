"""Nonsense from clients: every command with every sort of odd parameter, and plain noise, ends in no internal error."""

from __future__ import annotations

from random import Random

import pytest

from slircd.commands.registry import COMMANDS
from slircd.state.snapshot import digest
from tests.harness import World, make_config
from tests.test_audit import newcomer, random_line

ODD = [
    "", "*", ":", ":x y", "#", "#a,#b", "ann", "@", "!", "~m:", "~t:9:x", "\x02", "é", "0", "-1", "99999999999", "+o-o",
    "+" * 50, "%tcuihsnfdlaor,1", "a" * 300, ",", ",,,", "#a,,#b", "\x01ACTION\x01", "$*", "@#a", "+#b", "FORCE", "TEST",
    "1d", "*@*", "1.2.3.4/8", "::/0", "-s", "CONFIRM",
    "timestamp=2025-06-15T00:00:00.000Z", "msgid=5-run-0", "msgid=", "LATEST", "BETWEEN", "TARGETS", "PLAY", "*playback",
]  # fmt: skip
VERBS = [
    *sorted(COMMANDS.keys() - {"DIE"}), "PRIVMSG NickServ", "CS", "NS", "CS FLAGS", "CS SET", "NS SET", "CAP REQ",
    "CAP LS", "FILTER ADD block", "CHATHISTORY AROUND #a", "CHATHISTORY BETWEEN #a", "PRIVMSG *playback PLAY",
    "NS CLIENTS",
]  # fmt: skip


def noise(rng: Random) -> bytes:
    """A line that no sensible client would send."""
    if rng.random() < 0.1:
        return bytes(rng.randrange(1, 256) for _ in range(rng.randint(1, 60))).translate(None, b"\r\n")
    return " ".join([rng.choice(VERBS), *(rng.choice(ODD) for _ in range(rng.randint(0, 5)))]).encode()


@pytest.mark.parametrize("seed", range(4))
def test_nonsense_is_answered_or_ignored(seed: int) -> None:
    """No line makes a handler fail, and the state stays the log's."""
    rng = Random(seed)
    keeps = seed % 2 == 0
    world = World(config=make_config({"history": {"channels": keeps, "direct": keeps}}))
    for _ in range(700):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 6:
            newcomer(world, rng)
            continue
        client = rng.choice(clients)
        line = random_line(rng).encode() if rng.random() < 0.3 else noise(rng)
        client.sends_bytes(line + b"\r\n")
        assert not any("Internal error" in answer for answer in client.lines()), line
    assert digest(world.state) == digest(world.replayed())
