"""Targets: what operators write: the configuration, and that of a plugin."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from slircd.commands.extensions import ManagerError
from slircd.commands.features import isupport_lines
from slircd.config.example import example, show
from slircd.config.load import ConfigError, load, parse, strip_annotated, to_plain
from slircd.config.sections import Config
from slircd.network.listeners import plan_listeners
from slircd.plugins.manifest import read_manifest
from slircd.rehash import merge
from slircd.wire.message import MAX_BODY
from tests.fuzz import odd
from tests.fuzz.choices import Choices
from tests.fuzz.registry import target
from tests.harness import BASE, World


@cache
def folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="slircd-fuzz-")


@target(
    max_bytes=3000,
    seeds=[
        b"",
        b'[server]\nname = "irc.example.org"\nencoding = "bytes"\n',
        b'[[listen]]\nport = 6667\n[[listen]]\nendpoint = "ssl:6697:privateKey=k.pem"\n',
        b'[opers.root]\nclass = "x"\ncertfp = ["ab"]\n[oper_classes.x]\ninherits = ["y"]\n',
        b'[retention.families]\n"message.*" = "90d"\n',
        example().encode()[:2900],
        b"a = [[[[[1]]]]]\nb = {c = {d = 1}}\nt = 2025-01-01T00:00:00Z\nn = nan\n",
    ],
)
def fuzz_toml(data: bytes) -> None:
    """Any file is a configuration, or a ConfigError that names the file, and key, value and what is allowed."""
    path = Path(folder().name) / "slircd.toml"
    path.write_bytes(data)
    try:
        config = load(path)
    except ConfigError as error:
        check_error(error, str(path))
    else:
        check_config(config, str(path))
    path.rename(path.with_name("config.toml"))
    try:
        read_manifest(path.parent)
    except ManagerError as error:
        assert "config.toml" in str(error)


def check_error(error: ConfigError, file: str) -> None:
    assert error.problems
    for line in str(error).split("\n"):
        assert line.startswith(file), str(error)
    for problem in error.problems:
        assert problem.found and problem.allowed
        assert len(problem.found) <= 200, problem


def plausible(choices: Choices, hint: Any, depth: int = 3) -> Any:
    """A value that a key might have, by its type; sometimes another."""
    if choices.chance(20):
        return odd.value(choices)
    inner = strip_annotated(hint)
    origin = get_origin(inner)
    if origin is Literal:
        return choices.pick(get_args(inner))
    if origin in (Union, UnionType):
        return plausible(choices, choices.pick([each for each in get_args(inner) if each is not NoneType]), depth)
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        return section(choices, inner, depth)
    if origin is list:
        return [plausible(choices, get_args(inner)[0], depth - 1) for _ in range(choices.number(3))]
    if origin is dict:
        return {odd.text(choices): plausible(choices, get_args(inner)[1], depth - 1) for _ in range(choices.number(3))}
    if inner is bool:
        return bool(choices.number(2))
    if inner is int:
        return choices.pick([*odd.NUMBERS, 10, 100, 1000, 6667])
    if inner is float:
        return choices.pick([*odd.FLOATS, 0.5, 10.0])
    return odd.text(choices)


@cache
def keys_of(kind: type[msgspec.Struct]) -> list[tuple[str, Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return [(field.encode_name, hints[field.name]) for field in msgspec.structs.fields(kind)]


def section(choices: Choices, kind: type[msgspec.Struct], depth: int = 3) -> dict[str, Any]:
    """A section with some of its keys."""
    keys = keys_of(kind)
    found: dict[str, Any] = {}
    for _ in range(choices.number(5) if depth else 0):
        key, hint = choices.pick(keys)
        found[key] = plausible(choices, hint, depth - 1)
    return found


@target(max_bytes=500, seeds=[bytes([4, n, 2, 3, n, 1, 200, n, 7, 9, 100]) for n in range(0, 24, 2)])
def fuzz_config(data: bytes) -> None:
    """Keys with values of all sorts: a ConfigError, or a configuration that a server runs with and is shown as TOML."""
    choices = Choices(data)
    document = section(choices, Config)
    try:
        config = parse(document, "slircd.toml")
    except ConfigError as error:
        check_error(error, "slircd.toml")
        return
    check_config(config, "slircd.toml")
    if choices.number(4) == 0:
        start_with(document)


def check_config(config: Config, file: str) -> None:
    """What is accepted can be shown, merged and used."""
    text = show(to_plain(config))
    tomllib.loads(text)
    try:
        plan_listeners(config, file)
    except ConfigError as error:
        check_error(error, file)
    merge(Config(), config)
    merge(config, Config())
    for line in isupport_lines(config):
        assert len(f":{config.server.name} 005 {'n' * config.limits.nicklen} {line} :are supported") < MAX_BODY * 2
    for name in config.opers:
        config.privileges_of(name)


def start_with(document: dict[str, Any]) -> None:
    """A server with this configuration takes a client and lets it speak."""
    usable = {key: value for key, value in document.items() if key not in ("passwords", "throttle", "flood")}
    for key, value in BASE.items():
        usable[key] = {**usable.get(key, {}), **value} if isinstance(usable.get(key, {}), dict) else value
    try:
        config = parse(usable, "slircd.toml")
    except ConfigError:
        return
    world = World(config=config)
    client = world.connect()
    client.sends("CAP LS 302", "NICK ann", "USER ann 0 * :Ann", "CAP END", "JOIN #c", "PRIVMSG #c :hello", "VERSION")
    client.lines()
