"""Where the time of a replay goes: its phases, and the events by type."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from slircd.events.codec import DecodeError, decode_event
from slircd.replay.reconstructor import Replayed
from slircd.state.apply import ApplyError, Stamp, apply
from slircd.state.feed import Damaged, narrowed
from slircd.state.model import ServerState


class Profile:
    """Collects times; `lines` says them.  Measuring each event slows the replay down by about a third."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._phases: dict[str, float] = {}
        self.types: dict[str, list[float]] = {}
        """Event type to how many were applied, and the seconds that they took."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens in this context."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._phases[name] = self._phases.get(name, 0.0) + time.perf_counter() - began

    def into(self, state: ServerState) -> Replayed:
        """What to replay into."""
        return _Measured(state, self)

    def lines(self) -> Iterator[str]:
        """The phases, then the types that took most time."""
        whole = time.perf_counter() - self._began
        for name, seconds in [*self._phases.items(), ("everything", whole)]:
            yield f"{name:24} {seconds * 1000:12,.1f} ms"
        count = sum(int(each[0]) for each in self.types.values())
        seconds = self._phases.get("replay", 0.0)
        rate = f", {count / seconds:,.0f}/s" if seconds else ""
        yield f"{count:,} events replayed{rate}"
        if self.types:
            yield f"{'event type':32} {'events':>12} {'ms':>12} {'µs each':>10}"
        for name, (number, spent) in sorted(self.types.items(), key=lambda item: -item[1][1]):
            yield f"{name:32} {int(number):12,} {spent * 1000:12,.1f} {spent / number * 1e6:10.1f}"


class _Measured(Replayed):
    """A Replayed that looks at the clock around each event."""

    def __init__(self, state: ServerState, profile: Profile) -> None:
        super().__init__(state)
        self._types = profile.types

    def feed(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Apply rows of the log in order, one by one."""
        clock, types, state = time.perf_counter, self._types, self.state
        event_id = 0
        for event_id, timestamp, sequence, event_type, target, payload in narrowed(rows):
            began = clock()
            try:
                event = decode_event(event_type, None, target, payload)
                apply(state, event, Stamp(event_id, sequence, timestamp, ""))
            except (DecodeError, ApplyError) as error:
                raise Damaged(event_id, str(error)) from None
            entry = types.setdefault(event_type, [0, 0.0])
            entry[0] += 1
            entry[1] += clock() - began
        return event_id
