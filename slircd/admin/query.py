"""The parameters of a request, as the types that a route asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar, get_type_hints

import msgspec
from msgspec import Meta

from slircd.admin.errors import BadRequest, HTTPError
from slircd.config.load import describe, key_names, strip_annotated
from slircd.events.clock import parse_moment
from slircd.events.types import EVENT_TYPES

S = TypeVar("S", bound=msgspec.Struct)

MAX_TEXT: Final = 512
"""Characters of a parameter."""

MAX_ID: Final = 2**63 - 1

_NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Id = Annotated[int, Meta(ge=0, le=MAX_ID)]


class Moment(str):
    """A time, as a timestamp of the log; a name for types, its values are plain texts."""

    __slots__ = ()
    allowed = "2025-01-01, 2025-01-01T14:05:00Z, -15m (s, m, h, d, w), or now"


class EventTypes:
    """Types of events: names and families, separated by commas, such as `channel.*,oper.kill`."""

    __slots__ = ("names",)
    allowed = "types of events or families such as channel.*, separated by commas"

    def __init__(self, text: str) -> None:
        """Raises ValueError for what is no type and no family."""
        names: list[str] = []
        for word in text.split(","):
            family = word.removesuffix("*") if word.endswith(".*") else None
            found = [name for name in EVENT_TYPES if name == word or (family is not None and name.startswith(family))]
            if not found:
                raise ValueError(word)
            names += found
        self.names = tuple(dict.fromkeys(names))


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a query string; a field without default must be given."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON document of a request."""


def parse_query(arguments: Mapping[bytes, list[bytes]], kind: type[S] | None, now_s: float) -> S | None:
    """The parameters of a query string: each at most once, all known.  Raises BadRequest."""
    names = {} if kind is None else key_names(kind)
    hints = {} if kind is None else get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for key, given in arguments.items():
        name = key.decode(errors="replace")[:80]
        if name not in names:
            raise BadRequest(name, "an unknown parameter", ", ".join(names) or "none")
        if len(given) != 1:
            raise BadRequest(name, f"{len(given)} times", "once")
        try:
            text = given[0].decode()
        except UnicodeDecodeError:
            raise BadRequest(name, repr(given[0]), "UTF-8") from None
        values[name] = _convert(name, text, hints[names[name]], now_s)
    if kind is None:
        return None
    for field in msgspec.structs.fields(kind):
        if field.required and field.encode_name not in values:
            raise BadRequest(field.encode_name, "nothing", allowed(hints[field.name]))
    return kind(**{names[name]: value for name, value in values.items()})


def _convert(name: str, text: str, hint: Any, now_s: float) -> Any:
    inner = given_type(hint)
    base = strip_annotated(inner)
    wrong = BadRequest(name, text, allowed(hint))
    if "\0" in text or len(text) > MAX_TEXT:
        raise wrong
    try:
        if base is Moment:
            # A + in a query string is a space; nobody writes an offset as %2B by hand.
            return parse_moment(text.replace(" ", "+") if "T" in text else text, now_s)
        if base is EventTypes:
            return EventTypes(text)
        if base is int and _NUMBER.fullmatch(text) is None:
            raise wrong
        return msgspec.convert(text, inner, strict=False)
    except (ValueError, OverflowError):
        raise wrong from None


def given_type(hint: Any) -> Any:
    """The type of a parameter that is given, with its limits: of `X | None`, X."""
    parts = getattr(strip_annotated(hint), "__args__", ())
    kept = [part for part in parts if part is not type(None)]
    return kept[0] if type(None) in parts and len(kept) == 1 else hint


def allowed(hint: Any) -> str:
    """What a parameter may be, in words."""
    inner = given_type(hint)
    words: str | None = getattr(strip_annotated(inner), "allowed", None)
    return words or describe(inner)


def parse_body(data: bytes, kind: type[S], content_type: str) -> S:
    """The JSON document of a request.  Raises HTTPError 400 or 415."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPError(415, "The body must be application/json", headers={"Accept": "application/json"})
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        text, _, at = str(error).partition(" - at `$.")
        raise HTTPError(400, "The body is wrong", parameter=at.rstrip("`") or "body", detail=text) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPError(400, "The body is not JSON", parameter="body", detail=str(error)) from None
