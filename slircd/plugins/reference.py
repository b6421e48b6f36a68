"""What plugins may do, for people and for editors: made from the table of functions, so that neither can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slircd.plugins import api as api  # fills the table
from slircd.plugins.functions import FUNCTIONS, Function
from slircd.plugins.views import NEEDS
from slircd.rules.capabilities import CAPABILITIES, DEFAULT_CAPABILITIES

TYPES: Final[dict[str, tuple[str, dict[str, tuple[str, str]]]]] = {
    "Context": (
        "Who runs a command or speaks to a service.",
        {
            "nick": ("string", ""),
            "uid": ("string", ""),
            "account": ("string?", "the account that the caller is logged in to"),
            "is_oper": ("boolean", ""),
            "channel": ("string?", "of a command: the channel that it is about, else the caller's nick"),
            "service": ("string?", "the service that is spoken to"),
            "reply": ("fun(text: string): boolean?, string?", "answers with a notice; only until the handler returns"),
        },
    ),
    "CommandOptions": (
        "How a command is registered.",
        {
            "help": ("string?", "what HELP says"),
            "min_args": ("integer?", "least arguments"),
            "oper": ("boolean?", "whether only operators may use it"),
        },
    ),
    "Event": (
        "Something that happened; the fields of its payload stand beside these (docs/events.md).",
        {
            "type": ("string", "such as channel.join"),
            "id": ("integer?", "its id in the log"),
            "sequence": ("integer?", "its sequence in the log"),
            "timestamp": ("string", "in the log's form"),
            "time": ("number", "the same as seconds since 1970"),
            "actor": ("string?", "who caused it: a UID, or a word such as server"),
            "nick": ("string?", "the actor's nick"),
            "target": ("string?", "what it happened to: a casefolded channel, a UID, an account"),
            "channel": ("string?", "the channel's name as people see it"),
            "account": ("string?", "of a message: the account of who said it"),
            "prefixes": ("string?", "of a message: the prefix modes of who said it"),
            "text": ("string?", "of a message: what was said"),
            "msgid": ("string?", "of a message: its id"),
        },
    ),
    "User": (
        "A snapshot of a user.",
        {
            "uid": ("string", ""),
            "nick": ("string", ""),
            "username": ("string", ""),
            "host": ("string", "as people see it"),
            "realname": ("string", ""),
            "account": ("string?", ""),
            "away": ("string?", "the message, while away"),
            "is_oper": ("boolean", ""),
            "is_bot": ("boolean", ""),
            "is_service": ("boolean", ""),
            "secure": ("boolean", "whether it is connected with TLS"),
            "connected_at": ("string", ""),
            "channels": ("string[]", "names of its channels, hidden ones only with see-hidden"),
            "real_host": ("string?", "with see-hosts"),
            "ip": ("string?", "with see-hosts"),
            "certfp": ("string?", "with see-hosts"),
        },
    ),
    "Member": (
        "Somebody on a channel.",
        {
            "uid": ("string", ""),
            "nick": ("string", ""),
            "account": ("string?", ""),
            "prefixes": ("string", "prefix modes, highest first"),
        },
    ),
    "Topic": (
        "A channel's topic.",
        {"text": ("string", ""), "set_by": ("string", "nick!user@host"), "set_at": ("string", "")},
    ),
    "Channel": (
        "A snapshot of a channel.",
        {
            "name": ("string", ""),
            "created_at": ("string", ""),
            "topic": ("Topic?", ""),
            "modes": ("string", "letters"),
            "params": ("table<string, string>", "modes with a parameter; a key is masked"),
            "members": ("Member[]", "the first thousand"),
            "member_count": ("integer", ""),
            "founder": ("string?", "account, if the channel is registered"),
        },
    ),
    "ListedChannel": (
        "A channel in a list.",
        {"name": ("string", ""), "member_count": ("integer", ""), "topic": ("string?", "")},
    ),
    "ChannelList": (
        "A page of channels.",
        {"channels": ("ListedChannel[]", ""), "next": ("integer?", "`start` of the next page, if there is one")},
    ),
    "Account": (
        "A registered account.",
        {
            "name": ("string", ""),
            "registered_at": ("string", ""),
            "verified": ("boolean", ""),
            "nicks": ("string[]", ""),
        },
    ),
    "HttpOptions": (
        "What is asked.",
        {
            "url": ("string", "http:// or https://, of a host that config.toml names"),
            "method": ("string?", "GET, HEAD, POST, PUT, PATCH or DELETE"),
            "headers": ("table<string, string>?", ""),
            "body": ("string?", ""),
            "timeout_s": ("number?", "seconds, 10 without it, at most 30"),
        },
    ),
    "HttpResponse": (
        "What was answered.",
        {
            "status": ("integer", ""),
            "headers": ("table<string, string>", "names in lower case"),
            "body": ("string", ""),
        },
    ),
}
"""The tables that go in and out: what each is, and its fields with their types; a test compares them with the code."""

GROUPS: Final = (
    ("Commands, services, events, timers", ("register_", "after", "every", "cancel")),
    ("Reading", ("get_", "list_", "now")),
    ("Speaking", ("send_",)),
    ("Acting", ("kick_", "set_", "add_", "remove_")),
    ("Keeping", ("storage_",)),
    ("The outside", ("http_", "log")),
)


def functions() -> Iterator[Function]:
    """Everything that a plugin calls as api.NAME."""
    return (entry for name, entry in FUNCTIONS.items() if name != "reply")


def _signature(entry: Function) -> str:
    words = [
        f"[{each.name}]" if _optional(entry, each.name, optional=each.optional) else each.name
        for each in entry.parameters
    ]
    return f"api.{entry.name}({', '.join(words)})"


def _optional(entry: Function, name: str, *, optional: bool) -> bool:
    return optional and (entry.name, name) != ("register_event_listener", "handler")


def reference_page() -> str:
    """docs/plugin-api.md, without its heading's note."""
    lines = [
        "# The plugin API",
        "",
        "<!-- Made by docs/generate.py from the code; change that. -->",
        "",
        "What a plugin calls on the `api` that `on_load(api)` is given; `api.x(...)` and `api:x(...)` are the same.",
        "[Plugins](plugins.md) tells how they are written and run.",
        "",
        "What the server refuses, as it would refuse a user, returns `nil` and the reason.  What is wrong in the plugin",
        "(arguments, a capability that it does not have, too many calls) is a Lua error.  What succeeds and has nothing",
        "else to say returns `true`.",
        "",
        "`api.settings` is the table `[settings]` of config.toml.",
    ]
    left = list(functions())
    for title, prefixes in GROUPS:
        lines += ["", f"## {title}"]
        for entry in [entry for entry in left if entry.name.startswith(prefixes)]:
            left.remove(entry)
            lines += _function(entry)
    if left:
        raise LookupError(f"{left[0].name} belongs to no group")
    lines += ["", "## Tables", ""]
    for name, (about, fields) in TYPES.items():
        lines += [f"### {name}", "", about, "", "| field | type | meaning |", "|---|---|---|"]
        lines += [f"| `{field}` | {_cell(kind)} | {text} |" for field, (kind, text) in fields.items()] + [""]
    lines += ["## Capabilities", "", "| capability | allows |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in CAPABILITIES.items()]
    lines += [
        "",
        f"Without a config.toml a plugin asks for {', '.join(DEFAULT_CAPABILITIES)}, which is also what is granted where",
        "the configuration says nothing.  Events that need one:",
        "",
    ]
    lines += [f"- `{family}.*`: `{capability}`" for family, capability in sorted(NEEDS.items())]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _function(entry: Function) -> list[str]:
    needs = f"  *Capability `{entry.capability}`.*" if entry.capability else ""
    lines = ["", f"### {_signature(entry)}", "", " ".join(entry.about.split()) + needs, ""]
    for parameter in entry.parameters:
        about = f": {parameter.lua.about}" if parameter.lua.about else ""
        lines.append(f"- `{parameter.name}` (`{parameter.lua.type.rstrip('?')}`){about}")
    if entry.result is not None:
        lines.append(f"- returns `{entry.result.type}`")
    return lines


def stub_file() -> str:
    """The definitions of the Lua language server (LuaLS)."""
    lines = [
        "---@meta slircd",
        "",
        "-- What editors complete and check by.  Made by docs/generate.py from the server's code; change that.",
        "",
    ]
    for name, (about, fields) in TYPES.items():
        lines += [f"---{about}", f"---@class {name}"]
        lines += [f"---@field {field} {kind}{f' # {text}' if text else ''}" for field, (kind, text) in fields.items()]
        if name == "Event":
            lines.append("---@field [string] any")
        lines.append("")
    lines += [
        "---The door to the server, which on_load gets.",
        "---@class Api",
        "---@field settings table<string, any> # [settings] of config.toml",
        "local Api = {}",
        "",
    ]
    for entry in functions():
        lines += [f"---{line}".rstrip() for line in entry.about.splitlines()]
        if entry.capability:
            lines += ["---", f"---Needs the capability `{entry.capability}`."]
        for parameter in entry.parameters:
            optional = _optional(entry, parameter.name, optional=parameter.optional)
            kind = parameter.lua.type.rstrip("?")
            about = f" # {parameter.lua.about}" if parameter.lua.about else ""
            lines.append(f"---@param {parameter.name}{'?' if optional else ''} {kind}{about}")
        if entry.result is not None:
            lines.append(f"---@return {entry.result.type.rstrip('?')}?")
            lines.append("---@return string? refused # why the server does not do it")
        lines += [f"function Api.{entry.name}({', '.join(each.name for each in entry.parameters)}) end", ""]
    lines += [
        "---What init.lua returns.",
        "---@class Plugin",
        "---@field name? string",
        "---@field version? string",
        "---@field on_load fun(api: Api)",
        "---@field on_unload? fun()",
        "",
        "-- What test.lua sees, beside what plugins see.",
        "",
        "---One test: it begins with a server of its own, on which the plugin is loaded.",
        "---@param name string",
        "---@param run fun()",
        "function test(name, run) end",
        "",
        "---@class TestServer",
        "server = {}",
        "",
    ]
    lines += list(_helpers())
    return "\n".join(lines).rstrip() + "\n"


def _helpers() -> Iterator[str]:
    from inspect import getdoc, signature

    from slircd.plugins.tester import HELPERS

    kinds = {"str": "string", "float": "number", "int": "integer", "dict[str, Any]": "table", "list[str]": "string[]"}
    for name, helper in HELPERS.items():
        if name in ("begin", "finish"):
            continue
        yield f"---{getdoc(helper)}"
        parameters = list(signature(helper).parameters.values())[1:]
        for parameter in parameters:
            optional = parameter.default is not parameter.empty
            kind = kinds[str(parameter.annotation).removesuffix(" | None")]
            yield f"---@param {parameter.name}{'?' if optional else ''} {kind}"
        returns = str(signature(helper).return_annotation)
        if returns in kinds:
            yield f"---@return {kinds[returns]}"
        yield f"function server.{name}({', '.join(parameter.name for parameter in parameters)}) end"
        yield ""
