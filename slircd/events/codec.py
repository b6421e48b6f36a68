"""Events to payloads and back.

The payload is the event's JSON without its actor and target, which are columns of their own; its first key is the
schema version `v`.  A payload of an older version is upcast on reading, so callers only ever see today's classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from slircd.events.types import EVENT_TYPES, Event
from slircd.events.upcast import upcast

MAX_PAYLOAD: Final = 65_536
"""Bytes; far above what any command can cause, so only a bug or an attack meets it."""

MAX_COLUMN: Final = 1_000
"""Bytes of actor or target: they are indexed, and PostgreSQL takes no more than some 2,700 bytes into an index."""

_SURELY_SHORT: Final = MAX_COLUMN // 4
"""Characters; UTF-8 makes at most four bytes of each."""

_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace
_set = msgspec.structs.force_setattr

DECODERS: Final[dict[str, Callable[[str], Event]]] = {
    name: msgspec.json.Decoder(cls).decode for name, cls in EVENT_TYPES.items()
}
"""Event type to what makes an event of a payload of today's version; actor and target are still missing then."""


class EncodeError(ValueError):
    """The event cannot be stored: NUL, lone surrogate, too large."""


class DecodeError(ValueError):
    """The row is no event that this version of slircd can read."""


def encode_payload(event: Event) -> str:
    """The JSON text that goes into the payload column.

    Raises EncodeError if a database could not store it or would give back something else.
    """
    try:
        payload = _encode(_replace(event, actor_uid=None, target=None))
    except (UnicodeEncodeError, msgspec.MsgspecError, OverflowError) as error:
        raise EncodeError(f"{event.event_type}: {error}") from None
    if len(payload) > MAX_PAYLOAD:
        raise EncodeError(f"{event.event_type}: payload of {len(payload)} bytes, at most {MAX_PAYLOAD} are allowed")
    text = payload.decode()
    if "\\u0000" in text and "\\u0000" in text.replace("\\\\", ""):
        raise EncodeError(f"{event.event_type}: contains NUL")
    for column in (event.actor_uid, event.target):
        # What is printable holds neither NUL nor a surrogate, and that is quickly asked.
        if column is not None and not (len(column) <= _SURELY_SHORT and column.isprintable()):
            _check_column(event, column)
    return text


def _check_column(event: Event, column: str) -> None:
    try:
        size = len(column.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0 or "\0" in column:
        raise EncodeError(f"{event.event_type}: actor or target contains NUL or a lone surrogate")
    if size > MAX_COLUMN:
        raise EncodeError(f"{event.event_type}: actor or target of {size} bytes, at most {MAX_COLUMN} are allowed")


def decode_event(event_type: str, actor_uid: str | None, target: str | None, payload: str) -> Event:
    """The event of a row of the log.  Raises DecodeError if type, version or a field is not known here."""
    decode = DECODERS.get(event_type)
    if decode is None:
        raise DecodeError(f"unknown event type {event_type!r}: was the log written by a newer slircd?")
    try:
        event = decode(payload)
    except msgspec.MsgspecError as error:
        event = _decode_old(event_type, payload, str(error))
    # The struct was made a moment ago and nobody else has seen it, so completing it in place is safe, and a third
    # of the cost of a copy.
    _set(event, "actor_uid", actor_uid)
    _set(event, "target", target)
    return event


def _decode_old(event_type: str, payload: str, why: str) -> Event:
    try:
        fields: dict[str, Any] = json.loads(payload)
        return msgspec.convert(upcast(event_type, fields), EVENT_TYPES[event_type])
    except (ValueError, LookupError, TypeError, AttributeError):
        raise DecodeError(f"{event_type}: {why}") from None
