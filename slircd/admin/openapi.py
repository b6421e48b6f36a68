"""The OpenAPI document, made of the table of routes: what is checked, what is answered and what is documented are one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any, Final, get_type_hints

import msgspec

from slircd.about import version
from slircd.admin.answers import JSON, PROBLEM, Encoded
from slircd.admin.call import Call
from slircd.admin.query import EventTypes, Moment, given_type
from slircd.admin.routes import ROUTES, Route, route
from slircd.config.load import description, key_names

KEPT_S: Final = 300

TEMPLATE: Final = "#/components/schemas/{name}"

_MOMENT: Final = {
    "type": "string",
    "pattern": r"^(-[0-9]{1,4}[smhdw]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)?)$",
    "examples": ["2025-01-01", "2025-01-01T14:05:00Z", "-15m"],
}
"""Narrower than what is taken, so that whoever generates values from it gets moments that are on every calendar."""

_EVENT_TYPES: Final = {"type": "string", "examples": ["channel.*,oper.kill"]}

TAGS: Final = {
    "health": "For machines that watch; without log-in",
    "session": "Log in and out",
    "log": "The events",
    "past": "Any moment",
    "now": "The network as it is, in pages",
    "time machine": "What the page at / shows: figures, moments piece by piece, stories, the search",
    "live": "What happens, as it happens",
    "actions": "What operators do; role admin",
}


class Problem(msgspec.Struct, kw_only=True):
    """Why a request is refused (RFC 9457)."""

    type: str
    status: int
    title: str
    request_id: str
    parameter: str | msgspec.UnsetType = msgspec.UNSET
    """Which parameter, or field of the body, is wrong."""
    given: str | msgspec.UnsetType = msgspec.UNSET
    allowed: str | msgspec.UnsetType = msgspec.UNSET
    detail: str | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType = msgspec.UNSET
    """The numeric, or the code of the standard reply, that a client of IRC would have got."""
    context: list[str] | msgspec.UnsetType = msgspec.UNSET


@route("GET", "/openapi.json", tag="health", role=None, returns=dict[str, Any])
async def openapi(call: Call) -> Encoded:
    """This document."""
    call.headers["cache-control"] = f"public, max-age={KEPT_S}"
    return Encoded(_encoded())


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document()) + b"\n"


def described() -> list[Route]:
    """The routes that belong into the document, by path: all but pages and their assets."""
    from slircd.admin import groups as groups  # this module is one of them

    return sorted((each for each in ROUTES.values() if each.tag in TAGS), key=lambda each: (each.path, each.method))


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    routes = described()
    types = [each.returns for each in routes if _has_schema(each.returns)]
    types += [each.body for each in routes if each.body is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem], schema_hook=_hook, ref_template=TEMPLATE)
    by_type = dict(zip(map(_key, [*types, Problem]), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in routes:
        path = re.sub(r"<(?:path:)?(\w+)>", r"{\1}", each.path)
        paths.setdefault(path, {})[each.method.lower()] = _operation(each, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "slircd",
            "version": version(),
            "description": "The admin API: the log, any moment of it, the network now, and what operators do.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _has_schema(kind: Any) -> bool:
    return kind is not None and kind not in (Encoded, str, type(None))


def _key(kind: Any) -> str:
    return repr(kind)


def _hook(kind: type) -> dict[str, Any]:
    if kind is Moment:
        return _MOMENT
    if kind is EventTypes:
        return _EVENT_TYPES
    raise NotImplementedError(kind)


def _operation(each: Route, by_type: dict[str, dict[str, Any]]) -> dict[str, Any]:
    first, _, rest = each.about.partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{each.method.lower()}{each.path}").strip("_"),
        "summary": " ".join(first.split()).rstrip("."),
        "tags": [each.tag],
        "parameters": [*_path_parameters(each), *_query_parameters(each)],
        "responses": _responses(each, by_type),
    }
    if rest:
        operation["description"] = " ".join(rest.split())
    if each.role is not None or each.tag in ("session", "live"):
        operation["security"] = [{"basic": []}, {"bearer": []}]
    if each.role is not None:
        operation["x-role"] = each.role
    if each.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": by_type[_key(each.body)]}}}
    return operation


def _path_parameters(each: Route) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 200}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in each.parts]


def _query_parameters(each: Route) -> Iterable[dict[str, Any]]:
    if each.query is None:
        return
    hints = get_type_hints(each.query, include_extras=True)
    required = {field.encode_name for field in msgspec.structs.fields(each.query) if field.required}
    for name, attribute in key_names(each.query).items():
        hint = hints[attribute]
        schema = msgspec.json.schema(given_type(hint), schema_hook=_hook)
        schema.pop("description", None)
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": description(hint),
            "schema": schema,
        }


def _responses(each: Route, by_type: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {str(each.status): {"description": HTTPStatus(each.status).phrase}}
    if each.kinds and each.status not in (101, 204):
        schema = by_type[_key(each.returns)] if _has_schema(each.returns) else {"type": "string"}
        found[str(each.status)]["content"] = {
            kind: {"schema": schema if kind == JSON else {"type": "string"}} for kind in each.kinds
        }
    if each.method == "GET" and each.status == 200:
        found["304"] = {"description": "What the client has is still right (If-None-Match)"}
    statuses = {400, 414, 431, *each.problems}
    if each.role is not None:
        statuses |= {401, 429}
    if each.role == "admin" or (each.query is not None and "keys" in key_names(each.query)):
        statuses.add(403)
    if each.tag in ("log", "past"):
        statuses.add(503)  # too many questions at once
    if each.body is not None or each.method == "POST":
        statuses |= {413, 415}
    for status in sorted(statuses):
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM: {"schema": by_type[_key(Problem)]}},
        }
    return found
