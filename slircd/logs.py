"""The log of the process, on standard output: lines for people, or one JSON object a line for collectors.

twistd makes its observer before the service starts, so the choice is made while its command line is read; with
twistd's own `--logfile`, `--syslog` or `--logger` that choice stands.
"""

from __future__ import annotations

import sys
from typing import Any, Final, TextIO

import msgspec
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    textFileLogObserver,
)
from zope.interface import implementer

from slircd.config.sections import Log
from slircd.events.clock import format_timestamp

LEVELS: Final = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}


@implementer(ILogObserver)
class JSONLines:
    """Writes each event as one JSON object: `time`, `level`, `logger`, `text`, the event's own fields, `traceback`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: dict[str, Any]) -> None:
        """Write `event`."""
        level = event.get("log_level")
        record: dict[str, Any] = {
            "time": format_timestamp(event.get("log_time", 0.0)),
            "level": level.name if level is not None else "info",
            "logger": event.get("log_namespace", ""),
            "text": formatEvent(event),
        }
        failure = event.get("log_failure")
        if failure is not None:
            record["traceback"] = failure.getTraceback()
        for name, value in event.items():
            # What is no plain value is in the text already, and its repr would be noise to a collector.
            if isinstance(value, str | int | float) and not name.startswith(("log_", "isError")):
                record.setdefault(name, value)
        self._out.write(msgspec.json.encode(record).decode("utf-8", "replace") + "\n")
        self._out.flush()


_chosen = Log()


def choose(config: Log) -> str:
    """Have `observer` make what `config` asks for; its name, which is what twistd's `--logger` takes."""
    global _chosen  # twistd knows its observer by a name only, and a process has one log
    _chosen = config
    return f"{__name__}.{observer.__name__}"


def observer() -> ILogObserver:
    """The observer that was chosen."""
    out: ILogObserver = JSONLines(sys.stdout) if _chosen.format == "json" else textFileLogObserver(sys.stdout)
    return FilteringLogObserver(out, [LogLevelFilterPredicate(LEVELS[_chosen.level])])
