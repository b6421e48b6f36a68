"""The series that the server exports: each moves when what it counts happens, and promtool has nothing to say."""

from __future__ import annotations

import shutil
import subprocess
import unittest

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from slircd.metrics import Metrics
from slircd.network.lag import LAG_S, LagProbe
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
        ann.sends(*["TOPIC #a :" + "x" * 400] * 200)
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
