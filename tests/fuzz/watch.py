"""The log of the process, watched: no input may make the server log a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.logger import LogLevel, formatEvent, globalLogBeginner, globalLogPublisher


class Failures:
    """What the log said that is a bug: tracebacks, and whatever is critical."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        failure = event.get("log_failure")
        if failure is not None or event.get("log_level") is LogLevel.critical or event.get("isError"):
            trace = failure.getTraceback() if failure is not None else ""
            self.found.append(f"{formatEvent(dict(event))}\n{trace}".strip())

    def check(self) -> None:
        """Fail if there was one."""
        found, self.found = self.found, []
        assert not found, "the server logged a failure:\n" + "\n".join(found)


def quietly() -> None:
    """Write nothing of the log to the terminal: a failure is told by whoever watches for it."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


@contextmanager
def no_failures() -> Iterator[Failures]:
    """Fail if a failure was logged in this block."""
    failures = Failures()
    globalLogPublisher.addObserver(failures)
    try:
        yield failures
    finally:
        globalLogPublisher.removeObserver(failures)
    failures.check()
