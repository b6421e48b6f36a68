"""A lively demonstration log: people who talk, quarrel and make up on a real daemon.

    python -m tests.demo PORT [--seconds 60]     on a server that runs, plain port
    python docs/screenshots.py                   what the documentation's pictures are made of

Nothing here is random in what matters: the same people do the same things, so that pictures of two versions can be
compared.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import time
from collections.abc import Callable

OPER_PASSWORD = "sesame"

PEOPLE = [
    "ada",
    "barbara",
    "claude",
    "dennis",
    "edsger",
    "frances",
    "grace",
    "hedy",
    "ivan",
    "joan",
    "katherine",
    "linus",
    "margaret",
    "niklaus",
    "olga",
    "peter",
    "radia",
    "stephen",
    "tim",
    "ursula",
    "vint",
    "wendy",
    "yukihiro",
    "zhu",
]

TOPICS = {
    "#flight": "Release 4.2 on Thursday: https://wiki.example.org/flight/4.2",
    "#ops": "On call: grace. Runbook: https://wiki.example.org/ops",
    "#lounge": "Off topic, on purpose",
    "#help": "State your question, then wait for an answer",
    "#music": "Now playing: Kraftwerk, Computer Love",
    "#books": "Reading: A Canticle for Leibowitz, chapter 3 by Sunday",
    "#chess": "Simultaneous display tonight, eight boards",
    "#garden": "Tomatoes: water at the root, not the leaf",
}


class Person:
    """A client that says what it is told to and reads whatever comes."""

    def __init__(self, port: int, nick: str, realname: str = "") -> None:
        self.nick = nick
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._count = 0
        self._buffer = b""
        self.says(f"NICK {nick}", f"USER {nick} 0 * :{realname or nick.title()}")
        self.settle()

    def says(self, *lines: str) -> None:
        """Send lines."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def settle(self) -> None:
        """All that was said is done."""
        self._count += 1
        self.says(f"PING settle{self._count}")
        mark = f":settle{self._count}\r\n".encode()
        while mark not in self._buffer:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError(self.nick)
            self._buffer = self._buffer[-100:] + data
        self._buffer = b""

    def leaves(self, reason: str) -> None:
        """Quit."""
        self.says(f"QUIT :{reason}")
        self.socket.close()


def ordinary_life(people: dict[str, Person], rng: random.Random, pause: Callable[[], None], rounds: int) -> None:
    """Joins and parts, topics, an away here and there."""
    for _ in range(rounds):
        person = people[rng.choice(list(people))]
        channel = rng.choice(list(TOPICS))
        what = rng.random()
        if what < 0.45:
            person.says(f"JOIN {channel}")
        elif what < 0.75:
            person.says(f"PART {channel} :{rng.choice(('later', 'lunch', 'back to work', 'good night'))}")
        elif what < 0.85:
            person.says(f"AWAY :{rng.choice(('lunch', 'meeting', 'asleep', 'in the garden'))}")
        elif what < 0.95:
            person.says("AWAY")
        else:
            person.says(f"TOPIC {channel} :{TOPICS[channel]}")
        person.settle()
        pause()


def tell(port: int, seconds: float = 0.0, seed: int = 4) -> dict[str, str]:
    """Let it all happen within about so many seconds; returns what the pictures look for."""
    rng = random.Random(seed)
    steps = 260

    def pause() -> None:
        if seconds:
            time.sleep(seconds / steps * rng.expovariate(1.0))

    people: dict[str, Person] = {}
    for nick in PEOPLE:
        people[nick] = Person(port, nick)
        pause()
    grace, ada, linus = people["grace"], people["ada"], people["linus"]
    grace.says(f"OPER admin {OPER_PASSWORD}")
    for channel, topic in TOPICS.items():
        founder = people[rng.choice(PEOPLE)] if channel not in ("#flight", "#ops") else ada
        founder.says(f"JOIN {channel}", f"TOPIC {channel} :{topic}")
        founder.settle()
        pause()
    ada.says("NS REGISTER correct-horse-battery ada@example.org", "CS REGISTER #flight")
    ada.says("MODE #flight +o grace", "MODE #ops +si")
    ordinary_life(people, rng, pause, 90)
    for nick in PEOPLE[:15]:
        people[nick].says("JOIN #flight", "JOIN #lounge")
        people[nick].settle()
        pause()
    ada.says("MODE #flight +oo grace linus", "MODE #flight +v radia", "MODE #flight +b *!*@spam.example")
    ada.says("MODE #flight +b *!*bot*@*", "MODE #flight +l 200")
    ada.settle()
    pause()
    ordinary_life(people, rng, pause, 40)
    # The incident: an operator's account is misused.
    linus.says("TOPIC #flight :this channel is ours now", "MODE #flight +mk-o hunter2 grace")
    linus.says("MODE #flight -b *!*@spam.example", "KICK #flight radia :bye", "KICK #flight frances :you too")
    linus.settle()
    pause()
    flood = [Person(port, f"spam{number}", "Cheap watches") for number in range(6)]
    for number, spammer in enumerate(flood):
        spammer.says("JOIN #lounge", "JOIN #help", f"TOPIC #help :cheap watches {number}")
        spammer.settle()
        pause()
    grace.says("KILL linus :account misused", "KLINE 7d *@watches.example :spam")
    grace.settle()
    people.pop("linus").socket.close()
    for spammer in flood:
        grace.says(f"KILL {spammer.nick} :spam")
        grace.settle()
        spammer.socket.close()
        pause()
    ordinary_life(people, rng, pause, 60)
    people.pop("olga").leaves("good night")
    grace.settle()
    _keep(people)
    return {"channel": "#flight"}


_KEPT: list[Person] = []


def _keep(people: dict[str, Person]) -> None:
    """They stay connected for as long as the process lives."""
    _KEPT.extend(people.values())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Lets things happen on a server that runs.")
    parser.add_argument("port", type=int, help="its plain port on 127.0.0.1")
    parser.add_argument("--seconds", type=float, default=60.0, help="about how long it takes")
    given = parser.parse_args()
    tell(given.port, given.seconds)
    sys.stdout.write("The story is told; people stay until you press Enter.\n")
    sys.stdin.readline()


if __name__ == "__main__":
    main()
