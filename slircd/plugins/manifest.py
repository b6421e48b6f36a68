"""A plugin's folder: where it is, its code, and what its config.toml asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, field

from slircd.commands.extensions import ManagerError
from slircd.rules.capabilities import CAPABILITIES, DEFAULT_CAPABILITIES
from slircd.wire.names import valid_plugin_name

MAX_SOURCE_BYTES: Final = 1 << 20


class AskedLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits that a plugin sets itself; they can only be lower than the server's."""

    deadline_ms: Annotated[int, Meta(ge=1)] | None = None
    memory_mb: Annotated[int, Meta(ge=1)] | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plugin's config.toml."""

    capabilities: list[str] = field(default_factory=lambda: list(DEFAULT_CAPABILITIES))
    send_as: Literal["server", "client"] = "server"
    """Whether it speaks as the server or as a pseudo-client of its own."""
    nick: str = ""
    """The pseudo-client's nick; empty: the plugin's name."""
    description: str = ""
    limits: AskedLimits = AskedLimits()
    http_hosts: list[str] = []
    """Hosts that it may ask over HTTP, as NAME or NAME:PORT."""
    settings: dict[str, Any] = {}
    """Its own settings, api.settings in Lua."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin as it stands on the disk."""

    name: str
    folder: str
    code: str
    manifest: Manifest


def read_plugin(name: str, folders: Iterable[str]) -> Source:
    """Read a plugin; blocks, so call it in a thread.  Raises ManagerError with what is wrong."""
    if not valid_plugin_name(name):
        raise ManagerError("a plugin's name has at most 32 letters, digits, - and _")
    searched = [Path(folder) for folder in folders]
    shipped = shipped_folder()
    if shipped is not None:
        searched.append(shipped)
    for folder in searched:
        init = folder / name / "init.lua"
        if init.is_file():
            return Source(name=name, folder=str(init.parent), code=_code(init), manifest=read_manifest(init.parent))
    where = ", ".join(str(folder) for folder in searched)
    raise ManagerError(f"there is no {name}/init.lua in {where}")


def _code(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > MAX_SOURCE_BYTES:
            raise ManagerError(f"{path} has more than {MAX_SOURCE_BYTES} bytes")
        return data.decode()
    except OSError as error:
        raise ManagerError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ManagerError(f"{path} is not UTF-8, see byte {error.start}") from None


def read_manifest(folder: Path) -> Manifest:
    """The config.toml of a plugin's folder, or what holds without one.  Raises ManagerError."""
    path = folder / "config.toml"
    if not path.exists():
        return Manifest()
    try:
        data = tomllib.loads(path.read_bytes().decode())
        manifest = msgspec.convert(data, Manifest)
    except OSError as error:
        raise ManagerError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManagerError(f"{path} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ManagerError(f"{path}: {error}") from None
    unknown = [capability for capability in manifest.capabilities if capability not in CAPABILITIES]
    if unknown:
        raise ManagerError(f"{path}: unknown capability {unknown[0]!r}; there are {', '.join(CAPABILITIES)}")
    return manifest


def shipped_folder() -> Path | None:
    """Where the plugins are that ship: beside the package in a checkout, else where the distribution put them."""
    beside = Path(__file__).resolve().parents[2] / "plugins"
    if (beside / "welcome" / "init.lua").is_file():
        return beside
    try:
        for file in files("slircd") or ():
            if file.parts[-3:] == ("plugins", "welcome", "init.lua"):
                return Path(str(file.locate())).resolve().parents[1]
    except PackageNotFoundError:
        pass
    return None


def available(folders: Iterable[str]) -> list[str]:
    """The names of the plugins that could be loaded."""
    searched = [Path(folder) for folder in folders]
    shipped = shipped_folder()
    if shipped is not None:
        searched.append(shipped)
    return sorted({path.parent.name for folder in searched for path in folder.glob("*/init.lua")})
