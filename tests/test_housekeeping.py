"""Housekeeping: when a checkpoint is due, what becomes of it, and what the worker's process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from slircd.events import checkpoints
from slircd.events.bus import Amendment, StoreUnavailable
from slircd.events.reader import LogReader
from slircd.events.store import SQLStore
from slircd.events.types import ServerRedact
from slircd.housekeeping import LOOK_S, RETENTION_PAUSE_S, RETRY_S, Housekeeping, Verified, WorkerFailed
from slircd.replay.worker import JOBS, Outcome, PastChannel, Replay, run, write_checkpoint, writing_engine
from slircd.state.feed import Damaged
from slircd.state.snapshot import digest
from tests.events.test_checkpoints import LAST, ROWS, state_after
from tests.harness import ServerTestCase, World, make_config
from tests.replay.test_replay import save


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A log of random commands."""
    world = World()
    world.store.rows[:] = ROWS
    save(world, tmp_path / "log.db")
    return f"sqlite:///{tmp_path / 'log.db'}"


# --- what the process does ----------------------------------------------------------------------------------------


def outcome(job: Replay) -> Outcome:
    answer = run(job)
    assert isinstance(answer, Outcome)
    return answer


def test_replay_from_checkpoint_to_checkpoint(url: str) -> None:
    """Each job begins at the newest checkpoint, writes its own, and the oldest are thinned."""
    for until_id in range(20, LAST, 20):
        found = outcome(Replay(url=url, until_id=until_id, keep=2, thin_events=50))
        assert found.digest == digest(state_after(until_id))
        assert found.events == 20
        assert found.size > 0
    with LogReader(url) as reader:
        ids = [each.event_id for each in reader.checkpoints()]
    assert ids[-2:] == [(LAST - 1) // 20 * 20 - 20, (LAST - 1) // 20 * 20]
    assert len({each // 50 for each in ids[:-2]}) == len(ids[:-2]) > 1
    whole = outcome(Replay(url=url, until_id=LAST, whole=True))
    assert (whole.events, whole.size, whole.digest) == (LAST, 0, digest(state_after(LAST)))


def test_nothing_new(url: str) -> None:
    """Where there is a checkpoint already, none is written again."""
    assert outcome(Replay(url=url, until_id=50, keep=5)).events == 50
    again = outcome(Replay(url=url, until_id=50, keep=5))
    assert (again.events, again.size) == (0, 0)


def test_past_channel(url: str) -> None:
    """The channel, or that there was none."""
    key = next(iter(state_after(LAST).channels))
    found = msgspec.convert(msgspec.to_builtins(run(PastChannel(url=url, key=key, at=ROWS[-1].timestamp))), dict)
    assert found["channel"]
    for at, name in (("2020-01-01T00:00:00.000000Z", key), (ROWS[-1].timestamp, "#nowhere")):
        assert run(PastChannel(url=url, key=name, at=at)).decoded() is None  # type: ignore[attr-defined]


def process(job: Any, *, closed: bool = False) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-m", "slircd.replay.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdin is not None
    started.stdin.write(msgspec.json.encode(job).decode() + "\n")
    started.stdin.flush()
    if closed:
        started.stdin.close()
    return started


def test_process(url: str, tmp_path: Path) -> None:
    """One line in, one line out; what went wrong stands on stderr, with a status."""
    with process(Replay(url=url, until_id=LAST)) as good:
        assert good.stdout is not None
        assert json.loads(good.stdout.readline())["digest"] == digest(state_after(LAST))
        assert good.wait(60) == 0
    with process(Replay(url=f"sqlite:///{tmp_path / 'none.db'}", until_id=1)) as bad:
        assert bad.wait(60) == 1
        assert bad.stderr is not None
        assert "no such file" in bad.stderr.read()


def test_damaged_log(url: str) -> None:
    """A log that cannot be replayed gets no checkpoint."""
    damaged = next(row.id for row in ROWS if row.id > 30 and row.event_type == "channel.join")
    writer = writing_engine(url)
    with writer.begin() as connection:
        connection.exec_driver_sql(f"UPDATE events SET payload = '{{' WHERE id = {damaged}")
    writer.dispose()
    with pytest.raises(Damaged, match=f"event {damaged} is damaged"):
        run(Replay(url=url, until_id=LAST, keep=2))
    with LogReader(url) as reader:
        assert reader.checkpoints() == []


def test_beside_a_busy_writer(tmp_path: Path) -> None:
    """A checkpoint of some megabytes meets the daemon's commits, and neither has trouble."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    trouble: list[str | None] = []
    store = SQLStore(url, call_in_reactor=lambda function, *words: function(*words), seconds=time.monotonic)
    store.on_trouble = trouble.append
    store.open()
    big = checkpoints.pack(state_after(20), 20)._replace(state=os.urandom(4_000_000))

    def write_many() -> None:
        for number in range(1, 16):
            write_checkpoint(url, big._replace(event_id=number), keep=3, thin_events=100)

    writer = threading.Thread(target=write_many)
    writer.start()
    count = 0
    while writer.is_alive() or count < len(ROWS):
        if count < len(ROWS):
            store.append([ROWS[count]])
            count += 1
        time.sleep(0.001)
    writer.join()
    store.close()
    assert trouble == []
    with LogReader(url) as reader:
        assert reader.head().id == LAST
        assert [each.event_id for each in reader.checkpoints()] == [1, 13, 14, 15]


# --- what the service does ----------------------------------------------------------------------------------------


class FakeProcess:
    """A process of the reactor's: it has been given a job, and ends when the test says so."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.job: Any = None
        self.killed = False
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.job = msgspec.json.decode(data, type=JOBS)

    def signalProcess(self, name: str) -> None:
        self.killed = True

    def ends(self, answer: Any) -> None:
        """It answers."""
        self.protocol.outReceived(msgspec.json.encode(answer) + b"\n")
        self.protocol.processEnded(Failure(ProcessDone(0)))

    def fails(self, words: str) -> None:
        """It ends with status 1."""
        self.protocol.errReceived(words.encode())
        self.protocol.processEnded(Failure(ProcessTerminated(1)))


class HousekeepingTests(ServerTestCase):
    """The service on a server in memory, with processes that tests end."""

    config = {"checkpoints": {"every": 100, "keep": 3, "check_s": 3600}}  # nobody changes it

    def setUp(self) -> None:
        super().setUp()
        self.processes: list[FakeProcess] = []
        clock: Any = self.world.clock
        clock.spawnProcess = lambda protocol, *_, **__: self.processes.append(FakeProcess(protocol))
        self.keeper = Housekeeping(self.world.server, "sqlite:///x.db", clock)
        self.keeper.startService()
        # ServerTestCase goes by the digest that is kept for it.
        assert self.world.server.bus.live_digest is not None
        self.world.live_digest = self.world.server.bus.live_digest
        self.ann = self.client("ann")

    def tearDown(self) -> None:
        if self.keeper.running:
            self.keeper.stopService()
        super().tearDown()

    def write(self, events: int) -> None:
        for number in range(events):
            self.ann.sends(f"AWAY :{number}")

    def passes(self, seconds: float) -> None:
        """Time passes, in the steps of the service."""
        for _ in range(int(seconds / LOOK_S) + 2):
            self.world.clock.advance(LOOK_S)

    def replayed(self) -> str:
        return digest(self.world.replayed())

    def test_due_after_so_many_events(self) -> None:
        """Nothing before, one process then, none while it runs; its digest is compared with that of its moment."""
        self.write(50)
        self.passes(10)
        self.assertEqual(self.processes, [])
        self.write(60)
        self.passes(10)
        [first] = self.processes
        self.assertIsInstance(first.job, Replay)
        self.assertEqual(first.job.until_id, self.world.server.bus.last_id)
        self.assertEqual(first.job.keep, 3)
        then = self.replayed()
        self.write(150)
        self.passes(10)
        self.assertEqual(len(self.processes), 1)
        first.ends(Outcome(digest=then, events=110, size=500))
        last: Verified | None = self.keeper.last
        assert last is not None
        self.assertTrue(last.equal)
        self.assertEqual((self.keeper.written, self.keeper.size_bytes), (1, 500))
        self.passes(2)
        self.assertEqual(self.processes[1].job.until_id, self.world.server.bus.last_id)

    def test_due_after_a_time(self) -> None:
        """A quiet server checks itself, too, but not without anything new."""
        self.write(1)
        self.passes(3601)
        [check] = self.processes
        check.ends(Outcome(digest=self.replayed(), events=3))
        self.passes(7300)
        self.assertEqual(len(self.processes), 1)

    def test_drift(self) -> None:
        """A state that somebody changed behind the log's back is found, said, and shown as a metric."""
        from prometheus_client.parser import text_string_to_metric_families

        from slircd.metrics import Metrics

        self.world.server.housekeeping = self.keeper
        self.write(110)
        self.passes(2)
        metrics = Metrics(self.world.server)

        def drift() -> float:
            families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
            return families["slircd_replay_drift"].samples[0].value

        self.assertEqual(drift(), 0)
        self.processes[0].ends(Outcome(digest="0" * 32, events=110, size=1))
        self.assertEqual(drift(), 1)
        waiting = self.keeper.verify()
        self.passes(1)
        self.assertTrue(self.processes[1].job.whole)
        self.processes[1].ends(Outcome(digest=self.replayed(), events=110))
        found: list[Any] = []
        waiting.addCallback(found.append)
        self.assertTrue(found[0].equal)
        self.assertEqual(drift(), 0)

    def test_somebody_was_erased_meanwhile(self) -> None:
        """A digest from before the log was rewritten is not compared with what was replayed after: both are taken anew."""
        self.write(110)
        self.passes(2)
        event = ServerRedact(actor_uid="server", target=None, nick="", what="account", events=0, checkpoints=0)
        self.world.server.bus.amend(event, Amendment(list, lambda connection: None))
        self.processes[0].ends(Outcome(digest="0" * 32, events=110, size=1))
        self.assertIsNone(self.keeper.last)
        self.passes(RETENTION_PAUSE_S)
        self.assertGreater(self.processes[1].job.until_id, self.processes[0].job.until_id)
        self.processes[1].ends(Outcome(digest=self.replayed(), events=111, size=1))
        last: Verified | None = self.keeper.last
        assert last is not None
        self.assertTrue(last.equal)
        self.assertEqual(last.live, self.replayed())

    def test_failure(self) -> None:
        """A process that fails is logged and counted, and tried again after a while; who asked hears why."""
        self.write(110)
        self.passes(2)
        self.processes[0].fails("disk full")
        self.assertEqual(self.keeper.failures, 1)
        self.passes(RETRY_S - 10)
        self.assertEqual(len(self.processes), 1)
        self.passes(20)
        self.assertEqual(len(self.processes), 2)
        self.processes[1].ends("nonsense")
        self.assertEqual(self.keeper.failures, 2)
        waiting = self.keeper.verify()
        failures: list[Any] = []
        waiting.addErrback(failures.append)
        self.passes(1)
        self.processes[2].fails("event 7 is damaged")
        self.assertIs(failures[0].type, WorkerFailed)
        self.assertIn("event 7", str(failures[0].value))

    def test_stop_kills(self) -> None:
        """What runs when the server stops is killed, and is no failure."""
        self.write(110)
        self.passes(2)
        self.keeper.stopService()
        self.assertTrue(self.processes[0].killed)
        self.processes[0].fails("killed")
        self.assertEqual(self.keeper.failures, 0)
        self.passes(10)
        self.assertEqual(len(self.processes), 1)

    def test_uncommitted_events_are_waited_for(self) -> None:
        """The process is started when the log has everything that is to be compared."""
        self.write(110)
        self.world.store.automatic = False
        self.ann.sends("AWAY :last")
        self.passes(3)
        self.assertEqual(self.processes, [])
        self.world.store.commit()
        self.passes(1)
        self.assertEqual(self.processes[0].job.until_id, self.world.server.bus.last_id)

    def test_channel_at(self) -> None:
        """The past of a channel comes from a process, too."""
        found: list[Any] = []
        self.keeper.channel_at("#a", "2025-01-01T00:00:00.000000Z").addCallback(found.append)
        self.assertEqual(self.processes[0].job.key, "#a")
        self.processes[0].ends({"channel": None})
        self.assertEqual(found, [None])

    def test_no_past_while_the_database_is_away(self) -> None:
        """Whoever asks for the past of a channel then is told to come again."""
        failures: list[Any] = []
        self.keeper.channel_at("#a", "2025-01-01T00:00:00.000000Z").addErrback(failures.append)
        self.processes[0].fails("cannot be read: connection refused")
        self.assertIs(failures[0].type, StoreUnavailable)

    def test_few_at_once(self) -> None:
        """However many ask for the past, a few processes answer."""
        found: list[Any] = []
        for _ in range(5):
            self.keeper.channel_at("#a", "2025-01-01T00:00:00.000000Z").addCallback(found.append)
        for number in range(5):
            self.assertEqual(len(self.processes), min(number + 2, 5))
            self.processes[number].ends({"channel": None})
        self.assertEqual(len(found), 5)


def test_no_turn_is_long() -> None:
    """At 5,000 users the digest is completed a slice at a time, and each slice hashes a bounded number of things."""
    from slircd.events.types import UserConnect
    from slircd.housekeeping import SLICE

    world = World(config=make_config())
    bus = world.server.bus
    for number in range(1, 5001):
        bus.emit(
            [
                UserConnect(
                    actor_uid=f"9AA{number:06d}",
                    target=f"9AA{number:06d}",
                    nick=f"n{number}",
                    username="u",
                    host="h",
                    real_host="h",
                    ip="",
                    realname="r",
                    modes="",
                    node="9AA",
                    number=number,
                    secure=False,
                    certfp=None,
                )
            ]
        )
    turns = 0
    while not world.live_digest.work(SLICE):
        turns += 1
    assert turns >= 5000 / SLICE - 1
    assert world.live_digest.is_right()
