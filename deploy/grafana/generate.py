"""The Grafana dashboards as code: `python deploy/grafana/generate.py` writes dashboards/*.json.

Each panel is a title, a unit and its queries; a test runs every query against a real Prometheus and wants data.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, SortOrder, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

SOURCE = DataSourceRef(type_val="prometheus", uid="slircd-prometheus")
FOLDER = Path(__file__).parent / "dashboards"
BY = '{instance=~"$instance"}'


class Query(NamedTuple):
    expr: str
    legend: str


class Panel(NamedTuple):
    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    single: bool = False
    """Whether it shows one number, the newest, rather than a course."""
    span: int = 8


class Board(NamedTuple):
    uid: str
    title: str
    text: str
    rows: dict[str, tuple[Panel, ...]]


def now(title: str, expr: str, unit: str = "short", text: str = "") -> Panel:
    """One number."""
    return Panel(title, text, unit, (Query(expr, ""),), single=True, span=4)


def course(title: str, unit: str, *queries: tuple[str, str], text: str = "", span: int = 8) -> Panel:
    """A course over time."""
    return Panel(title, text, unit, tuple(Query(*query) for query in queries), span=span)


def gauge(name: str, more: str = "") -> str:
    return f'{name}{{instance=~"$instance"{more}}}'


def longer(name: str, bound: str) -> str:
    """How many of a histogram's values a second are above one of its bounds."""
    at_most = rate(f"{name}_bucket", more=f', le="{bound}"')
    return f"{rate(f'{name}_count')} - {at_most}"


def rate(name: str, by: str = "", more: str = "") -> str:
    selected = f'rate({name}{{instance=~"$instance"{more}}}[$__rate_interval])'
    return f"sum by ({by}) ({selected})" if by else f"sum({selected})"


def quantiles(name: str) -> tuple[tuple[str, str], ...]:
    summed = f'sum by (le) (rate({name}_bucket{{instance=~"$instance"}}[$__rate_interval]))'
    return tuple((f"histogram_quantile({number}, {summed})", f"p{round(number * 100)}") for number in (0.5, 0.99))


def events(*types: str) -> tuple[tuple[str, str], ...]:
    return tuple((rate("slircd_events_total", more=f', type="{name}"'), name) for name in types)


OVERVIEW = Board(
    "slircd-overview",
    "IRC Server Overview",
    "Is the server well, and what does it do?",
    {
        "Now": (
            now("Users", f"sum({gauge('slircd_users')})"),
            now("Connections", f"sum({gauge('slircd_connections')})"),
            now("Channels", f"sum({gauge('slircd_channels')})"),
            now("Log can be written", f"1 - max({gauge('slircd_degraded')})", "bool_yes_no"),
            now("State is the log", f"1 - max({gauge('slircd_replay_drift')})", "bool_yes_no"),
            now(
                "First certificate ends in",
                f"min({gauge('slircd_certificate_expiry_timestamp_seconds')}) - time()",
                "s",
            ),
        ),
        "Work": (
            course(
                "Lines", "ops", (rate("slircd_lines_total", "direction"), "{{direction}}"), text="From and to clients"
            ),
            course("Commands", "ops", (f"topk(10, {rate('slircd_commands_total', 'command')})", "{{command}}")),
            course(
                "Time of commands",
                "s",
                (
                    f"topk(10, {rate('slircd_command_seconds_sum', 'command')}"
                    f" / ({rate('slircd_command_seconds_count', 'command')} > 0))",
                    "{{command}}",
                ),
                text="Mean of each command, waiting for hashes and databases included",
            ),
            course("Bytes", "Bps", (rate("slircd_line_bytes_total", "direction"), "{{direction}}")),
            course("Events", "ops", (f"topk(10, {rate('slircd_events_total', 'type')})", "{{type}}")),
            course("Reactor lag", "s", *quantiles("slircd_reactor_lag_seconds"), text="How late what is due is called"),
            course(
                "Long turns",
                "ops",
                (longer("slircd_reactor_turn_seconds", "0.02"), "turns"),
                (longer("slircd_gc_pause_seconds", "0.02"), "of them searches for cycles"),
                text="Turns of the reactor that took more than 20 ms",
            ),
        ),
        "The event log": (
            course("Commit", "s", *quantiles("slircd_commit_seconds")),
            course("Output gate", "s", *quantiles("slircd_gate_wait_seconds"), text="What people wait for the log"),
            course("Events of a commit", "short", *quantiles("slircd_commit_events")),
            course("Waiting for a commit", "short", (f"sum({gauge('slircd_log_pending_events')})", "events")),
            course(
                "Disk",
                "bytes",
                (f"sum({gauge('slircd_log_bytes')})", "log"),
                (f"min({gauge('slircd_log_disk_free_bytes')})", "free"),
            ),
            course(
                "Checkpoints",
                "short",
                (f"sum({gauge('slircd_checkpoints_total')})", "written"),
                (f"sum({gauge('slircd_housekeeping_failures_total')})", "failed"),
            ),
        ),
        "Beside it": (
            course("Plugins: calls", "ops", (rate("slircd_plugin_calls_total", "plugin"), "{{plugin}}")),
            course("Plugins: events", "ops", (rate("slircd_plugin_events_total", "plugin"), "{{plugin}}")),
            course(
                "Plugins: time of a job",
                "s",
                *quantiles("slircd_plugin_job_seconds"),
            ),
            course("Plugins: memory of Lua", "bytes", (gauge("slircd_plugin_lua_bytes"), "{{plugin}}")),
            course("Admin API", "ops", (rate("slircd_admin_requests_total", "status"), "{{status}}")),
            course("Followers of the live feed", "short", (f"sum({gauge('slircd_feed_followers')})", "followers")),
        ),
        "The process": (
            course("CPU", "percentunit", (rate("process_cpu_seconds_total"), "of one core")),
            course("Memory", "bytes", (f"sum({gauge('process_resident_memory_bytes')})", "resident")),
            course(
                "Descriptors",
                "short",
                (f"sum({gauge('process_open_fds')})", "open"),
                (f"sum({gauge('process_max_fds')})", "allowed"),
            ),
        ),
    },
)

CHANNELS = Board(
    "slircd-channels",
    "Channel Activity",
    "What happens on channels; none is named unless [metrics] channels lists it.",
    {
        "Now": (
            now("Channels", f"sum({gauge('slircd_channels')})"),
            now("Registered", f"sum({gauge('slircd_registered_channels')})"),
            now("Memberships", f"sum({gauge('slircd_memberships')})"),
            now("Largest channel", f"max({gauge('slircd_largest_channel_members')})"),
            now(
                "Members of a channel, mean",
                f"sum({gauge('slircd_memberships')}) / clamp_min(sum({gauge('slircd_channels')}), 1)",
            ),
            now(
                "Memberships of a user, mean",
                f"sum({gauge('slircd_memberships')}) / clamp_min(sum({gauge('slircd_users')}), 1)",
            ),
        ),
        "Coming and going": (
            course("Joins and leaves", "ops", *events("channel.join", "channel.part", "channel.kick")),
            course("Channels come and go", "ops", *events("channel.create", "channel.destroy")),
            course("Invitations", "ops", *events("channel.invite")),
        ),
        "Talk": (
            course(
                "Messages",
                "ops",
                (rate("slircd_commands_total", "command", ', command=~"PRIVMSG|NOTICE|TAGMSG"'), "{{command}}"),
            ),
            course(
                "Deliveries of a line",
                "short",
                (
                    f"{rate('slircd_lines_total', more=', direction=' + chr(34) + 'out' + chr(34))}"
                    f" / clamp_min({rate('slircd_lines_total', more=', direction=' + chr(34) + 'in' + chr(34))}, 0.001)",
                    "lines out for one in",
                ),
            ),
            course("Members of listed channels", "short", (gauge("slircd_channel_members"), "{{channel}}")),
        ),
        "Order": (
            course("Modes and topics", "ops", *events("channel.mode_change", "channel.topic_change")),
            course("Bans and other lists", "ops", *events("channel.ban_add", "channel.ban_remove")),
            course("Registration and access", "ops", *events("services.chan_register", "services.chan_flags")),
        ),
    },
)

SESSIONS = Board(
    "slircd-sessions",
    "User Sessions",
    "Who comes, who stays, who is turned away.",
    {
        "Now": (
            now("Users", f"sum({gauge('slircd_users')})"),
            now("Logged in", f"sum({gauge('slircd_users_logged_in')})"),
            now("Away", f"sum({gauge('slircd_users_away')})"),
            now("Operators", f"sum({gauge('slircd_opers')})"),
            now("Not registered yet", f"sum({gauge('slircd_unregistered_connections')})"),
            now("Accounts", f"sum({gauge('slircd_accounts')})"),
        ),
        "Connections": (
            course(
                "Connections",
                "short",
                (f"sum by (listener, tls) ({gauge('slircd_connections')})", "{{listener}} TLS {{tls}}"),
            ),
            course("Connections made", "ops", (rate("slircd_connections_made_total"), "made")),
            course("Turned away", "ops", (rate("slircd_connections_refused_total", "reason"), "{{reason}}")),
            course("Cut", "ops", (rate("slircd_connections_cut_total", "reason"), "{{reason}}")),
            course("Waiting to be sent", "bytes", (f"sum({gauge('slircd_send_queue_bytes')})", "all clients")),
            course("Delayed by the flood bucket", "ops", (rate("slircd_flood_delays_total"), "lines")),
        ),
        "People": (
            course("Users come and go", "ops", *events("user.connect", "user.disconnect")),
            course("Nicks, away, modes", "ops", *events("user.nick_change", "user.away", "user.mode_change")),
            course("Log-ins", "ops", *events("services.nick_identify", "services.nick_register")),
        ),
        "Staff": (
            course("Operators", "ops", *events("oper.login", "oper.kill")),
            course("Network bans", "ops", *events("oper.kline", "oper.unkline")),
            course(
                "Users and accounts",
                "short",
                (f"sum({gauge('slircd_users')})", "users"),
                (f"sum({gauge('slircd_users_logged_in')})", "logged in"),
            ),
        ),
    },
)

BOARDS = (OVERVIEW, CHANNELS, SESSIONS)


def build(board: Board) -> dashboard.Dashboard:
    """The dashboard in Grafana's model."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags(["slircd"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(1)
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Server")
            .datasource(SOURCE)
            .query("label_values(slircd_users, instance)")
            .refresh(2)
            .include_all(True)
            .multi(True)
        )
    )
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title))
        for panel in panels:
            made = made.with_panel(_panel(panel))
    return made


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made = (
        stat.Panel().reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        if panel.single
        else timeseries.Panel()
        .legend(
            VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .min(0)
    )
    made = made.title(panel.title).unit(panel.unit).datasource(SOURCE).span(panel.span).height(4 if panel.single else 8)
    if panel.text:
        made = made.description(panel.text)
    for letter, query in zip("ABCDEF", panel.queries, strict=False):
        made = made.with_target(prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter))
    return made


def pages() -> dict[str, str]:
    """The files and what stands in them."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{board.uid}.json": encoder.encode(build(board).build()) + "\n" for board in BOARDS}


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
