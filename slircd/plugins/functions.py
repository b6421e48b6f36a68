"""The table of the API: each method of PluginApi that plugins may call, with its capability, types and words.

Calls from Lua are checked against it, the reference in docs/plugins.md and the editor's stub file are made from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from slircd.plugins.interface import PluginError

F = TypeVar("F", bound=Callable[..., Any])


class Lua(NamedTuple):
    """How a parameter or result looks to Lua: its type for the editor, and whether any bytes are allowed in it."""

    type: str
    about: str = ""
    raw: bool = False


class Parameter(NamedTuple):
    """One parameter of a function."""

    name: str
    python: Any
    lua: Lua
    optional: bool


class Function(NamedTuple):
    """One row of the table."""

    name: str
    capability: str | None
    parameters: tuple[Parameter, ...]
    result: Lua | None
    about: str


FUNCTIONS: Final[dict[str, Function]] = {}

Handler = Callable[..., Any]

DEFAULTS: Final[dict[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "table",
    object: "any",
}


def function(capability: str | None = None) -> Callable[[F], F]:
    """Let plugins call the decorated method; its docstring and annotations are the documentation."""

    def register(method: F) -> F:
        hints = get_type_hints(method, include_extras=True, localns={"Any": Any})
        parameters: list[Parameter] = []
        for name, parameter in list(inspect.signature(method).parameters.items())[1:]:
            python, lua = _split(hints[name])
            parameters.append(Parameter(name, python, lua, parameter.default is not parameter.empty))
        result = hints.get("return")
        shown = None if result in (None, type(None)) else _split(result)[1]
        about = inspect.cleandoc(method.__doc__ or "")
        FUNCTIONS[method.__name__] = Function(method.__name__, capability, tuple(parameters), shown, about)
        return method

    return register


def _split(hint: Any) -> tuple[Any, Lua]:
    lua = None
    if get_origin(hint) is Annotated:
        lua = next((item for item in get_args(hint)[1:] if isinstance(item, Lua)), None)
        hint = get_args(hint)[0]
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if type(None) in get_args(hint) else [hint]
    python = get_origin(kinds[0]) or kinds[0]
    return python, lua or Lua(DEFAULTS.get(python, "any"))


def check(entry: Function, arguments: Sequence[Any]) -> list[Any]:
    """The arguments of a call, for the method.  Raises PluginError with what is wrong with them."""
    given = list(arguments)
    while given and given[-1] is None:
        given.pop()
    if len(given) > len(entry.parameters):
        raise PluginError(f"{entry.name}: {len(given)} arguments, at most {len(entry.parameters)} are taken")
    checked: list[Any] = []
    for index, parameter in enumerate(entry.parameters):
        value = given[index] if index < len(given) else None
        if value is None and parameter.optional:
            if index >= len(given):
                break
            checked.append(None)
            continue
        checked.append(_value(entry, index, parameter, value))
    return checked


def _value(entry: Function, index: int, parameter: Parameter, value: Any) -> Any:
    wanted = parameter.python
    where = f"{entry.name}: argument {index + 1} ({parameter.name})"
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    # An empty table of Lua is a list or a map.
    if wanted is dict and value == []:
        value = {}
    if wanted is object:
        fits = not callable(value)
    elif wanted is Handler or wanted is Callable or parameter.lua.type.startswith("fun"):
        fits = callable(value)
    else:
        fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    if not fits:
        raise PluginError(f"{where} must be a {parameter.lua.type.split('(')[0]}, not {_kind(value)}")
    if isinstance(value, str) and not parameter.lua.raw and any(character in value for character in "\r\n\0"):
        raise PluginError(f"{where} must be one line: it holds CR, LF or NUL")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "nil"
    if callable(value):
        return "function"
    for kind, name in ((bool, "boolean"), (str, "string"), ((int, float), "number"), ((dict, list), "table")):
        if isinstance(value, kind):
            return name
    return type(value).__name__
