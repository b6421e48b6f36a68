"""The series that the server exports: each moves when what it counts happens, and promtool has nothing to say."""

from __future__ import annotations

import re
import shutil
import subprocess
import unittest
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from slircd.events.bus import Record
from slircd.events.types import ServerRedact
from slircd.metrics import Metrics
from slircd.network.collector import Collector
from slircd.network.lag import LAG_S, LagProbe
from slircd.network.meter import Durations
from slircd.state.apply import Stamp
from slircd.wire.line import Line
from tests.harness import ServerTestCase, World, make_config


def series(metrics: Metrics) -> dict[str, float]:
    """Every sample, as `name{label="value"}`."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class Series(ServerTestCase):
    config = {
        "flood": {"enabled": True, "burst": 5, "rate_per_s": 1.0},
        "limits": {"sendq_bytes": 65_536},
        "metrics": {"channels": ["#Listed", "#empty"]},
    }

    def setUp(self) -> None:
        super().setUp()
        self.metrics = Metrics(self.world.server, lambda: {"here.crt": 1_800_000_000.0})

    def test_turns_and_pauses(self) -> None:
        """Long turns of the reactor and searches for cycles are histograms; full searches are counted."""
        turns = Durations()
        collector = Collector(self.world.clock, lambda: 0)
        metrics = Metrics(self.world.server, dict, turns, collector)
        turns.add(0.03)
        collector.pauses.add(0.003)
        collector.full += 1
        found = series(metrics)
        self.assertEqual(found['slircd_reactor_turn_seconds_bucket{le="0.02"}'], 0)
        self.assertEqual(found['slircd_reactor_turn_seconds_bucket{le="0.05"}'], 1)
        self.assertEqual(found["slircd_reactor_turn_seconds_sum"], 0.03)
        self.assertEqual(found['slircd_gc_pause_seconds_bucket{le="0.005"}'], 1)
        self.assertEqual(found["slircd_gc_full_searches_total"], 1)

    def test_lines_and_commands(self) -> None:
        """What clients send and are sent is counted, also of those who have gone."""
        ann = self.client("ann")
        before = series(self.metrics)
        ann.sends("PING one", "PING two")
        after = series(self.metrics)
        for direction in ("in", "out"):
            name = f'slircd_lines_total{{direction="{direction}"}}'
            self.assertEqual(after[name] - before[name], 2)
        self.assertEqual(after['slircd_command_seconds_count{command="PING"}'], 2)
        self.assertGreater(after['slircd_command_seconds_sum{command="PING"}'], 0)
        ann.disconnects()
        gone = series(self.metrics)
        self.assertEqual(gone['slircd_lines_total{direction="in"}'], after['slircd_lines_total{direction="in"}'])

    def test_who_is_too_fast_is_counted(self) -> None:
        """Delays of the bucket, a receive queue that is full, a registration that takes too long."""
        ann = self.client("ann")
        ann.sends(*["VERSION"] * 8)
        self.assertGreater(series(self.metrics)["slircd_flood_delays_total"], 0)
        ann.sends(*["TOPIC #a :" + "x" * 400] * 400)
        self.assertEqual(series(self.metrics)['slircd_connections_cut_total{reason="recvq"}'], 1)
        self.world.connect()
        self.world.clock.advance(70)
        self.assertEqual(series(self.metrics)['slircd_connections_cut_total{reason="registration"}'], 1)

    def test_who_reads_too_slowly_is_counted(self) -> None:
        """A send queue over its limit."""
        ann = self.client("ann")
        ann.session.outbox.pauseProducing()
        for _ in range(200):
            ann.session.send(Line("x" * 400))
        self.world.turn()
        self.assertEqual(series(self.metrics)['slircd_connections_cut_total{reason="sendq"}'], 1)

    def test_gate(self) -> None:
        """Output that waits for the log is measured from the first event that closed the gate."""
        store = self.world.store
        store.automatic = False
        self.client("ann").sends("JOIN #a")
        self.world.clock.advance(0.3)
        store.commit()
        found = series(self.metrics)
        store.automatic = True
        self.assertAlmostEqual(found["slircd_gate_wait_seconds_sum"], 0.3, places=3)
        self.assertEqual(found['slircd_gate_wait_seconds_bucket{le="0.25"}'], 0)

    def test_people_and_channels(self) -> None:
        """Gauges that read the state."""
        self.on_channel("#a", "ann", "bob", "eve")
        self.on_channel("#listed", "dan")
        self.oper("root").sends("AWAY :gone")
        found = series(self.metrics)
        self.assertEqual(found["slircd_memberships"], 4)
        self.assertEqual(found["slircd_largest_channel_members"], 3)
        self.assertEqual(found["slircd_opers"], 1)
        self.assertEqual(found['slircd_channel_members{channel="#Listed"}'], 1)
        self.assertEqual(found['slircd_channel_members{channel="#empty"}'], 0)
        self.assertEqual(found["slircd_users_away"], 1)
        self.assertEqual(found['slircd_certificate_expiry_timestamp_seconds{file="here.crt"}'], 1_800_000_000)
        self.assertGreater(found["slircd_log_disk_free_bytes"], 0)

    def test_no_series_names_people(self) -> None:
        """Label values are of closed sets: no nick, channel, host or text of a client is among them."""
        [ann] = self.on_channel("#secretplace", "secretnick")
        ann.sends("PRIVMSG #secretplace :secretword", "SECRETCOMMAND", "KICK #secretplace secretnick :secretreason")
        self.assertNotIn("secret", self.metrics.text().decode().lower())

    def test_the_network(self) -> None:
        """Accounts, channels and connections, and what clients ask for."""
        ann, *_ = self.on_channel("#a", "@ann", "bob")
        for line in ("NS REGISTER sesame99", "CS REGISTER #a", "JOIN #b"):
            self.world.clock.advance(5)
            ann.sends(line)
        self.world.connect()
        found = series(self.metrics)
        self.assertEqual(found["slircd_accounts"], 1)
        self.assertEqual(found["slircd_users_logged_in"], 1)
        self.assertEqual(found["slircd_channels"], 2)
        self.assertEqual(found["slircd_registered_channels"], 1)
        self.assertEqual(found["slircd_unregistered_connections"], 1)
        self.assertEqual(found["slircd_connections_made_total"], 3)
        self.assertEqual(found['slircd_commands_total{command="JOIN"}'], 3)
        before = found['slircd_line_bytes_total{direction="in"}']
        ann.sends("PING x")
        self.assertEqual(series(self.metrics)['slircd_line_bytes_total{direction="in"}'] - before, len("PING x"))

    def test_the_log(self) -> None:
        """What waits, what was committed, and that it cannot be."""
        store = self.world.store
        ann = self.client("ann")
        self.assertEqual(series(self.metrics)["slircd_sequence"], self.world.server.bus.clock.value)
        store.automatic = False
        ann.sends("JOIN #a")
        self.assertEqual(series(self.metrics)["slircd_log_pending_events"], 2)
        self.assertEqual(series(self.metrics)["slircd_degraded"], 0)
        self.world.clock.advance(60)
        self.assertEqual(series(self.metrics)["slircd_degraded"], 1)
        store.commit()
        store.automatic = True
        self.assertEqual(series(self.metrics)["slircd_log_pending_events"], 0)
        self.metrics.committed(7, 3, 0.002)
        self.metrics.lag.observe(0.3)
        self.assertEqual(series(self.metrics)['slircd_reactor_lag_seconds_bucket{le="0.25"}'], 0)
        found = series(self.metrics)
        self.assertEqual(found["slircd_commit_events_sum"], 3)
        self.assertAlmostEqual(found["slircd_commit_seconds_sum"], 0.002)
        erased = ServerRedact(actor_uid=None, target=None, nick="x", what="account", events=5)
        self.metrics.event(Record(erased, Stamp(1, 1, "", "")))
        self.assertEqual(series(self.metrics)['slircd_redacted_events_total{what="account"}'], 5)

    def test_a_clock_that_is_set_back(self) -> None:
        """Decisions that got the time of the one before."""
        ann = self.client("ann")
        self.world.clock.rightNow -= 30
        ann.sends("JOIN #a")
        self.assertGreater(series(self.metrics)["slircd_clock_held_total"], 0)
        self.world.clock.rightNow += 30

    def test_what_waits_for_clients(self) -> None:
        """Bytes in send queues."""
        ann = self.client("ann")
        ann.session.outbox.pauseProducing()
        ann.session.send(Line("x" * 400))
        self.world.turn()
        self.assertEqual(series(self.metrics)["slircd_send_queue_bytes"], 402)
        ann.session.outbox.resumeProducing()
        self.world.turn()
        self.assertEqual(series(self.metrics)["slircd_send_queue_bytes"], 0)

    def test_requests_and_followers(self) -> None:
        """The admin API, its feeds and webhooks."""
        self.metrics.request("/admin/state", 404, 0.2)
        self.metrics.request("/admin/live", 200, None)
        hook = SimpleNamespace(name="chat", delivered=3, failed=1, lag=9)
        self.metrics.watch_feed(SimpleNamespace(followers=2, behind=4), lambda: [hook])
        found = series(self.metrics)
        self.assertEqual(found['slircd_admin_requests_total{route="/admin/state",status="4xx"}'], 1)
        self.assertEqual(found['slircd_admin_request_seconds_count{route="/admin/state"}'], 1)
        self.assertNotIn('slircd_admin_request_seconds_count{route="/admin/live"}', found)
        self.assertEqual(found["slircd_feed_followers"], 2)
        self.assertEqual(found["slircd_feed_log_reads_total"], 4)
        self.assertEqual(found['slircd_webhook_requests_total{outcome="failed",webhook="chat"}'], 1)
        self.assertEqual(found['slircd_webhook_lag_events{webhook="chat"}'], 9)

    def test_checkpoints(self) -> None:
        """What housekeeping says."""
        last = SimpleNamespace(equal=False, checked_s=1_700_000_000.0)
        self.world.server.housekeeping = SimpleNamespace(last=last, written=4, failures=2, size_bytes=1234)
        found = series(self.metrics)
        self.world.server.housekeeping = None
        self.assertEqual(found["slircd_replay_drift"], 1)
        self.assertEqual(found["slircd_replay_check_timestamp_seconds"], 1_700_000_000)
        self.assertEqual(found["slircd_checkpoints_total"], 4)
        self.assertEqual(found["slircd_housekeeping_failures_total"], 2)
        self.assertEqual(found["slircd_checkpoint_bytes"], 1234)

    def test_plugins(self) -> None:
        """What a plugin does, and what it may not."""
        info = {"name": "seen", "state": "running", "calls": 1, "events": 2, "errors": 3, "restarts": 4, "denied": 5}
        more = {"lua_bytes": 6, "faults": {"deadline": 7}}
        manager = SimpleNamespace(infos=lambda: [{**info, **more}], latency=lambda name: ([("+Inf", 8.0)], 0.5))
        self.world.server.extensions.manager = manager
        found = series(self.metrics)
        self.world.server.extensions.manager = None
        names = ("up", "events_total", "errors_total", "restarts_total", "denied_total", "lua_bytes")
        values = [found[f'slircd_plugin_{name}{{plugin="seen"}}'] for name in names]
        self.assertEqual(values, [1, 2, 3, 4, 5, 6])
        self.assertEqual(found['slircd_plugin_calls_total{plugin="seen"}'], 1)
        self.assertEqual(found['slircd_plugin_faults_total{kind="deadline",plugin="seen"}'], 7)
        self.assertEqual(found['slircd_plugin_job_seconds_count{plugin="seen"}'], 8)


class Refusals(unittest.TestCase):
    def test_reasons(self) -> None:
        """Connections that are turned away are counted by why."""
        limits = {"attempts": 1, "exempt": []}
        world = World(config=make_config({"throttle": limits}))
        metrics = Metrics(world.server)
        world.connect("198.51.100.1")
        world.connect("198.51.100.1")
        self.assertEqual(series(metrics)['slircd_connections_refused_total{reason="limit"}'], 1)
        world.server.log_full = True
        world.connect("198.51.100.2")
        self.assertEqual(series(metrics)['slircd_connections_refused_total{reason="log"}'], 1)


def test_the_size_of_the_log(tmp_path: Path) -> None:
    """The database and its write-ahead log together."""
    database = tmp_path / "slircd.db"
    database.write_bytes(b"x" * 1000)
    (tmp_path / "slircd.db-wal").write_bytes(b"x" * 234)
    world = World(config=make_config({"database": {"url": f"sqlite:///{database}"}}))
    assert series(Metrics(world.server))["slircd_log_bytes"] == 1234


def test_every_series_is_looked_at() -> None:
    """By a test in this file, or by one that names it elsewhere."""
    source = (Path(__file__).parents[1] / "slircd" / "metrics.py").read_text()
    names = set(re.findall(r'"slircd_([a-z_]+)"', source))
    assert len(names) > 40
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    plugins = {f"plugin_{name}" for name in ("up", "events", "errors", "restarts", "denied", "lua_bytes")}
    assert {name for name in names - plugins if f"slircd_{name}" not in tests} == set()


class Lag(unittest.TestCase):
    def test_a_long_turn_is_one_late_call(self) -> None:
        """The probe says how late it was called, and catches up without a burst."""

        class Reactor(Clock):
            def callWhenRunning(self, function, *arguments):
                function(*arguments)

        clock, seen = Reactor(), []
        probe = LagProbe(clock, seen.append)
        probe.startService()
        clock.pump([LAG_S] * 3)
        self.assertEqual([round(late, 6) for late in seen], [0, 0, 0])
        clock.advance(LAG_S + 0.73)
        self.assertAlmostEqual(seen[3], 0.73)
        clock.advance(LAG_S)
        self.assertLess(seen[4], LAG_S)
        probe.stopService()
        clock.advance(1)
        self.assertEqual(len(seen), 5)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_promtool_finds_no_fault() -> None:
    """Names, types and help as Prometheus wants them."""
    world = World()
    world.client("ann").sends("JOIN #a", "PING x")
    text = Metrics(world.server, lambda: {"here.crt": 1.0}).text()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
