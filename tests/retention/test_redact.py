"""Erasure in real databases: nothing is left, replay is right, whoever is killed is gone on with."""

from __future__ import annotations

import unittest
import zlib
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import create_engine, inspect, text

from slircd.config.sections import Keep
from slircd.events import checkpoints, runs
from slircd.events.clock import parse_timestamp
from slircd.events.reader import LogReader
from slircd.events.row import Credential, Row
from slircd.events.schema import METADATA
from slircd.replay.cli import main as replay_main
from slircd.retention.database import Workplace
from slircd.retention.erasure import Request
from slircd.retention.horizon import prune_state
from slircd.retention.owner import find_owner
from slircd.retention.redact import NobodyFound, erase, resume
from slircd.retention.work import redact
from slircd.state.feed import feed
from slircd.state.snapshot import digest
from tests.harness import World, make_config
from tests.retention.logs import Databases, OnPostgres, OnSQLite, read, slircd, write
from tests.retention.test_erasure import WORDS, story

ACCOUNT = Request(account="Zaphod")


def talk() -> World:
    """The story, with what was said in it."""
    world = World(config=make_config({"history": {"channels": True, "direct": True}}))
    story(world)
    zaphod = world.connect("192.0.2.42")
    zaphod.sends("NICK Zaphod", "USER beeble 0 * :Zaphod Beeblebrox", "NS IDENTIFY zaphod heartofgold", "JOIN #own")
    arthur = world.client("arthur")
    arthur.sends("JOIN #own", "PRIVMSG #own :Zaphod, where is my tea", "PRIVMSG Zaphod :a word, Zaphod?")
    zaphod.sends("PRIVMSG #own :so long", "PRIVMSG arthur :says Milliways", "METADATA * SET avatar :two heads")
    return world


WORLD = talk()
ROWS = list(WORLD.store.rows)
CREDENTIALS = [Credential("zaphod", "argon2", "hash-of-zaphod"), Credential("zaphod", "email", "zaphod@example.org")]


def everything(url: str) -> str:
    """All values of all tables, in lower case."""
    engine = create_engine(url)
    found: list[str] = []
    with engine.connect() as connection:
        for table in inspect(connection).get_table_names():
            for row in connection.execute(text(f'SELECT * FROM "{table}"')):
                found += [
                    value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in map(unpacked, row)
                ]
    engine.dispose()
    return "\n".join(found).lower()


def unpacked(value: object) -> object:
    """What is compressed, as it was."""
    try:
        return checkpoints.unpack(bytes(value)) if isinstance(value, bytes | memoryview) else value
    except (zlib.error, zstandard.ZstdError):
        return value


class Killed(Exception):
    """Stands for the end of the process."""


class RedactContract(Databases):
    """On every database."""

    STEPS: tuple[str, ...] = ("planned", "finished", "some rewritten", "rewritten")

    def log(self, *, horizon: int = 0, rows: list[Row] | None = None) -> str:
        url = self.new_url()
        write(url, rows or ROWS, CREDENTIALS)
        with Workplace(url) as place:
            if horizon:
                prune_state(place, Keep(keep_events=horizon), now_s=parse_timestamp(ROWS[-1].timestamp))
            with LogReader(url) as reader:
                for event_id in (ROWS[-20].id, ROWS[-5].id):
                    start = reader.start(until_id=event_id)
                    for batch in reader.batches(after_id=start.position.id, before_id=event_id + 1):
                        feed(start.state, batch)
                    with place.changing() as connection:
                        checkpoints.write(connection, checkpoints.pack(start.state, event_id))
        return url

    def check_nothing_is_left(self, url: str, words: tuple[str, ...] = WORDS) -> None:
        found = everything(url)
        assert [word for word in words if word in found] == []
        assert "hash-of" not in found
        assert "zaphod@" not in found

    def check_replay(self, url: str) -> None:
        """From the base and from every checkpoint the same states come."""
        with LogReader(url) as reader:
            start = reader.start(only_base=True)
            known = {each.event_id: each.digest for each in reader.checkpoints() if not each.is_base}
            assert known
            for row in reader.raw_rows(after_id=start.position.id):
                feed(start.state, [row])
                assert known.get(row[0], digest(start.state)) == digest(start.state)
            ignored: list[str] = []
            newest = reader.start(ignored=ignored)
            feed(newest.state, reader.raw_rows(after_id=newest.position.id))
            assert digest(newest.state) == digest(start.state)
            assert ignored == []
        from click.testing import CliRunner

        assert CliRunner().invoke(replay_main, ["--db", url, "--verify"]).exit_code == 0

    def test_an_account(self) -> None:
        """Every table is free of the person; replay is right; the account is dropped; the log says how much."""
        url = self.log()
        assert all(word in everything(url) for word in WORDS)
        would = slircd("events", "redact", "--db", url, "--account", "zaphod", "--dry-run")
        assert would.exit_code == 0, would.output
        assert all(word in everything(url) for word in WORDS)
        done = slircd("events", "redact", "--db", url, "--account", "zaphod", "--by", "trillian")
        assert done.exit_code == 0, done.output
        assert "2 checkpoints made anew" in done.output
        self.check_nothing_is_left(url)
        self.check_replay(url)
        rows = read(url)
        assert len(rows) > len(ROWS)
        assert [row.id for row in rows[: len(ROWS)]] == [row.id for row in ROWS]
        told = rows[-1]
        assert (told.event_type, told.actor_uid, told.target) == ("server.redact", "admin:trillian", None)
        assert '"what":"account"' in told.payload
        again = slircd("events", "redact", "--db", url, "--account", "zaphod")
        assert again.exit_code == 1
        assert "the log knows no account zaphod" in again.output

    def test_behind_a_horizon(self) -> None:
        """The base is rewritten, too."""
        url = self.log(horizon=45)
        assert "zaphod" in everything(url)
        redact(url, ACCOUNT, actor="server", now_s=0.0)
        self.check_nothing_is_left(url)
        self.check_replay(url)

    def test_killed(self) -> None:
        """Wherever it is killed: replay is right, and what was begun is brought to its end by the next command."""
        for step in self.STEPS:
            url = self.log()
            with Workplace(url) as place:
                place.pace.rows = 10

                def reached(name: str, step: str = step) -> None:
                    if name == step:
                        raise Killed

                place.reached = reached
                owner = find_owner(place)
                with pytest.raises(Killed):
                    erase(place, owner, ACCOUNT, actor="server", now_s=0.0)
                owner.close()
                place.reached = lambda name: None
                self.replays(url)
                with place.reading() as connection:
                    assert runs.generation(connection).quiet == (step == "planned")
                if step == "planned":
                    assert not resume(place)
                else:
                    assert resume(place)
                    self.check_nothing_is_left(url)
                    self.check_replay(url)

    def replays(self, url: str) -> None:
        with LogReader(url) as reader:
            start = reader.start(only_base=True)
            feed(start.state, reader.raw_rows(after_id=start.position.id))
            newest = reader.start()
            feed(newest.state, reader.raw_rows(after_id=newest.position.id))
            assert digest(newest.state) == digest(start.state)

    def test_nobody(self) -> None:
        """Whom the log does not know is said so, and nothing happens."""
        url = self.log()
        before = read(url)
        for request in (Request(account="marvin"), Request(nick="slartibartfast"), Request(host="192.0.2.99")):
            with pytest.raises(NobodyFound):
                redact(url, request, actor="server", now_s=0.0)
        assert read(url) == before

    def test_a_registered_nick(self) -> None:
        """A nick that is an account's goes with the account."""
        done = slircd("events", "redact", "--db", self.log(), "--nick", "zaphod")
        assert done.exit_code == 1
        assert "erase the account Zaphod" in done.output


class SQLiteRedact(OnSQLite, RedactContract, unittest.TestCase):
    """In a file."""

    def test_no_byte_is_left(self) -> None:
        """Not in the file's free pages, not in its write-ahead log."""
        url = self.log(horizon=60)
        redact(url, ACCOUNT, actor="server", now_s=0.0)
        path = Path(url.removeprefix("sqlite:///"))
        for file in path.parent.iterdir():
            content = file.read_bytes().lower()
            assert [word for word in (*WORDS, "hash-of") if word.encode() in content] == [], file

    def test_wrong_usage(self) -> None:
        """Exactly one sort of person is meant."""
        url = self.log()
        for words in ([], ["--account", "a", "--nick", "b"]):
            done = slircd("events", "redact", "--db", url, *words)
            assert done.exit_code == 2
            assert "exactly one of" in done.output


class PostgresRedact(OnPostgres, RedactContract, unittest.TestCase):
    """In PostgreSQL."""

    STEPS = ("some rewritten",)


def test_every_table_is_known() -> None:
    """A new table has to be thought of: who is in it, and what becomes of that?

    Those with people in them are rewritten by slircd/retention/keeper.py, in the transaction of the live state.
    """
    rewritten = {"events", "checkpoints", "credentials", "conversations", "retention_runs"}
    without_users = {"admin_tokens", "webhook_cursors"}
    assert set(METADATA.tables) == rewritten | without_users
