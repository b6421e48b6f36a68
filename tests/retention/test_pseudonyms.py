"""Old addresses become pseudonyms, and no state is changed by it but in its addresses."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path
from random import Random

import pytest

from slircd.config.load import ConfigError
from slircd.config.sections import Keep
from slircd.events import checkpoints
from slircd.events.clock import parse_timestamp
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.retention.database import Workplace
from slircd.retention.fields import Kind
from slircd.retention.horizon import prune_state
from slircd.retention.pseudonyms import PREFIX, Pseudonyms, pseudonymise
from slircd.retention.redact import Redacted
from slircd.secrets import load_or_create, read_pseudonym_key
from slircd.state.feed import feed
from slircd.state.snapshot import digest
from tests.harness import World
from tests.retention.logs import DAY_S, Databases, OnPostgres, OnSQLite, read, slircd, write

KEY = b"k" * 32


def week(seed: int) -> list[Row]:
    """Some days of people from many addresses, and of bans on them that come and go."""
    rng = Random(seed)
    world = World()
    oper = world.oper("oper", address="198.51.100.1")
    oper.sends("JOIN #a")
    for _ in range(60):
        world.clock.advance(DAY_S / 8)
        address = f"203.0.113.{rng.randint(1, 12)}"
        oper.sends(f"MODE #a {rng.choice('+++-')}b *!*@{address}", f"ZLINE 0 {address} :{address} again")
        if rng.random() < 0.7:
            oper.sends(f"UNZLINE {address}")
        if rng.random() < 0.5:
            oper.sends(f"TOPIC #a :away from {address}, 2001:db8::{rng.randint(1, 9)}")
        client = world.connect(f"192.0.2.{rng.randint(1, 20)}")
        client.sends(f"NICK n{rng.randint(1, 5)}", "USER u 0 * :Real", "JOIN #a")
        if rng.random() < 0.8:
            client.sends("QUIT")
    return world.store.rows


class PseudonymsContract(Databases):
    """On every database."""

    def check(self, seed: int, days: int, horizon: int = 0) -> tuple[str, list[Row]]:
        """Write a log, give its old addresses pseudonyms, and look at every moment of it."""
        rows = week(seed)
        now_s = parse_timestamp(rows[-1].timestamp)
        url = self.new_url()
        write(url, rows)
        with Workplace(url) as place:
            place.pace.pause = False
            place.pace.rows = 5
            if horizon:
                prune_state(place, Keep(keep_events=horizon), now_s=now_s)
            self.checkpoint(place, url, rows[-50].id)
            before = read(url)
            pseudonymise(place, days, KEY, now_s=now_s)
            assert pseudonymise(place, days, KEY, now_s=now_s) == Redacted(0, {}, 0), "a second time there is nothing"
        with LogReader(url) as reader:
            start = reader.start(only_base=True)
            known = {each.event_id: each.digest for each in reader.checkpoints() if not each.is_base}
            for row in reader.raw_rows(after_id=start.position.id):
                feed(start.state, [row])
                assert known.get(row[0], digest(start.state)) == digest(start.state)
            self.end = start.state
        assert digest(self.end) == self.digest_of(rows), "the state of now is what it was"
        return url, before

    def digest_of(self, rows: list[Row]) -> str:
        from tests.retention.test_erasure import replayed

        return digest(replayed(rows))

    def checkpoint(self, place: Workplace, url: str, event_id: int) -> None:
        with LogReader(url) as reader:
            start = reader.start(until_id=event_id)
            for batch in reader.batches(after_id=start.position.id, before_id=event_id + 1):
                feed(start.state, batch)
        with place.changing() as connection:
            checkpoints.write(connection, checkpoints.pack(start.state, event_id))

    def test_old_addresses(self) -> None:
        """What is old has no address that is not used now; what is young is untouched; equal ones stay equal."""
        url, before = self.check(1, 3)
        after = read(url)
        cutoff = parse_timestamp(before[-1].timestamp) - 3 * DAY_S
        now = {user.ip for user in self.end.users.values()}
        pseudonyms: dict[str, set[str]] = {}
        for old, new in zip(before, after, strict=True):
            if parse_timestamp(old.timestamp) >= cutoff:
                assert new == old
            elif old.event_type == "user.connect":
                ip, became = json.loads(old.payload)["ip"], json.loads(new.payload)["ip"]
                pseudonyms.setdefault(ip, set()).add(became)
        assert any(ip in now for ip in pseudonyms)
        for ip, became in pseudonyms.items():
            assert len(became) == 1
            if ip and ip not in now and not ip.startswith("127."):
                assert became.pop().startswith(PREFIX), ip
        assert len({next(iter(each), ip) for ip, each in pseudonyms.items()}) == len(pseudonyms)

    def test_behind_a_horizon(self) -> None:
        """The base's addresses are as old as the base."""
        url, _ = self.check(2, 1, horizon=90)
        with LogReader(url) as reader:
            base = reader.base()
            assert base is not None
            assert any(user.ip.startswith(PREFIX) for user in reader.load(base).users.values())


class SQLitePseudonyms(OnSQLite, PseudonymsContract, unittest.TestCase):
    """In a file."""

    def test_many(self) -> None:
        """Whatever the log and the age: every moment can be replayed, and now is what it was."""
        for seed in range(4):
            self.check(seed, 1 + seed, horizon=(seed % 2) * 60)

    def test_the_command(self) -> None:
        """It takes the key from the secrets file, says how much, and the log does, too."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        url = self.new_url()
        write(url, week(1))
        secrets, config = Path(folder.name) / "secrets.toml", Path(folder.name) / "slircd.toml"
        config.write_text(
            f"secrets_file = '{secrets}'\n[database]\nurl = '{url}'\n[retention]\npseudonymise_days = 3\n"
        )
        assert "start the server once" in slircd("events", "prune", "-c", str(config)).output
        load_or_create(secrets, {}, lambda password: "$argon2id$x", lambda known, password: True)
        assert len(read_pseudonym_key(secrets)) == 32
        done = slircd("events", "prune", "-c", str(config), "--by", "trillian")
        assert "old addresses became pseudonyms in" in done.output
        told = read(url)[-1]
        assert (told.event_type, told.actor_uid) == ("server.redact", "admin:trillian")
        assert '"what":"addresses"' in told.payload
        with pytest.raises(ConfigError):
            read_pseudonym_key(Path(folder.name) / "nosuch.toml")


class PostgresPseudonyms(OnPostgres, PseudonymsContract, unittest.TestCase):
    """In PostgreSQL."""


def test_what_is_an_address() -> None:
    """Addresses, networks and known host names, and nothing that only looks like one."""
    rewriter = Pseudonyms(KEY, ["pool-7.isp.example"], ["192.0.2.9"])

    def after(text: str) -> str:
        return rewriter.text(Kind.TEXT, text, False)

    for address in ("192.0.2.1", "2001:db8::1", "192.0.2.0/24", "2001:db8::/32", "POOL-7.isp.example", "fe80::1"):
        replaced = after(f"*!*@{address}")
        assert replaced.startswith(f"*!*@{PREFIX}"), address
        assert address not in replaced
        assert after(f"spam from {address}.") == f"spam from {replaced[4:]}."
        assert after(f"{address}: spam") == f"{replaced[4:]}: spam"
    for text in (
        "192.0.2.9",
        "127.0.0.1",
        "::1",
        "0.0.0.0/0",
        "12:30:45",
        "1.2.3",
        "irc.example.org",
        "v1.2.3.4.5",
        "::",
    ):
        assert after(text) == text
    assert after("192.0.2.1") == after("192.0.2.1")
    assert Pseudonyms(b"other", [], []).text(Kind.HOST, "192.0.2.1", False) != after("192.0.2.1")
