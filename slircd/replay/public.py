"""Events as others may see them: keys of channels (+k) are masked wherever they can stand, and so is what people said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from slircd.events.codec import DecodeError, decode_event
from slircd.events.row import Row
from slircd.state.describe import MASKED, shown_setting, tell


def shown_event(row: Row, *, keys: bool = False, texts: bool = False) -> dict[str, Any]:
    """A row of the log as a document; `keys` and `texts` (of messages) say what is not masked."""
    payload: Any = msgspec.Raw(row.payload.encode())
    mask = _MASKS.get(row.event_type)
    if mask is not None and not keys:
        payload = mask(msgspec.json.decode(row.payload))
    elif row.event_type.startswith("message.") and not texts:
        payload = _without_texts(msgspec.json.decode(row.payload))
    return {**row._asdict(), "payload": payload}


def told_event(row: Row, *, texts: bool = False) -> dict[str, Any]:
    """The same with `text`, what happened in words, for live feeds and webhooks; keys are always masked."""
    document = shown_event(row, texts=texts)
    words: str | None = None
    if not row.event_type.startswith("message."):
        try:
            words = tell(decode_event(row.event_type, row.actor_uid, row.target, row.payload))
        except DecodeError:
            words = None
    return {**document, "text": words}


def _mode_change(payload: dict[str, Any]) -> dict[str, Any]:
    for change in payload.get("changes", ()):
        if change.get("mode") == "k" and change.get("param"):
            change["param"] = MASKED
    return payload


def _chan_set(payload: dict[str, Any]) -> dict[str, Any]:
    for name in ("value", "previous"):
        if payload.get(name):
            payload[name] = shown_setting(str(payload.get("setting")), payload[name])
    return payload


_MASKS: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "channel.mode_change": _mode_change,
    "services.chan_set": _chan_set,
}

_KEPT: Final = ("v", "nick", "msgid", "account")
"""Fields of a message that say nothing of what was said."""


def _without_texts(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name in _KEPT}
