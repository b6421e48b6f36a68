"""Writing configuration: the commented example, the effective values, and the reference for the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from slircd.config.load import describe, description, key_names, quote, quote_key, strip_annotated
from slircd.config.sections import BUILT_IN_CLASSES, DEFAULT_LISTEN, Config, Keep, Listen, Oper, OperClass, Section
from slircd.rules.privileges import PRIVILEGES

_HEAD = """\
# slircd configuration.  Every key is shown with its default; a key that is left out has it, too.
# `slircd config check FILE` says whether a file is right, `slircd config show FILE` what is in force.
"""


def example() -> str:
    """A complete configuration file in which every key has its default."""
    lines = [_HEAD]
    plain = msgspec.to_builtins(Config())
    lines.extend(_keys(Config, plain))
    for name, hint in get_type_hints(Config, include_extras=True).items():
        inner = strip_annotated(hint)
        if isinstance(inner, type) and issubclass(inner, Section):
            lines.extend(_table(inner, plain[name], name))
    for listen in DEFAULT_LISTEN:
        lines.extend(["", *_doc(Listen), "[[listen]]", *_keys(Listen, msgspec.to_builtins(listen))])
    lines.extend(_samples())
    return "\n".join(lines) + "\n"


def _table(section: type[Struct], plain: Mapping[str, Any], at: str) -> Iterator[str]:
    yield ""
    yield from _doc(section)
    yield f"[{at}]"
    yield from _keys(section, plain)
    for key, hint in _hints(section):
        inner = strip_annotated(hint)
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _table(inner, plain[key], f"{at}.{key}")


def _doc(section: type[Struct]) -> list[str]:
    return [f"# {line.strip()}".rstrip() for line in (section.__doc__ or "").strip().splitlines()]


def _keys(section: type[Struct], plain: Mapping[str, Any]) -> Iterator[str]:
    for key, hint in _hints(section):
        inner = strip_annotated(hint)
        if _holds_tables(inner):
            continue
        yield f"# {description(hint)}: {describe(hint)}"
        value = plain.get(key)
        yield f"#{key} =" if value is None else f"{key} = {to_toml(value)}"


def _hints(section: type[Struct]) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(section, include_extras=True)
    return ((key, hints[attribute]) for key, attribute in key_names(section).items())


def _holds_tables(inner: Any) -> bool:
    if get_origin(inner) in (list, dict):
        inner = get_args(inner)[-1]
    return isinstance(inner, type) and issubclass(inner, Section)


def _samples() -> Iterator[str]:
    yield ""
    yield "# Rules for events that change no state, by type or family; the most specific one counts."
    yield '#[retention.families."oper.login"]'
    yield from (
        line if line.startswith("#") else f"#{line}" for line in _keys(Keep, {"keep_days": 365, "keep_events": 0})
    )
    yield ""
    yield "# Operators.  The operator `admin` (class netadmin) is there unless you define one of that name; its"
    yield "# password is made at the first start.  Built-in classes: " + ", ".join(BUILT_IN_CLASSES) + "."
    yield "#[opers.ann]"
    yield from (
        line if line.startswith("#") else f"#{line}" for line in _keys(Oper, {"class": "oper", "masks": ["*@*"]})
    )
    yield ""
    yield "# Operator classes.  Privileges:"
    yield from (f"#   {name}: {text}" for name, text in PRIVILEGES.items())
    yield "#[oper_classes.moderator]"
    yield from (
        f"#{line}" for line in _keys(OperClass, {"privileges": ["kill"], "inherits": ["helper"]}) if line[0] != "#"
    )


def to_toml(value: object) -> str:
    """A plain value as TOML: as JSON writes it, but for characters that TOML wants escaped, too."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return f"[{','.join(map(to_toml, value))}]"
    return msgspec.json.encode(value).decode()


def show(plain: Mapping[str, Any]) -> str:
    """Plain sections as TOML."""
    lines: list[str] = []
    _show_table(plain, "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _show_table(table: Mapping[str, Any], at: str, lines: list[str]) -> None:
    def tables(value: object) -> bool:
        return isinstance(value, list) and bool(value) and isinstance(value[0], dict)

    lines.extend(
        f"{quote_key(key)} = {to_toml(value)}"
        for key, value in table.items()
        if value is not None and not isinstance(value, dict) and not tables(value)
    )
    for key, value in table.items():
        dotted = f"{at}.{quote_key(key)}" if at else quote_key(key)
        if isinstance(value, dict):
            if value or at:
                lines.extend(["", f"[{dotted}]"])
            _show_table(value, dotted, lines)
        elif tables(value):
            for item in value:
                lines.extend(["", f"[[{dotted}]]"])
                _show_table(item, dotted, lines)
