"""What the first start generates and nobody should have to choose: two passwords and the key of cloaked hosts.

Passwords are shown once and kept as hashes.  SLIRCD_ADMIN_PASSWORD and SLIRCD_OPER_PASSWORD in the environment set
them instead; a changed variable replaces the stored hash at the next start.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from slircd.config.load import ConfigError, Problem
from slircd.config.sections import PASSWORD_HASH, Section

ENVIRONMENT: Final = {"admin": "SLIRCD_ADMIN_PASSWORD", "oper": "SLIRCD_OPER_PASSWORD"}
CLOAK_KEY_BYTES: Final = 32


class Secrets(Section, frozen=True, kw_only=True):
    """The contents of the secrets file."""

    admin_password_hash: Annotated[str, Meta(pattern=PASSWORD_HASH)]
    """Of the admin API's user `admin`."""
    oper_password_hash: Annotated[str, Meta(pattern=PASSWORD_HASH)]
    """Of the IRC operator `admin`."""
    cloak_key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    pseudonym_key: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Of the pseudonyms that old addresses get; empty in a file that an older slircd made."""


class Loaded(NamedTuple):
    """The secrets, and the passwords that were generated just now, by name, to be shown once."""

    secrets: Secrets
    generated: dict[str, str]


def load_or_create(
    path: Path,
    environ: Mapping[str, str],
    hash_password: Callable[[str], str],
    verify_password: Callable[[str, str], bool],
) -> Loaded:
    """The secrets in `path`; what is not there yet is made and written, with mode 0600.

    Raises ConfigError if the file cannot be read or written, is damaged, or is open to others.
    """
    stored = _read(path)
    generated: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for name, variable in ENVIRONMENT.items():
        known = getattr(stored, f"{name}_password_hash") if stored is not None else None
        wanted = environ.get(variable)
        if wanted:
            hashes[name] = known if known and verify_password(known, wanted) else hash_password(wanted)
        elif known:
            hashes[name] = known
        else:
            generated[name] = token_urlsafe(15)
            hashes[name] = hash_password(generated[name])
    secrets = Secrets(
        admin_password_hash=hashes["admin"],
        oper_password_hash=hashes["oper"],
        cloak_key=stored.cloak_key if stored is not None else token_hex(CLOAK_KEY_BYTES),
        pseudonym_key=(stored.pseudonym_key if stored is not None else "") or token_hex(CLOAK_KEY_BYTES),
    )
    if secrets != stored:
        _write(path, secrets)
    return Loaded(secrets, generated)


def read_pseudonym_key(path: Path) -> bytes:
    """The key of pseudonyms.  Raises ConfigError if the file is not there yet, or cannot be read."""
    secrets = _read(path)
    if secrets is None or not secrets.pseudonym_key:
        raise ConfigError(str(path), Problem("", "has no pseudonym_key", "start the server once, it makes one"))
    return bytes.fromhex(secrets.pseudonym_key)


def _read(path: Path) -> Secrets | None:
    file = str(path)
    try:
        mode = path.stat().st_mode & 0o777
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(file, Problem("", "cannot be read", str(error))) from None
    if mode & 0o077:
        raise ConfigError(file, Problem("", f"has mode {mode:04o}", f"it must be 0600; run: chmod 600 {file}"))
    try:
        return msgspec.convert(data, Secrets)
    except msgspec.ValidationError as error:
        hint = f"{error}; restore it, or remove it to have new secrets made"
        raise ConfigError(file, Problem("", "is damaged", hint)) from None


def _write(path: Path, secrets: Secrets) -> None:
    lines = [
        "# Made by slircd at its first start.  Keep it: a new cloak key changes every cloaked host, so bans miss.",
        *(f'{key} = "{value}"' for key, value in msgspec.to_builtins(secrets).items()),
        "",
    ]
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(lines))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(str(path), Problem("", "cannot be written", error.strerror or str(error))) from None
