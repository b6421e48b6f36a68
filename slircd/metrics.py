"""Every series that the server exports, in one place; label values come from closed sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from slircd.events.bus import Record
    from slircd.network.server import IRCServer


class Metrics:
    """Counts what the log does, and reads the rest off the server when it is asked."""

    def __init__(self, server: IRCServer) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter("slircd_events", "Events committed to the log", ["type"], registry=self.registry)
        self._commit_s = Histogram(
            "slircd_commit_seconds",
            "How long a commit of the log takes",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=self.registry,
        )
        self._commit_rows = Histogram(
            "slircd_commit_events",
            "Events of one commit",
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000),
            registry=self.registry,
        )
        self.registry.register(_ServerCollector(server))
        self.registry.register(_HousekeepingCollector(server))

    def committed(self, last_id: int, rows: int, seconds: float) -> None:
        """A commit is done."""
        self._commit_s.observe(seconds)
        self._commit_rows.observe(rows)

    def event(self, record: Record) -> None:
        """An event is committed."""
        self._events.labels(record.event.event_type).inc()

    def text(self) -> bytes:
        """All series, in Prometheus' text format."""
        return generate_latest(self.registry)


class _ServerCollector(Collector):
    """What the server knows anyway: nothing is counted twice, and nothing costs while nobody asks."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        server = self._server
        yield GaugeMetricFamily("slircd_users", "Users of the network", value=len(server.state.users))
        yield GaugeMetricFamily("slircd_channels", "Channels", value=len(server.state.channels))
        yield GaugeMetricFamily("slircd_accounts", "Registered accounts", value=len(server.state.accounts))
        sessions = GaugeMetricFamily("slircd_connections", "Connections now", labels=["listener", "tls"])
        counts: dict[tuple[str, str], int] = {
            (listener.name, "yes" if listener.tls else "no"): 0 for listener in server.listeners
        }
        for session in server.sessions:
            if session.listener is not None:
                key = (session.listener.name, "yes" if session.listener.tls else "no")
                counts[key] = counts.get(key, 0) + 1
        for labels, count in counts.items():
            sessions.add_metric(labels, count)
        yield sessions
        yield GaugeMetricFamily(
            "slircd_unregistered_connections", "Connections that are no users yet", value=len(server.strangers)
        )
        yield CounterMetricFamily("slircd_connections_made", "Connections since the start", value=server.connections)
        commands = CounterMetricFamily("slircd_commands", "Commands of clients since the start", labels=["command"])
        for name, number in server.command_counts.items():
            commands.add_metric([name], number)
        yield commands
        yield GaugeMetricFamily(
            "slircd_degraded", "1 while the log cannot be written", value=float(server.bus.degraded)
        )
        yield GaugeMetricFamily("slircd_sequence", "Lamport sequence of the last event", value=server.bus.clock.value)


class _HousekeepingCollector(Collector):
    """Checkpoints, and whether the state that is served is the log, applied."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        housekeeping = self._server.housekeeping
        if housekeeping is None:
            return
        last = housekeeping.last
        yield GaugeMetricFamily(
            "slircd_replay_drift",
            "1 if the state that is served was not the log, applied, at the last check; 0 if it was",
            value=0 if last is None or last.equal else 1,
        )
        yield GaugeMetricFamily(
            "slircd_replay_check_timestamp_seconds",
            "When that was compared last, in seconds since the epoch; 0: not yet",
            value=0 if last is None else last.checked_s,
        )
        yield CounterMetricFamily(
            "slircd_checkpoints", "Checkpoints written since the start", value=housekeeping.written
        )
        yield CounterMetricFamily(
            "slircd_housekeeping_failures",
            "Checkpoints and checks that came to nothing, since the start",
            value=housekeeping.failures,
        )
        yield GaugeMetricFamily(
            "slircd_checkpoint_bytes", "Size of the newest checkpoint of this run", value=housekeeping.size_bytes
        )
