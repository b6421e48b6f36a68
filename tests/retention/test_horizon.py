"""The horizon: what changes the state goes as a prefix, and every later moment stays what it was."""

from __future__ import annotations

import json
import tempfile
import unittest
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from slircd.config.load import parse
from slircd.config.sections import Keep
from slircd.events import checkpoints
from slircd.events.clock import parse_timestamp
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.replay.cli import main as replay_main
from slircd.replay.reconstructor import StateReconstructor
from slircd.retention import horizon as module
from slircd.retention.database import Workplace
from slircd.retention.horizon import NotVerified, prune_state
from slircd.retention.rules import STATE_FREE
from slircd.state.feed import feed
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from tests.retention.logs import Databases, OnPostgres, OnSQLite, lively, read, slircd, write
from tests.retention.test_erasure import random_log

LIVELY = lively().store.rows
END_S = parse_timestamp(LIVELY[-1].timestamp)


@cache
def sample(seed: int) -> tuple[list[Row], dict[int, str]]:
    """A random log, and the digest of the state behind each of its events."""
    rows = LIVELY if seed == 0 else random_log(seed, 500).store.rows
    state, digests = ServerState(), {}
    for row in rows:
        feed(state, [row])
        digests[row.id] = digest(state)
    return rows, digests


class Killed(Exception):
    """Stands for the end of the process."""


def check_later_moments(url: str, digests: dict[int, str], from_id: int) -> None:
    """Replay from the base gives the digest that each event behind it had before anything was pruned."""
    with LogReader(url) as reader:
        start = reader.start(only_base=True)
        assert start.position.id <= from_id
        if start.position.id:
            assert digest(start.state) == digests[start.position.id]
        for row in reader.raw_rows(after_id=start.position.id):
            feed(start.state, [row])
            assert digest(start.state) == digests[row[0]]


class HorizonContract(Databases):
    """On every database."""

    def prune(self, url: str, rule: Keep, steps: int | None = None, rows: int = 3) -> module.Horizon | None:
        """Prune, and be killed at some step."""
        left = [10_000 if steps is None else steps]

        def reached(step: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed(step)

        with Workplace(url) as place:
            place.pace.pause = False
            place.pace.rows = rows
            place.reached = reached
            return prune_state(place, rule, now_s=END_S)

    def check(self, seed: int, keep_events: int, steps: int) -> None:
        rows, digests = sample(seed)
        url = self.new_url()
        write(url, rows)
        rule = Keep(keep_events=keep_events)
        with Workplace(url) as place, place.reading() as connection:
            horizon = module.new_horizon(connection, rule, END_S)
        try:
            self.prune(url, rule, steps)
        except Killed:
            check_later_moments(url, digests, horizon)
            self.prune(url, rule)
        check_later_moments(url, digests, horizon)
        left = read(url)
        assert [row for row in rows if row.id > horizon or row.event_type in STATE_FREE] == left
        assert left[-1] == rows[-1]

    def test_by_age_and_commands(self) -> None:
        """A time before the horizon is an error that names it; replay and verification go on from there."""
        rows, digests = sample(0)
        url = self.new_url()
        write(url, rows)
        done = self.prune(url, Keep(keep_days=4))
        assert done is not None
        assert done.timestamp < rows[-1].timestamp
        assert self.prune(url, Keep(keep_days=4)) is None
        check_later_moments(url, digests, done.event_id)
        runner = CliRunner()
        early = runner.invoke(replay_main, ["--db", url, "--at", rows[3].timestamp])
        assert early.exit_code == 6
        assert done.timestamp in early.output
        verified = runner.invoke(replay_main, ["--db", url, "--verify"])
        assert verified.exit_code == 0, verified.output
        assert json.loads(verified.stdout)["digest"] == digests[rows[-1].id]
        assert runner.invoke(replay_main, ["--db", url, "--at", rows[-1].timestamp]).exit_code == 0

    def test_a_second_horizon(self) -> None:
        """A horizon moves on from the one before; there is one base."""
        rows, digests = sample(1)
        url = self.new_url()
        write(url, rows)
        for keep in (60, 30, 45, 10):
            self.prune(url, Keep(keep_events=keep))
            check_later_moments(url, digests, rows[-1].id)
        with Workplace(url) as place, place.reading() as connection:
            assert [each.kind for each in checkpoints.find(connection)] == [checkpoints.BASE]

    def test_a_damaged_base(self) -> None:
        """A base that was changed stops everything that would need it, with words."""
        rows, _ = sample(1)
        url = self.new_url()
        write(url, rows)
        self.prune(url, Keep(keep_events=50))
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE checkpoints SET checksum = 'x'"))
        engine.dispose()
        with pytest.raises(checkpoints.DamagedBase, match="restore the database from a backup"):
            self.prune(url, Keep(keep_events=10))

    def test_export_and_import(self) -> None:
        """An export takes the base along; the import replays to the same digest, and knows the horizon."""
        rows, digests = sample(0)
        url, other = self.new_url(), self.new_url()
        write(url, rows)
        done = self.prune(url, Keep(keep_days=4))
        assert done is not None
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/log.ndjson.gz"
            assert slircd("events", "export", "--db", url, file).exit_code == 0
            early = slircd("events", "export", "--db", url, "--to", rows[2].timestamp, f"{folder}/early")
            assert early.exit_code == 6
            assert done.timestamp in early.output
            assert slircd("events", "import", "--db", other, file).exit_code == 0
        assert read(other) == read(url)
        check_later_moments(other, digests, done.event_id)
        stats = json.loads(slircd("events", "stats", "--db", other, "--json").output)
        assert stats["horizon"] == {"event_id": done.event_id, "timestamp": done.timestamp}
        assert "the log begins at" in slircd("events", "stats", "--db", other).output

    def test_dry_run(self) -> None:
        """It says what would go, and leaves it."""
        rows, _ = sample(0)
        url = self.new_url()
        write(url, rows)
        with Workplace(url) as place:
            found = prune_state(place, Keep(keep_days=4), now_s=END_S, dry_run=True)
        assert found is not None
        assert found.pruned == sum(row.id <= found.event_id and row.event_type not in STATE_FREE for row in rows)
        assert read(url) == rows


class SQLiteHorizon(OnSQLite, HorizonContract, unittest.TestCase):
    """In a file."""

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 3), st.integers(1, 120), st.integers(0, 30))
    def test_any_log_any_horizon_any_end(self, seed: int, keep_events: int, steps: int) -> None:
        """Whatever the log, the horizon and the moment of a kill: later moments are what they were, at every step."""
        self.check(seed, keep_events, steps)

    def test_a_base_that_lies(self) -> None:
        """A base that does not lead to the same states is not written, and nothing goes."""
        rows, _ = sample(1)
        url = self.new_url()
        write(url, rows)
        right = checkpoints.pack

        def wrong(state: ServerState, event_id: int, *, kind: str = checkpoints.CHECKPOINT) -> checkpoints.Packed:
            state.channel_modes += "x"
            packed = right(state, event_id, kind=kind)
            state.channel_modes = state.channel_modes[:-1]
            return packed._replace(digest=digest(state))

        checkpoints.pack = wrong
        try:
            with pytest.raises(NotVerified, match="nothing was removed"):
                self.prune(url, Keep(keep_events=50))
        finally:
            checkpoints.pack = right
        assert read(url) == rows

    def test_the_command(self) -> None:
        """`slircd events prune` says where the log begins now."""
        url = self.new_url()
        write(url, LIVELY)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "slircd.toml"
        file.write_text(f"[database]\nurl = '{url}'\n[retention.state]\nkeep_events = 20\n")
        would = slircd("events", "prune", "-c", str(file), "--dry-run").output
        did = slircd("events", "prune", "-c", str(file)).output
        assert "the log begins at 2025-" in did
        assert would.replace("would be pruned", "pruned").replace("would begin", "begins") == did
        assert "nothing to prune" in slircd("events", "prune", "-c", str(file)).output


class PostgresHorizon(OnPostgres, HorizonContract, unittest.TestCase):
    """In PostgreSQL."""

    def test_some_ends(self) -> None:
        """Later moments are what they were, wherever the work was killed."""
        for steps in (0, 1, 2, 3, 7):
            self.check(1, 40, steps)


def test_configuration() -> None:
    """The rule for what changes the state is a section of its own; as it is, everything is kept."""
    assert parse({}, "test").retention.state.keeps_everything
    assert not parse({"retention": {"state": {"keep_days": 1}}}, "test").retention.state.keeps_everything


def test_a_reader_while_the_horizon_moves(tmp_path: Path) -> None:
    """Somebody who reads events while they are pruned reads again, and never answers wrongly."""
    rows, digests = sample(0)
    url = f"sqlite:///{tmp_path / 'log.db'}"
    write(url, rows)
    pruned: list[str] = []

    class Slow(LogReader):
        """Reads some events at a time; after the first ones, others go."""

        def batches(self, **selection: Any) -> Iterator[list[tuple[Any, ...]]]:
            for batch in super().batches(**{**selection, "limit": 20}):
                yield batch
                if not pruned:
                    pruned.append("now")
                    with Workplace(url) as place:
                        prune_state(place, Keep(keep_events=20), now_s=END_S)

    with Slow(url) as reader:
        state = StateReconstructor(reader).state_at(rows[-1].timestamp)
    assert digest(state) == digests[rows[-1].id]
    assert pruned
