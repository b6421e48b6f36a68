"""Writes the reference pages from the code that they describe: `python docs/generate.py` at the root.

A test fails when a page is not what this would write.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import msgspec

from slircd.admin.query import allowed
from slircd.commands import families as families  # fills the registry
from slircd.commands.capability import value_of
from slircd.commands.features import isupport_tokens
from slircd.commands.registry import COMMANDS
from slircd.config.example import to_toml
from slircd.config.load import describe, description, key_names, strip_annotated
from slircd.config.sections import AdminUser, Config, Dnsbl, Keep, Listen, Oper, OperClass, Section, Webhook, Webirc
from slircd.events.types import EVENT_TYPES, ModeDelta
from slircd.plugins.reference import reference_page, stub_file
from slircd.replay.schema import json_schema
from slircd.rules.privileges import PRIVILEGES
from slircd.wire.capabilities import CAPABILITIES
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
        ("[[webirc]]", Webirc),
        ("[[dnsbl]]", Dnsbl),
        ("[[webhooks]]", Webhook),
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


def mode_tables() -> Iterator[str]:
    """Channel modes, user modes, extended bans."""
    yield from ("", "## Channel modes", "", "| mode | takes | meaning |", "|---|---|---|")
    for letter in CHANNEL_MODES.letters:
        yield f"| `{letter}` | {CHANNEL_MODES.kinds[letter].value} | {CHANNEL_MODES.descriptions[letter]} |"
    yield from ("", "`+q MASK` stands for `+b ~m:MASK`: quiet whom the mask matches.", "", "## User modes", "")
    yield from ("| mode | meaning |", "|---|---|")
    for letter in USER_MODES.letters:
        yield f"| `{letter}` | {USER_MODES.descriptions[letter]} |"
    yield from ("", "## Extended bans", "", "| form | meaning |", "|---|---|")
    for letter, kind in EXTBANS.items():
        yield f"| `~{letter}` with {kind.shape.value} | {kind.description} |"


def commands() -> str:
    """Commands, modes and extended bans."""
    lines = ["# Commands, modes, extended bans", "", NOTE, "## Commands", ""]
    for _, entry in sorted(COMMANDS.items()):
        syntax, _, about = entry.help.partition("\n")
        note = f"  *Needs the privilege `{entry.privilege}`.*" if entry.privilege else ""
        lines += [f"- `{syntax.split('  (')[0]}`: {sentence(about)}{note}"]
    lines += mode_tables()
    return "\n".join(lines) + "\n"


# --- the documents of slircd-replay -------------------------------------------------------------------------------


def replay_schema() -> str:
    """docs/slircd-replay.schema.json."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


# --- admin API ----------------------------------------------------------------------------------------------------

ADMIN_HEAD = """\
HTTP on 127.0.0.1:8080, unless `[admin]` says otherwise: in plain text on loopback, or with TLS (`admin.tls`), which is
what another address needs, unless a proxy in front adds it (`admin.plain_http_in_public`).  What programs use is
described here and, for machines, at `/openapi.json`.

## Log in

`/healthz`, `/readyz`, `/metrics` and `/openapi.json` need no log-in; everything under `/admin` does:

- HTTP Basic, for the user `admin` of the first start or one of `[admin.users.NAME]`, with a `password_hash` and a role;
- `Authorization: Bearer TOKEN`, with a token of a program: `slircd admin token create NAME --role read --days 90` prints
  one, `slircd admin token list` shows them, `slircd admin token revoke NAME` ends one, within two seconds, beside the
  running server.  Only the SHA-256 of its secret is kept; it always has an end;
- the same header with a session of twelve hours: `POST /admin/session` with HTTP Basic gives one, `DELETE` ends it.

The role `read` sees the log and the state, `admin` may also act, and see keys of channels (`keys=show`) and texts of
logged messages.  Passwords are checked in a thread and remembered for five minutes by a keyed hash; ten wrong ones make
an address wait for ten minutes, nobody else.  There are no cookies and no CORS: no other page can ask in your name.

```sh
curl -u admin:PASSWORD "http://localhost:8080/admin/events?from=2025-01-01"
curl -u admin:PASSWORD "http://localhost:8080/admin/events?type=channel.*,oper.kill&order=desc&limit=20"
curl -u admin:PASSWORD -H "Accept: application/x-ndjson" "http://localhost:8080/admin/events?from=-1d"
curl -u admin:PASSWORD "http://localhost:8080/admin/replay?at=2025-01-01T12:00:00Z"
curl -u admin:PASSWORD "http://localhost:8080/admin/diff?from=-1h"
curl -u admin:PASSWORD "http://localhost:8080/admin/blame?channel=%23ops"
curl -u admin:PASSWORD -H "Content-Type: application/json" -d '{"channel": "#ops", "at": "-1h", "dry_run": true}' \\
    http://localhost:8080/admin/actions/restore
curl -u admin:PASSWORD -N "http://localhost:8080/admin/stream?type=channel.*"
```

## What holds everywhere

- Times are `2025-01-01`, ISO 8601 with or without offset, or `-15m` (s, m, h, d, w); one in the future means now.
- Lists come in pages: `limit`, and `after` (or `before`) behind a place; the header `Link: <…>; rel="next"` leads on.
- A refusal is `application/problem+json` (RFC 9457): `title`, and which `parameter` was wrong, what was `given`, what is
  `allowed`; for an action the `code` that a client of IRC would have got.  405 comes with `Allow`, 429 and 503 with
  `Retry-After`.
- Limits: 8 KB of address, 12 KB of headers, 64 KB of body.
- Answers are compressed for who takes gzip, and have entity tags (`If-None-Match`); what was replayed of the past may be
  kept for a minute.
- Each answer has `X-Request-ID`, yours if you sent one, which also stands in the server's log.
- Events as an array have at most 1000 rows; with `Accept: application/x-ndjson` they are a stream of lines without
  limit, read from the log at the pace of the reader.

## Live

`/admin/live` (WebSocket; the subprotocol `bearer.TOKEN` logs a browser in) and `/admin/stream` (server-sent events) send
each event when it is committed: its row, and `text`, what happened in words.  With `after`, a sequence, or
`Last-Event-ID`, they begin behind that in the log, and nothing is lost or comes twice where log and present meet; a slow
reader is read to from the log, for as long as it takes.  Keys of channels are always masked.  Logged messages
(`message.*`) are left out, unless `admin.live_messages` is set and the reader has the role `admin`.  Who may follow is
looked at again every half minute.

## Actions

`POST /admin/actions/NAME` with a JSON body decides by the rules of the operators' command, as the actor `admin:NAME`
(`admin:token.NAME` for a token).  The event `admin.action` says what was asked, in one decision with the events that
do it; the answer comes when the log has both, and operators with the server notice mask `o` are told.

## Webhooks

A `[[webhooks]]` in the [configuration](configuration.md) has events posted to a URL as they are committed:

```toml
[[webhooks]]
name = "staff"
url = "https://hooks.example.org/slircd"
secret_file = "staff.secret"
types = ["channel.kick", "channel.ban_add", "oper.*", "admin.action"]
```

The body is `{"webhook", "server", "text", "events"}`: the events as the live feed has them, oldest first, and what
happened in words.  `format = "chat"` posts `{"text"}` alone, as Slack and Mattermost take it, `"discord"` what Discord
takes; neither can call everybody.

- `X-Slircd-Signature: t=SECONDS,v1=HEX`, HMAC-SHA256 with the secret over `SECONDS.BODY`: compute it, compare in
  constant time, and refuse what is older than a few minutes.
- `X-Slircd-Delivery` names the batch: the webhook and the first and last sequence.  It is the same for every try, whose
  number is `X-Slircd-Attempt`.
- Only a 2xx is a success.  Everything else is tried again after 1, 2, 4 … 300 seconds, for as long as it takes, and
  nothing overtakes it: each event comes at least once, in order.  How far a webhook has come is kept in the table
  `webhook_cursors`, so a restart goes on there; a new name begins with what happens from now on.
- Redirects are not followed, certificates are verified, and a URL whose host is at a loopback, private or link-local
  address is refused, whatever its name says, unless `allow_private` is set.
- SIGHUP takes changes over.  `slircd_webhook_requests_total` and `slircd_webhook_lag_events` say how it goes."""


def admin_api() -> str:
    """The admin API."""
    from slircd.admin.openapi import TAGS, described, document

    openapi = document()
    lines = ["# The admin API", "", NOTE, ADMIN_HEAD]
    for tag, about in TAGS.items():
        lines += ["", f"## Reference: {tag}", "", f"{about}.", ""]
        for each in described():
            if each.tag == tag:
                path = re.sub(r"<(?:path:)?(\w+)>", r"{\1}", each.path)
                lines += _operation(path, each, openapi["paths"][path][each.method.lower()])
    return "\n".join(lines).rstrip() + "\n"


def _operation(path: str, each: Any, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### `{each.method} {path}`"
    yield ""
    yield sentence(each.about) + ("  *Role admin.*" if each.role == "admin" else "")
    yield ""
    parameters = [one for one in operation["parameters"] if one["in"] == "query"]
    if parameters:
        yield from ("| parameter | meaning | allowed |", "|---|---|---|")
        hints = get_type_hints(each.query, include_extras=True)
        names = key_names(each.query)
        for one in parameters:
            required = ", required" if one["required"] else ""
            may = _allowed(hints[names[one["name"]]])
            yield f"| `{one['name']}`{required} | {one['description']} | {may} |"
        yield ""
    if each.body is not None:
        yield f"Body: {sentence(each.body.__doc__)}"
        yield ""
        yield from ("| field | allowed | default |", "|---|---|---|")
        hints = get_type_hints(each.body, include_extras=True)
        for field in msgspec.structs.fields(each.body):
            may = description(hints[field.name]) or _allowed(hints[field.name])
            default = "required" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"
            yield f"| `{field.encode_name}` | {may} | {default} |"
        yield ""


def _allowed(hint: Any) -> str:
    return allowed(hint).split(" that matches ")[0].replace("|", "\\|")


# --- protocol -----------------------------------------------------------------------------------------------------

IRCV3 = "https://ircv3.net/specs/"
MODERN = "https://modern.ircdocs.horse/"

PROTOCOL_HEAD = """\
What clients can use, each with its specification.  Values are those of a default configuration; the limits behind them
are keys of the [configuration](configuration.md), and what is shown is what is enforced."""

CAPABILITY_PAGES = {
    "cap-notify": ("extensions/capability-negotiation", "is told when capabilities come, go or change"),
    "account-notify": ("extensions/account-notify", "is told when others log in and out"),
    "account-tag": ("extensions/account-tag", "messages carry their sender's account"),
    "away-notify": ("extensions/away-notify", "is told when others are away"),
    "batch": ("extensions/batch", "lines that belong together are marked"),
    "chghost": ("extensions/chghost", "is told when others change user name or host"),
    "draft/account-registration": ("extensions/account-registration", "REGISTER and VERIFY"),
    "draft/channel-rename": ("extensions/channel-rename", "RENAME instead of PART and JOIN"),
    "draft/chathistory": ("extensions/chathistory", "CHATHISTORY"),
    "draft/event-playback": ("extensions/chathistory", "history also has joins, modes and the like"),
    "draft/extended-isupport": ("extensions/extended-isupport", "ISUPPORT at any time, in a batch"),
    "draft/extended-monitor": ("extensions/extended-monitor", "the old name of extended-monitor"),
    "draft/message-redaction": ("extensions/message-redaction", "REDACT"),
    "draft/metadata-2": ("extensions/metadata", "METADATA, changes told by METADATA lines"),
    "draft/metadata-3": ("extensions/metadata", "METADATA, changes told by numerics"),
    "draft/multiline": ("extensions/multiline", "messages of several lines, in a BATCH"),
    "draft/no-implicit-names": ("extensions/no-implicit-names", "the old name of no-implicit-names"),
    "draft/pre-away": ("extensions/pre-away", "AWAY before registration"),
    "draft/read-marker": ("extensions/read-marker", "MARKREAD"),
    "draft/relaymsg": ("", "relayed messages name who relayed them; RELAYMSG"),
    "echo-message": ("extensions/echo-message", "gets its own messages as others see them"),
    "extended-join": ("extensions/extended-join", "JOIN with account and real name"),
    "extended-monitor": ("extensions/extended-monitor", "hears more of those whom it watches"),
    "invite-notify": ("extensions/invite-notify", "is told when others are invited"),
    "labeled-response": ("extensions/labeled-response", "answers carry the label of the question"),
    "message-tags": ("extensions/message-tags", "tags on messages, TAGMSG, client-only tags, message ids"),
    "multi-prefix": ("extensions/multi-prefix", "all prefixes in NAMES and WHO"),
    "no-implicit-names": ("extensions/no-implicit-names", "no NAMES after JOIN"),
    "sasl": ("extensions/sasl-3.2", "AUTHENTICATE, before registration and after"),
    "server-time": ("extensions/server-time", "lines carry their time"),
    "setname": ("extensions/setname", "SETNAME"),
    "standard-replies": ("extensions/standard-replies", "FAIL, WARN and NOTE"),
    "userhost-in-names": ("extensions/userhost-in-names", "NAMES with user and host"),
    "znc.in/playback": ("", "asks for messages since a time, as ZNC's module playback does"),
    "znc.in/self-message": ("", "gets messages that its user sent from another client"),
}
"""What each capability is specified by, and gives; one that is not here stops the generator."""

TOKEN_PAGES = {
    "ACCOUNTEXTBAN": ("extensions/account-extban", "the extended ban for accounts"),
    "BOT": ("extensions/bot-mode", "the user mode of bots"),
    "CHATHISTORY": ("extensions/chathistory", "most messages of one request"),
    "CLIENTTAGDENY": ("extensions/message-tags", "client-only tags that are not passed on"),
    "MONITOR": ("extensions/monitor", "most nicks that one may watch"),
    "MSGREFTYPES": ("extensions/chathistory", "how messages can be named"),
    "UTF8ONLY": ("extensions/utf8-only", "nothing but UTF-8 is taken"),
    "WHOX": ("extensions/whox", "WHO with fields"),
}
"""Tokens of IRCv3; the others are described by modern.ircdocs.horse."""

BESIDE = (
    ("WebSocket, `text.ircv3.net` and `binary.ircv3.net`", "extensions/websocket", "`[[listen]] websocket = true`"),
    ("WEBIRC", "extensions/webirc", "`[[webirc]]`"),
    ("Strict transport security (`sts`)", "extensions/sts", "`[sts]`"),
    ("typing, react, reply and other client-only tags", "extensions/message-tags", "`limits.client_tags_denied`"),
    ("PROXY protocol, versions 1 and 2", "", "`[[listen]] proxies`"),
    ("SASL PLAIN, EXTERNAL, SCRAM-SHA-256 and -PLUS", "extensions/sasl-3.2", "`[accounts]`"),
    ("Names in other scripts (RFC 8265)", "", "`server.casemapping`, `server.confusables`"),
    ("Lines that are not UTF-8", "", "`server.encoding`"),
)


def protocol() -> str:
    """The support table."""
    config = Config()
    lines = ["# Protocol", "", NOTE, PROTOCOL_HEAD, "", "## Capabilities", ""]
    lines += ["| capability | value | gives |", "|---|---|---|"]
    everyone: Any = SimpleNamespace(secure=True, caps=0, tls_connection=lambda: None, sees_values=True)
    server: Any = SimpleNamespace(config=config)
    server.accounts = SimpleNamespace(server=server)
    for name in CAPABILITIES:
        page, gives = CAPABILITY_PAGES[name]
        value = value_of(server, everyone, name)
        shown = f"`{value}`" if value else ""
        link = f"[`{name}`]({IRCV3}{page})" if page else f"`{name}`"
        lines.append(f"| {link} | {shown} | {gives} |")
    lines += ["", "## Beside capabilities", "", "| what | where it is set |", "|---|---|"]
    lines += [f"| {f'[{what}]({IRCV3}{page})' if page else what} | {where} |" for what, page, where in BESIDE]
    lines += ["", "## Commands", "", "| command | specification | |", "|---|---|---|"]
    for name, entry in sorted(COMMANDS.items()):
        syntax, _, about = entry.help.partition("\n")
        lines.append(f"| `{name}` | {_specified(syntax)} | {sentence(about)} |")
    lines += ["", "## ISUPPORT", "", "| token | value |", "|---|---|"]
    for token, value in isupport_tokens(config).items():
        page = f"{IRCV3}{TOKEN_PAGES[token][0]}" if token in TOKEN_PAGES else f"{MODERN}#rplisupport-parameters"
        lines.append(f"| [`{token}`]({page}) | {'' if value is None else f'`{value}`'.replace('|', chr(92) + '|')} |")
    lines += mode_tables()
    return "\n".join(lines) + "\n"


def _specified(syntax: str) -> str:
    """The specification that the first line of a command's help names in parentheses, with links."""
    _, _, named = syntax.partition("  (")
    named = named.removesuffix(")")
    named = re.sub(r"RFC (\d+) ([\d.]+)", r"[RFC \1 \2](https://www.rfc-editor.org/rfc/rfc\1#section-\2)", named)
    return re.sub(r"IRCv3 (?:draft/)?([a-z-]+[a-z])(-\d(?:\.\d)?)?", _linked, named)


def _linked(match: re.Match[str]) -> str:
    page = {"sasl": "sasl-3.2"}.get(match[1], match[1])
    return f"[{match[0]}]({IRCV3}extensions/{page})"


PAGES = {
    "admin-api.md": admin_api,
    "events.md": events,
    "configuration.md": configuration,
    "commands.md": commands,
    "protocol.md": protocol,
    "slircd-replay.schema.json": replay_schema,
    "plugin-api.md": reference_page,
    "../plugins/meta/slircd.lua": stub_file,
}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
