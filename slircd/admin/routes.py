"""The table of routes: what the Klein application and the OpenAPI document are made of.

A route is a function with a decorator.  Its annotations say the rest:

    @route("GET", "/admin/things/<name>", tag="now")
    async def thing(call: Call, name: str, query: ThingQuery) -> ThingView:
        '''One thing, now.'''

`query` is a msgspec struct with a field for each parameter of the query string, `body` one for the JSON document of a
POST; other arguments are parts of the path.  Both are checked before the function runs.  What it returns is sent as
JSON, or is one of the answers of `slircd.admin.answers`.  `slircd.admin.groups` imports the modules with routes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_type_hints

import msgspec

Handler = Callable[..., Coroutine[Any, Any, Any]]
H = TypeVar("H", bound=Handler)

Role = Literal["read", "admin"]


class Route(NamedTuple):
    """One row of the table.  `role` is what the caller needs; None: no log-in."""

    method: str
    path: str
    handler: Handler
    role: Role | None
    tag: str
    status: int
    query: type[msgspec.Struct] | None
    body: type[msgspec.Struct] | None
    returns: Any
    kinds: tuple[str, ...]
    problems: tuple[int, ...]

    @property
    def endpoint(self) -> str:
        """Its name for Klein and for metrics: method and path."""
        return f"{self.method} {self.path}"

    @property
    def parts(self) -> list[str]:
        """The names of the variable parts of its path."""
        return re.findall(r"<(?:path:)?(\w+)>", self.path)

    @property
    def about(self) -> str:
        """What it does, for people."""
        return inspect.getdoc(self.handler) or ""


ROUTES: Final[dict[tuple[str, str], Route]] = {}


def route(
    method: str,
    path: str,
    *,
    tag: str,
    role: Role | None = "read",
    status: int = 200,
    returns: Any = None,
    kinds: tuple[str, ...] = ("application/json",),
    problems: tuple[int, ...] = (),
) -> Callable[[H], H]:
    """Add the decorated function `(call, [query], [body], *parts of the path)` to the table.

    `status` is that of success, `kinds` are the media types that it answers with, `problems` the statuses of refusals
    beyond those that every route has.  `returns` is the type of the answer where that is not the annotation.
    """

    def register(handler: H) -> H:
        if (method, path) in ROUTES:
            raise ValueError(f"two routes for {method} {path}")
        hints = get_type_hints(handler, include_extras=True)
        ROUTES[method, path] = Route(
            method,
            path,
            handler,
            role,
            tag,
            status,
            hints.get("query"),
            hints.get("body"),
            hints.get("return") if returns is None else returns,
            kinds,
            problems,
        )
        return handler

    return register
