"""Writes the reference pages from the code that they describe: `python docs/generate.py` at the root.

A test fails when a page is not what this would write.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from slircd.commands import families as families  # fills the registry
from slircd.commands.registry import COMMANDS
from slircd.config.example import to_toml
from slircd.config.load import describe, description, key_names, strip_annotated
from slircd.config.sections import AdminUser, Config, Dnsbl, Keep, Listen, Oper, OperClass, Section
from slircd.events.types import EVENT_TYPES, ModeDelta
from slircd.replay.schema import json_schema
from slircd.rules.privileges import PRIVILEGES
from slircd.wire.extbans import EXTBANS
from slircd.wire.modes import CHANNEL_MODES, USER_MODES

DOCS = Path(__file__).parent
NOTE = "<!-- Made by docs/generate.py from the code; change that. -->\n"


def sentence(text: str | None) -> str:
    """A docstring as one paragraph."""
    return " ".join((text or "").split())


# --- events -------------------------------------------------------------------------------------------------------

EVENTS_HEAD = """\
The log is the table `events` with eight columns:

| column | meaning |
|---|---|
| `id` | storage order, 1, 2, 3 … without gaps |
| `timestamp` | ISO 8601 UTC with microseconds, `2025-01-01T12:00:00.000000Z`; never runs backwards |
| `sequence` | Lamport clock: strictly rising |
| `event_type` | one of the types below |
| `actor_uid` | who caused it: a UID, or `server` |
| `target` | what it happened to: a casefolded channel name, a UID, a server id |
| `payload` | JSON: `v`, the version of the payload, and the fields below |
| `session_id` | the run of the server that wrote it |

A field that has its default is left out of the payload.  No event ever holds a password or a hash of one; a channel's
key (+k) is part of the channel's state and therefore in its `channel.mode_change`."""


def events() -> str:
    """The event catalogue."""
    lines = ["# Event catalogue", "", NOTE, EVENTS_HEAD]
    family = ""
    for name, cls in EVENT_TYPES.items():
        if name.split(".")[0] != family:
            family = name.split(".")[0]
            lines += ["", f"## {family}"]
        lines += ["", f"### `{name}`", "", sentence(cls.__doc__)]
        if cls.state_free:
            lines += ["", "Changes no state by itself."]
        lines += ["", "| field | type | meaning |", "|---|---|---|", *_fields(cls)]
    lines += ["", "## A change of one mode", "", sentence(ModeDelta.__doc__)]
    return "\n".join(lines) + "\n"


def _fields(cls: type) -> Iterator[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    for index, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            after = body[index + 1] if index + 1 < len(body) else None
            about = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                about = sentence(str(after.value.value))
            kind = ast.unparse(node.annotation).replace("|", "or")
            yield f"| `{node.target.id}` | {kind} | {about} |"


# --- configuration ------------------------------------------------------------------------------------------------

CONFIGURATION_HEAD = """\
slircd reads TOML: the file given with `--config`, else `slircd.toml` in the working directory if there is one, else
nothing but defaults.  `slircd config example` prints a complete file, `slircd config check FILE` says what is wrong
with one, `slircd config show FILE` what is in force.  Relative paths start at the working directory.

SIGHUP, or `/REHASH`, reads the file again.  A file with a mistake changes nothing; keys that need a restart keep their
value and are named.

## Top level
"""


def configuration() -> str:
    """The configuration reference."""
    lines = ["# Configuration", "", NOTE, CONFIGURATION_HEAD, *_keys(Config)]
    for key, hint in get_type_hints(Config, include_extras=True).items():
        inner = strip_annotated(hint)
        if isinstance(inner, type) and issubclass(inner, Section):
            lines += _section(inner, key)
    for title, section in (
        ("[[listen]]", Listen),
        ("[[dnsbl]]", Dnsbl),
        ('retention.families."TYPE"', Keep),
        ("admin.users.NAME", AdminUser),
        ("opers.NAME", Oper),
        ("oper_classes.NAME", OperClass),
    ):
        lines += _section(section, title)
    lines += ["", "## Privileges", "", "| privilege | allows |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in PRIVILEGES.items()]
    return "\n".join(lines) + "\n"


def _section(section: Any, title: str) -> list[str]:
    shown = title if title.startswith("[") else f"[{title}]"
    lines = ["", f"## `{shown}`", "", sentence(section.__doc__), "", *_keys(section)]
    for key, hint in get_type_hints(section, include_extras=True).items():
        inner = strip_annotated(hint)
        if isinstance(inner, type) and issubclass(inner, Section):
            lines += _section(inner, f"{title}.{key}")
    return lines


def _keys(section: Any) -> list[str]:
    rows: list[str] = []
    defaults = msgspec.to_builtins(section())
    hints = get_type_hints(section, include_extras=True)
    for key, attribute in key_names(section).items():
        hint = hints[attribute]
        if text := description(hint):
            default = defaults.get(key)
            shown = "none" if default is None else f"`{to_toml(default)}`"
            allowed = describe(hint).split(" that matches ")[0].replace("|", "\\|")
            rows.append(f"| `{key}` | {text} | {allowed} | {shown} |")
    return ["| key | meaning | allowed | default |", "|---|---|---|---|", *rows] if rows else []


# --- commands -----------------------------------------------------------------------------------------------------


def commands() -> str:
    """Commands, modes and extended bans."""
    lines = ["# Commands, modes, extended bans", "", NOTE, "## Commands", ""]
    for _, entry in sorted(COMMANDS.items()):
        syntax, _, about = entry.help.partition("\n")
        note = f"  *Needs the privilege `{entry.privilege}`.*" if entry.privilege else ""
        lines += [f"- `{syntax.split('  (')[0]}`: {sentence(about)}{note}"]
    lines += ["", "## Channel modes", "", "| mode | takes | meaning |", "|---|---|---|"]
    for letter in CHANNEL_MODES.letters:
        lines.append(f"| `{letter}` | {CHANNEL_MODES.kinds[letter].value} | {CHANNEL_MODES.descriptions[letter]} |")
    lines += ["", "`+q MASK` stands for `+b ~m:MASK`: quiet whom the mask matches.", "", "## User modes", ""]
    lines += ["| mode | meaning |", "|---|---|"]
    lines += [f"| `{letter}` | {USER_MODES.descriptions[letter]} |" for letter in USER_MODES.letters]
    lines += ["", "## Extended bans", "", "| form | meaning |", "|---|---|"]
    for letter, kind in EXTBANS.items():
        lines.append(f"| `~{letter}` with {kind.shape.value} | {kind.description} |")
    return "\n".join(lines) + "\n"


# --- the documents of slircd-replay -------------------------------------------------------------------------------


def replay_schema() -> str:
    """docs/slircd-replay.schema.json."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


PAGES = {
    "events.md": events,
    "configuration.md": configuration,
    "commands.md": commands,
    "slircd-replay.schema.json": replay_schema,
}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
