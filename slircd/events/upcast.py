"""Old payloads to today's: each upcaster turns version n of one event type into version n + 1.

They run on reading only; a log is never rewritten for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Payload = dict[str, Any]
Upcaster = Callable[[Payload], Payload]

_UPCASTERS: dict[tuple[str, int], Upcaster] = {}


def upcasts(event_type: str, *, from_version: int) -> Callable[[Upcaster], Upcaster]:
    """Register the decorated function as the step from `from_version` to the next version of `event_type`."""

    def register(function: Upcaster) -> Upcaster:
        key = (event_type, from_version)
        if key in _UPCASTERS:
            raise ValueError(f"two upcasters for {event_type} version {from_version}")
        _UPCASTERS[key] = function
        return function

    return register


def upcast(event_type: str, payload: Payload) -> Payload:
    """The payload in the newest version that upcasters lead to.

    Raises ValueError for a payload without a version.
    """
    version = payload.get("v")
    if not isinstance(version, int):
        raise ValueError(f"{event_type}: payload has no schema version")
    while (step := _UPCASTERS.get((event_type, version))) is not None:
        version += 1
        payload = step(payload) | {"v": version}
    return payload
