"""Pruning by rules, and the figures of a log."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

import pytest

from slircd.config.load import parse
from slircd.events.clock import parse_timestamp
from slircd.retention.database import Busy, Workplace
from slircd.retention.prune import prune_families
from slircd.retention.rules import STATE_FREE
from tests.retention.logs import DAY_S, Databases, OnPostgres, OnSQLite, lively, read, slircd, write

ROWS = lively().store.rows
END_S = parse_timestamp(ROWS[-1].timestamp)


class FamiliesContract(Databases):
    """On every database."""

    def pruned(self, families: dict[str, dict[str, int]], *, dry_run: bool = False) -> dict[str, int]:
        rules = parse({"retention": {"families": families}}, "test").retention.families
        self.url = self.new_url()
        write(self.url, ROWS)
        with Workplace(self.url) as place:
            place.pace.pause = False
            place.pace.rows = 2
            return prune_families(place, rules, now_s=END_S, dry_run=dry_run)

    def test_by_age(self) -> None:
        """What is older goes, nothing else does, and the state is what it was."""
        before = self.digest_of_rows()
        logins = [row for row in ROWS if row.event_type == "oper.login"]
        gone = self.pruned({"oper.login": {"keep_days": 3}})
        left = [row for row in read(self.url) if row.event_type == "oper.login"]
        assert left == [row for row in logins if parse_timestamp(row.timestamp) >= END_S - 3 * DAY_S]
        assert gone == {"oper.login": len(logins) - len(left)}
        assert 0 < len(left) < len(logins)
        assert self.digest(self.url) == before
        assert len(read(self.url)) == len(ROWS) - gone["oper.login"]

    def test_by_count(self) -> None:
        """The newest are kept; a rule for a type counts before the one for its family."""
        gone = self.pruned({"oper.*": {"keep_events": 4}, "services.nick_identify": {"keep_days": 1}})
        left = [row.id for row in read(self.url) if row.event_type == "oper.login"]
        assert left == [row.id for row in ROWS if row.event_type == "oper.login"][-4:]
        assert gone == {"oper.login": 6, "services.nick_identify": 1}
        assert self.pruned({"oper.*": {"keep_events": 1}, "oper.login": {"keep_events": 9}}) == {"oper.login": 1}

    def test_dry_run(self) -> None:
        """It says how many would go, and leaves them."""
        assert self.pruned({"oper.*": {"keep_events": 4}}, dry_run=True) == {"oper.login": 6}
        assert read(self.url) == ROWS

    def test_the_newest_event_stays(self) -> None:
        """Ids and sequences go on from the newest event, so it is kept whatever the rules say."""
        last = next(index for index, row in reversed(list(enumerate(ROWS))) if row.event_type == "oper.login")
        url = self.new_url()
        write(url, ROWS[: last + 1])
        rules = parse({"retention": {"families": {"oper.login": {"keep_days": 1}}}}, "test").retention.families
        with Workplace(url) as place:
            prune_families(place, rules, now_s=END_S + 100 * DAY_S)
        assert [row for row in read(url) if row.event_type == "oper.login"] == [ROWS[last]]

    def test_one_worker(self) -> None:
        """Nobody works on a log twice at the same time."""
        url = self.new_url()
        write(url, ROWS)
        with Workplace(url), pytest.raises(Busy), Workplace(url):
            pass
        with Workplace(url):
            pass

    def test_stats(self) -> None:
        """Rows, bytes, age, by family and type, for programs and for people."""
        url = self.new_url()
        write(url, ROWS)
        document = json.loads(slircd("events", "stats", "--db", url, "--json").output)
        assert document["total"]["rows"] == len(ROWS)
        size = sum(16 + sum(len((text or "").encode()) for text in row if isinstance(text, str)) for row in ROWS)
        assert document["total"]["bytes"] == size
        assert document["total"]["first"] == ROWS[0].timestamp
        types = {each["name"]: each for each in document["types"]}
        assert types["oper.login"]["rows"] == 10
        assert types["oper.login"]["state_free"]
        assert sum(each["rows"] for each in document["families"]) == len(ROWS)
        assert document["disk_bytes"] > size
        text = slircd("events", "stats", "--db", url).output
        assert "oper.login" in text
        assert "on disk" in text

    def digest_of_rows(self) -> str:
        url = self.new_url()
        write(url, ROWS)
        return self.digest(url)


class SQLiteFamilies(OnSQLite, FamiliesContract, unittest.TestCase):
    """In a file."""

    def test_command(self) -> None:
        """The command goes by the rules of the configuration."""
        url = self.new_url()
        write(url, ROWS)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "slircd.toml"
        file.write_text(f"[database]\nurl = '{url}'\n")
        assert "nothing to prune" in slircd("events", "prune", "-c", str(file)).output
        file.write_text(f"[database]\nurl = '{url}'\n[retention.families.'oper.*']\nkeep_events = 2\n")
        assert slircd("events", "prune", "-c", str(file), "--dry-run").output == "oper.login: 8 would be pruned\n"
        assert slircd("events", "prune", "-c", str(file)).output == "oper.login: 8 pruned\n"
        left = read(url)
        assert [row.event_type for row in left if row not in ROWS] == ["server.prune"]
        assert len(left) == len(ROWS) - 8 + 1
        file.write_text("[retention.families.nosuch]\nkeep_events = 2\n")
        done = slircd("events", "prune", "-c", str(file))
        assert done.exit_code == 1
        assert "retention.families.nosuch: found a name that is none" in done.output


class PostgresFamilies(OnPostgres, FamiliesContract, unittest.TestCase):
    """In PostgreSQL."""


def test_state_free_types() -> None:
    """What apply ignores is known by the class, and only that has rules of its own."""
    assert {"oper.login", "server.stop", "services.nick_identify"} <= set(STATE_FREE)
    assert "channel.join" not in STATE_FREE
