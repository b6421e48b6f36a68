"""What was seen is compared with what the log says: everything, in order, once, and never before it was committed."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slircd.events.row import Row
from tests.facts import Fact, facts_of

KEPT = 200_000
"""Facts that are kept for clients which are behind."""

PAGE = 2_000
QUIET = ("PRIVMSG", "CHGHOST", "RETURN", "INVITE", "KILL")
"""Facts of the log that no connection's lines are compared with: messages have their own test, the others no one form."""


class Witness:
    """What one connection has seen, and how far in the log that was."""

    __slots__ = ("_seen", "name", "position")

    def __init__(self, name: str) -> None:
        self.name = name
        self.position = -1
        self._seen: list[tuple[Fact, str]] = []

    def saw(self, fact: Fact, line: str) -> None:
        """It was sent a line that shows this."""
        self._seen.append((fact, line))

    def take(self) -> list[tuple[Fact, str]]:
        """What it has seen since the last time."""
        seen, self._seen = self._seen, []
        return seen


class Follower:
    """A live feed, and what it was given since the last comparison."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.last: int | None = None
        self.given: list[int] = []
        self.total = 0


class Ledger:
    """Follows the log, and compares."""

    def __init__(self, url: str, violation: Callable[[str, str], None]) -> None:
        self._engine: Engine = create_engine(url, poolclass=NullPool)
        self._violation = violation
        self.last = Row(0, "", 0, "", None, None, "", "")
        self.events = 0
        self.facts = 0
        """How many facts that somebody saw were found in the log."""
        self.witnesses: list[Witness] = []
        self.followers: list[Follower] = []
        self.registered: set[str] = set()
        """Accounts that the log has."""
        self.acknowledged: set[str] = set()
        """Accounts that somebody was told are theirs."""
        self.types: dict[str, int] = {}
        self._position = 0
        self._places: dict[Fact, list[int]] = {}
        self._order: deque[tuple[int, Fact]] = deque()
        self._sequences: deque[tuple[int, str]] = deque(maxlen=KEPT)

    def witness(self, name: str) -> Witness:
        """One for a new connection."""
        made = Witness(name)
        self.witnesses.append(made)
        return made

    def forget(self, gone: list[Witness]) -> None:
        """Those connections have ended, and what they saw was compared."""
        self.witnesses = [witness for witness in self.witnesses if witness not in gone]

    def read(self) -> list[Row] | None:
        """All that is new in the log; None where it cannot be read.  Blocks."""
        rows: list[Row] = []
        after = self.last.id
        try:
            with self._engine.connect() as connection:
                while True:
                    query = text("SELECT * FROM events WHERE id > :after ORDER BY id LIMIT :page")
                    page = [Row(*row) for row in connection.execute(query, {"after": after, "page": PAGE})]
                    rows += page
                    if len(page) < PAGE:
                        return rows
                    after = page[-1].id
        except SQLAlchemyError:
            return None

    def take(self, rows: list[Row]) -> None:
        """Note what the log says, and check that it is one chain."""
        for row in rows:
            last = self.last
            if row.id != last.id + 1 and last.id:
                self._violation("log", f"event {row.id} comes behind {last.id}")
            if row.sequence <= last.sequence:
                self._violation("log", f"event {row.id}: sequence {row.sequence} behind {last.sequence}")
            if row.timestamp < last.timestamp:
                self._violation("log", f"event {row.id}: {row.timestamp} behind {last.timestamp}")
            self.last = row
            self.events += 1
            self.types[row.event_type] = self.types.get(row.event_type, 0) + 1
            self._sequences.append((row.sequence, row.event_type))
            if row.event_type == "services.nick_register" and row.target is not None:
                self.registered.add(row.target)
            elif row.event_type == "services.nick_drop" and row.target is not None:
                self.registered.discard(row.target)
                self.acknowledged.discard(row.target)
            for fact in facts_of(row):
                self._position += 1
                if fact[0] not in QUIET:
                    self._places.setdefault(fact, []).append(self._position)
                    self._order.append((self._position, fact))
        while len(self._order) > KEPT:
            _, fact = self._order.popleft()
            places = self._places[fact]
            places.pop(0)
            if not places:
                del self._places[fact]

    def compare(self, seen: list[tuple[Witness, list[tuple[Fact, str]]]]) -> None:
        """Each fact that was seen is in the log, behind the one that was seen before it."""
        for witness, facts in seen:
            for fact, line in facts:
                if fact[0] in QUIET:
                    continue
                places = self._places.get(fact, [])
                index = bisect_right(places, witness.position)
                if index < len(places):
                    witness.position = places[index]
                    self.facts += 1
                else:
                    what = "only earlier, so it was shown twice or out of order" if places else "not"
                    self._violation("seen", f"{witness.name} saw {line!r}; the log has it {what}")

    def compare_followers(self) -> None:
        """Each feed was given what the log has, all of it and once, from where it began."""
        for follower in self.followers:
            given = [sequence for sequence in follower.given if sequence <= self.last.sequence]
            follower.given = follower.given[len(given) :]
            if not given:
                continue
            first = follower.last if follower.last is not None else given[0] - 1
            wanted = [
                sequence
                for sequence, kind in self._sequences
                if first < sequence <= given[-1] and not kind.startswith("message.")
            ]
            if given != wanted:
                missing, more = set(wanted) - set(given), sorted(set(given) - set(wanted))
                self._violation("feed", f"{follower.name}: missing {sorted(missing)[:5]}, unexpected {more[:5]}")
            follower.last = given[-1]
            follower.total += len(given)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()
