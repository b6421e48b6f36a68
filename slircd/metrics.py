"""Every series that the server exports, in one place; label values come from closed sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector
from sqlalchemy.engine import make_url

from slircd.events.types import ServerPrune, ServerRedact

if TYPE_CHECKING:
    from slircd.events.bus import Record
    from slircd.network.collector import Collector as CycleCollector
    from slircd.network.meter import Durations
    from slircd.network.server import IRCServer


_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """Counts what the log does, and reads the rest off the server when it is asked."""

    def __init__(
        self,
        server: IRCServer,
        certificates: Callable[[], Mapping[str, float]] = dict,
        turns: Durations | None = None,
        collector: CycleCollector | None = None,
    ) -> None:
        """`certificates` gives the files of certificates in use, and when each ends in seconds since the epoch.

        `turns` are the reactor's, `collector` searches for cycles, where they are measured.
        """
        self.registry = CollectorRegistry()
        for make in (ProcessCollector, PlatformCollector, GCCollector):
            make(registry=self.registry)
        self._events = Counter("slircd_events", "Events committed to the log", ["type"], registry=self.registry)
        self._events_of: dict[str, Counter] = {}
        """The series of each type, which `labels` would look for again and again."""
        self._pruned = Counter("slircd_pruned_events", "Events that retention deleted", registry=self.registry)
        self._redacted = Counter(
            "slircd_redacted_events",
            "Events that were rewritten because somebody was erased, or addresses became pseudonyms",
            ["what"],
            registry=self.registry,
        )
        self._commit_s = Histogram(
            "slircd_commit_seconds",
            "How long a commit of the log takes",
            buckets=_FAST,
            registry=self.registry,
        )
        gate = Histogram(
            "slircd_gate_wait_seconds",
            "How long the output gate held what clients are sent, the longest of each commit",
            buckets=_FAST,
            registry=self.registry,
        )
        server.gate.on_release = gate.observe
        self.lag = Histogram(
            "slircd_reactor_lag_seconds",
            "How late the reactor called what was due: long turns, the collector, a machine that is busy",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=self.registry,
        )
        self._commit_rows = Histogram(
            "slircd_commit_events",
            "Events of one commit",
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000),
            registry=self.registry,
        )
        self._requests = Counter(
            "slircd_admin_requests", "Requests to the admin API", ["route", "status"], registry=self.registry
        )
        self._request_s = Histogram(
            "slircd_admin_request_seconds",
            "How long requests to the admin API took",
            ["route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        if turns is not None and collector is not None:
            self.registry.register(_TurnCollector(turns, collector))
        self.registry.register(_ServerCollector(server))
        self.registry.register(_TrafficCollector(server))
        self.registry.register(_DiskCollector(server, certificates))
        self.registry.register(_HousekeepingCollector(server))
        self.registry.register(_PluginCollector(server))

    def committed(self, last_id: int, rows: int, seconds: float) -> None:
        """A commit is done."""
        self._commit_s.observe(seconds)
        self._commit_rows.observe(rows)

    def event(self, record: Record) -> None:
        """An event is committed."""
        event_type = record.event.event_type
        counted = self._events_of.get(event_type)
        if counted is None:
            counted = self._events_of[event_type] = self._events.labels(event_type)
        counted.inc()
        if isinstance(record.event, ServerPrune):
            self._pruned.inc(record.event.events)
        elif isinstance(record.event, ServerRedact):
            self._redacted.labels(record.event.what).inc(record.event.events)

    def request(self, route: str, status: int, seconds: float | None) -> None:
        """A request to the admin API is answered; `seconds` None for one that goes on by nature."""
        self._requests.labels(route, f"{status // 100}xx").inc()
        if seconds is not None:
            self._request_s.labels(route).observe(seconds)

    def watch_feed(self, feed: FeedFigures, webhooks: Callable[[], Sequence[Any]]) -> None:
        """Export what the feed and the webhooks do; `webhooks` gives those that there are."""
        self.registry.register(_FeedCollector(feed, webhooks))

    def text(self) -> bytes:
        """All series, in Prometheus' text format."""
        return generate_latest(self.registry)


class FeedFigures(Protocol):
    """What is counted of the feed (slircd.admin.feed.Feed)."""

    followers: int
    behind: int


class _FeedCollector(Collector):
    """Who follows the log, and how webhooks do."""

    def __init__(self, feed: FeedFigures, webhooks: Callable[[], Sequence[Any]]) -> None:
        self._feed = feed
        self._webhooks = webhooks

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "slircd_feed_followers", "Live feeds that are open, webhooks included", value=self._feed.followers
        )
        yield CounterMetricFamily(
            "slircd_feed_log_reads",
            "Pages of the log that were read for followers which were further behind than memory goes",
            value=self._feed.behind,
        )
        posts = CounterMetricFamily("slircd_webhook_requests", "Requests of webhooks", labels=["webhook", "outcome"])
        lag = GaugeMetricFamily(
            "slircd_webhook_lag_events", "How far a webhook is behind the end of the log", labels=["webhook"]
        )
        for hook in self._webhooks():
            posts.add_metric([hook.name, "delivered"], hook.delivered)
            posts.add_metric([hook.name, "failed"], hook.failed)
            lag.add_metric([hook.name], hook.lag)
        yield from (posts, lag)


class _TurnCollector(Collector):
    """What makes everybody wait: long turns of the reactor, and among what makes them long, searches for cycles."""

    def __init__(self, turns: Durations, collector: CycleCollector) -> None:
        self._turns = turns
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        for name, text, found in (
            ("slircd_reactor_turn_seconds", "How long turns of the reactor were", self._turns),
            ("slircd_gc_pause_seconds", "How long searches for cycles stopped everything", self._collector.pauses),
        ):
            family = HistogramMetricFamily(name, text)
            family.add_metric([], found.buckets(), found.total_s)
            yield family
        yield CounterMetricFamily(
            "slircd_gc_full_searches",
            "Searches of all memory for cycles, because it had grown without a visible reason",
            value=self._collector.full,
        )


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
        yield CounterMetricFamily(
            "slircd_clock_held",
            "Decisions whose time was that of the one before, because the clock had been set back",
            value=server.bus.wall.held,
        )
        yield GaugeMetricFamily("slircd_sequence", "Lamport sequence of the last event", value=server.bus.clock.value)


class _TrafficCollector(Collector):
    """Lines in and out, and what is done against those who send too many."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        server, measures = self._server, self._server.measures
        lines = CounterMetricFamily("slircd_lines", "Lines from clients and to clients", labels=["direction"])
        volume = CounterMetricFamily(
            "slircd_line_bytes", "Bytes of lines from clients and to clients", labels=["direction"]
        )
        for direction, (count, size) in measures.traffic(server.sessions).items():
            lines.add_metric([direction], count)
            volume.add_metric([direction], size)
        yield from (lines, volume)
        took = SummaryMetricFamily("slircd_command_seconds", "How long commands took", labels=["command"])
        for name, seconds in measures.command_seconds.items():
            took.add_metric([name], server.command_counts.get(name, 0), seconds)
        yield took
        for series, text, counts in (
            ("slircd_connections_refused", "Connections that were turned away", measures.refused),
            ("slircd_connections_cut", "Connections that were ended by a limit or a timeout", measures.cut),
        ):
            family = CounterMetricFamily(series, text, labels=["reason"])
            for reason, count in counts.items():
                family.add_metric([reason], count)
            yield family
        yield CounterMetricFamily(
            "slircd_flood_delays", "Lines that waited because their client was too fast", value=measures.delayed
        )
        opers = sum(1 for user in server.state.users.values() if user.is_oper)
        yield GaugeMetricFamily("slircd_opers", "IRC operators", value=opers)
        members = sum(len(channel.members) for channel in server.state.channels.values())
        yield GaugeMetricFamily("slircd_memberships", "Members of all channels together", value=members)
        largest = max((len(channel.members) for channel in server.state.channels.values()), default=0)
        yield GaugeMetricFamily("slircd_largest_channel_members", "Members of the largest channel", value=largest)
        listed = GaugeMetricFamily(
            "slircd_channel_members", "Members of the channels that [metrics] lists", labels=["channel"]
        )
        for name in server.config.metrics.channels:
            listed_channel = server.state.channel_by_name(name)
            listed.add_metric([name], 0 if listed_channel is None else len(listed_channel.members))
        yield listed
        registered = sum(1 for channel in server.state.channels.values() if channel.registration is not None)
        yield GaugeMetricFamily("slircd_registered_channels", "Channels that are registered", value=registered)
        logged_in = sum(1 for user in server.state.users.values() if user.account is not None)
        yield GaugeMetricFamily("slircd_users_logged_in", "Users who are logged in to an account", value=logged_in)
        away = sum(1 for user in server.state.users.values() if user.away is not None)
        yield GaugeMetricFamily("slircd_users_away", "Users who are away", value=away)
        yield GaugeMetricFamily(
            "slircd_log_pending_events", "Events that wait for their commit", value=server.bus.pending
        )
        yield GaugeMetricFamily(
            "slircd_send_queue_bytes",
            "Bytes that wait for clients, all together",
            value=sum(session.outbox.size for session in server.sessions),
        )


class _DiskCollector(Collector):
    """What runs out: the disk of the log, and certificates."""

    def __init__(self, server: IRCServer, certificates: Callable[[], Mapping[str, float]]) -> None:
        self._certificates = certificates
        url = make_url(server.config.database.url)
        self._path = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    def collect(self) -> Iterator[Metric]:
        ends = GaugeMetricFamily(
            "slircd_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, in seconds since the epoch",
            labels=["file"],
        )
        for file, seconds in self._certificates().items():
            ends.add_metric([file], seconds)
        yield ends
        # A log in PostgreSQL is on a disk of somebody else's.
        with suppress(OSError):
            if self._path is not None:
                disk = os.statvfs(self._path.parent)
                yield GaugeMetricFamily(
                    "slircd_log_disk_free_bytes",
                    "Free space where the log is",
                    value=disk.f_bavail * disk.f_frsize,
                )
                size = sum(
                    path.stat().st_size for suffix in ("", "-wal") if (path := Path(f"{self._path}{suffix}")).exists()
                )
                yield GaugeMetricFamily("slircd_log_bytes", "Size of the log's files", value=size)


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


class _PluginCollector(Collector):
    """What plugins do; the label is a plugin's name, and operators decide which there are."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        manager = self._server.extensions.manager
        infos = [] if manager is None else manager.infos()
        up = GaugeMetricFamily("slircd_plugin_up", "1 while the plugin runs", labels=["plugin"])
        calls = CounterMetricFamily("slircd_plugin_calls", "Commands, services and timers", labels=["plugin"])
        events = CounterMetricFamily("slircd_plugin_events", "Events that it was given", labels=["plugin"])
        errors = CounterMetricFamily("slircd_plugin_errors", "Handlers that failed", labels=["plugin"])
        faults = CounterMetricFamily("slircd_plugin_faults", "Faults by kind", labels=["plugin", "kind"])
        restarts = CounterMetricFamily("slircd_plugin_restarts", "Restarts after faults", labels=["plugin"])
        denied = CounterMetricFamily("slircd_plugin_denied", "Calls without the capability", labels=["plugin"])
        memory = GaugeMetricFamily("slircd_plugin_lua_bytes", "Memory of Lua", labels=["plugin"])
        latency = HistogramMetricFamily("slircd_plugin_job_seconds", "How long its jobs take", labels=["plugin"])
        for info in infos:
            name = [info["name"]]
            up.add_metric(name, float(info["state"] == "running"))
            calls.add_metric(name, info["calls"])
            events.add_metric(name, info["events"])
            errors.add_metric(name, info["errors"])
            restarts.add_metric(name, info["restarts"])
            denied.add_metric(name, info["denied"])
            memory.add_metric(name, info["lua_bytes"])
            for kind, count in info["faults"].items():
                faults.add_metric([info["name"], kind], count)
            latency.add_metric(name, *manager.latency(info["name"]) if manager is not None else ([], 0.0))
        yield from (up, calls, events, errors, faults, restarts, denied, memory, latency)
