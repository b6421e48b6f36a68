"""Events as others may see them: keys of channels (+k) are masked wherever they can stand."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from slircd.events.row import Row
from slircd.state.describe import MASKED, mask_lock


def shown_event(row: Row, show_keys: bool) -> dict[str, Any]:
    """A row of the log as a document."""
    payload: Any = msgspec.Raw(row.payload.encode())
    if not show_keys and row.event_type in _MASKS:
        payload = _MASKS[row.event_type](msgspec.json.decode(row.payload))
    return {**row._asdict(), "payload": payload}


def _mode_change(payload: dict[str, Any]) -> dict[str, Any]:
    for change in payload.get("changes", ()):
        if change.get("mode") == "k" and change.get("param"):
            change["param"] = MASKED
    return payload


def _chan_set(payload: dict[str, Any]) -> dict[str, Any]:
    if payload.get("setting") == "mlock":
        for name in ("value", "previous"):
            if payload.get(name):
                payload[name] = mask_lock(payload[name])
    return payload


_MASKS: Final = {"channel.mode_change": _mode_change, "services.chan_set": _chan_set}
