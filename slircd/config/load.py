"""Reading a configuration file: every mistake is reported with file, key, what was found, and what is allowed."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from slircd.config.sections import DEFAULT_LISTEN, PASSWORD_HASH, Config
from slircd.events.types import EVENT_TYPES
from slircd.rules.capabilities import CAPABILITIES
from slircd.rules.privileges import PRIVILEGES
from slircd.wire.client_tags import ENTRY
from slircd.wire.encoding import is_usable
from slircd.wire.message import MAX_BODY
from slircd.wire.names import MAX_METADATA_KEY, valid_host, valid_plugin_name, valid_server_name

MASKED: Final = "********"
DEFAULT_FILE: Final = "slircd.toml"

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PLAIN: Final = re.compile(r"[\w.*-]+")
_CONTROL: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


class Problem(NamedTuple):
    """One mistake: the dotted key, what was found there, and what is allowed."""

    key: str
    found: str
    allowed: str


class ConfigError(Exception):
    """A file of the operator's cannot be used.  Its text has one line for each mistake."""

    def __init__(self, file: str, *problems: Problem) -> None:
        self.file = file
        self.problems = problems
        super().__init__(
            "\n".join(
                f"{file}: {problem.key}: found {problem.found}, allowed: {problem.allowed}"
                if problem.key
                else f"{file}: {problem.found}: {problem.allowed}"
                for problem in problems
            )
        )


def load(path: str | Path) -> Config:
    """The configuration in a TOML file.  Raises ConfigError with all that is wrong with it."""
    file = str(path)
    try:
        text = Path(path).read_bytes().decode()
        data = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(file, Problem("", "cannot be read", error.strerror or str(error))) from None
    except UnicodeDecodeError as error:
        raise ConfigError(file, Problem("", "is not UTF-8", f"see byte {error.start}")) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, Problem("", "is not TOML", str(error))) from None
    except RecursionError:
        raise ConfigError(file, Problem("", "is nested too deeply", "no key needs more than a few levels")) from None
    return parse(data, file)


def read_config(file: str | None) -> tuple[Config, str]:
    """The configuration, and the file that it stands in.  Raises ConfigError."""
    path = file or DEFAULT_FILE
    if file is None and not Path(path).exists():
        return Config(), path
    return load(path), path


def parse(data: dict[str, Any], file: str) -> Config:
    """The configuration in a parsed document; `file` is for messages.  Raises ConfigError."""
    problems = list(_check_table(Config, data, ""))
    if not problems:
        config = msgspec.convert(data, Config)
        problems = list(_check_together(config))
        if not problems:
            return config
    raise ConfigError(file, *problems)


SEVERAL_LINES: Final = ("server.motd",)
"""Keys whose text may have several lines; what any other says may stand in a line of IRC."""

_ENDS: Final = re.compile(r"[\0\r\n]")


# --- types --------------------------------------------------------------------------------------------------------


def key_names(table: type[Struct]) -> dict[str, str]:
    """The keys of a section as files write them, and the attribute of each."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(table)}


def quote_key(key: str) -> str:
    """A key as TOML writes it: in quotes where it has more than letters, digits, - and _."""
    return key if _BARE.fullmatch(key) else quote(key)


def quote(text: str) -> str:
    """A text as TOML writes it, on one line.  Control characters that JSON leaves as they are would do things to terminals."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04X}", msgspec.json.encode(text).decode())


def _check_table(table: type[Struct], data: object, at: str) -> Iterator[Problem]:
    if not isinstance(data, dict):
        yield Problem(at, show(data), "a table")
        return
    names = key_names(table)
    hints = get_type_hints(table, include_extras=True)
    for key, value in data.items():
        dotted = f"{at}.{quote_key(key)}" if at else quote_key(key)
        if key not in names:
            yield Problem(dotted, "an unknown key", _known(key, list(names)))
        else:
            yield from _check_value(hints[names[key]], value, dotted)


def _check_value(hint: Any, value: object, at: str) -> Iterator[Problem]:
    inner = strip_annotated(hint)
    origin = get_origin(inner)
    if isinstance(inner, type) and issubclass(inner, Struct):
        yield from _check_table(inner, value, at)
    elif origin is list and _is_table(get_args(inner)[0]):
        if not isinstance(value, list):
            yield Problem(at, show(value), f"tables, each under [[{at}]]")
            return
        for index, item in enumerate(value):
            yield from _check_table(get_args(inner)[0], item, f"{at}[{index}]")
    elif origin is dict and _is_table(get_args(inner)[1]):
        if not isinstance(value, dict):
            yield Problem(at, show(value), f"tables, each under [{at}.NAME]")
            return
        for name, item in value.items():
            if _ENDS.search(name):
                yield Problem(at, show(name), "names of one line, without NUL")
            yield from _check_table(get_args(inner)[1], item, f"{at}.{quote_key(name)}")
    else:
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError:
            yield Problem(at, show(value), describe(hint))
            return
        if at not in SEVERAL_LINES:
            yield from (
                Problem(at, show(text), "one line, without NUL") for text in _texts(value) if _ENDS.search(text)
            )


def _texts(value: object) -> Iterator[str]:
    """All texts in a value of the file."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from (*_texts(name), *_texts(item))


def _is_table(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Struct)


def strip_annotated(hint: Any) -> Any:
    """A type without the metadata of its Annotated."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def metadata(hint: Any) -> Iterator[Meta]:
    """The msgspec metadata of a type."""
    if get_origin(hint) is Annotated:
        yield from (meta for meta in hint.__metadata__ if isinstance(meta, Meta))


def description(hint: Any) -> str:
    """What a key is for."""
    return " ".join(meta.description for meta in metadata(hint) if meta.description)


def describe(hint: Any) -> str:
    """What values a key may have, in words."""
    inner = strip_annotated(hint)
    metas = list(metadata(hint))
    origin = get_origin(inner)
    if origin is Literal:
        return "one of " + ", ".join(show(value) for value in get_args(inner))
    if origin in (Union, UnionType):
        return " or ".join(describe(part) for part in get_args(inner) if part is not NoneType)
    if origin is dict:
        return f"a table, each value {describe(get_args(inner)[1])}"
    if origin is list:
        return f"a list, each {describe(get_args(inner)[0])}"
    if inner is bool:
        return "true or false"
    if inner in (int, float):
        kind = "an integer" if inner is int else "a number"
        return kind + "".join(_bounds(meta) for meta in metas)
    text = "a text" + "".join(f" of at most {meta.max_length} characters" for meta in metas if meta.max_length)
    patterns = [meta.pattern for meta in metas if meta.pattern]
    if PASSWORD_HASH in patterns:
        return "an argon2 hash as made by `slircd hash-password`"
    about = description(hint)
    return f"{text} that matches {patterns[0]} ({about})" if patterns else text


def _bounds(meta: Meta) -> str:
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge} to {meta.le}"
    if meta.gt is not None and meta.le is not None:
        return f" above {meta.gt}, at most {meta.le}"
    return ""


def show(value: object) -> str:
    """A value as TOML writes it, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = quote(value)
    elif isinstance(value, dict):
        text = "a table"
    elif isinstance(value, list):
        text = "[" + ", ".join(show(item) for item in value) + "]"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known(key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key, names, 1, cutoff=0.7)
    hint = f"{_name(near[0])} (did you mean this?), or another of " if near else ""
    return f"{hint}{', '.join(map(_name, sorted(names)))}"


def _name(name: str) -> str:
    """A name among others: operators give some of them."""
    return name if _PLAIN.fullmatch(name) else quote(name)


# --- what one value cannot tell -----------------------------------------------------------------------------------


def _check_together(config: Config) -> Iterator[Problem]:
    yield from _check_server(config)
    yield from _check_listen(config)
    yield from _check_webirc(config)
    yield from _check_sts(config)
    yield from _check_opers(config)
    yield from _networks("throttle.exempt", config.throttle.exempt)
    yield from _check_metadata(config)
    for entry in config.limits.client_tags_denied:
        if not ENTRY.fullmatch(entry):
            yield Problem("limits.client_tags_denied", show(entry), "*, a tag's name without its +, or -NAME")
    yield from _check_admin(config)
    yield from _check_webhooks(config)
    yield from _check_retention(config)
    yield from _check_plugins(config)
    if config.accounts.require_email and not config.mail.enabled:
        yield Problem("accounts.require_email", "true", "true only where [mail] says how mail is sent")


def _check_server(config: Config) -> Iterator[Problem]:
    if not valid_server_name(config.server.name):
        yield Problem("server.name", show(config.server.name), "a host name with a dot, such as irc.example.org")
    if not is_usable(config.server.encoding):
        allowed = "utf-8, bytes, or an encoding that Python knows and in which ASCII is ASCII, such as windows-1252"
        yield Problem("server.encoding", show(config.server.encoding), allowed)
    services = config.server.services_name
    if services and (not valid_server_name(services) or services.lower() == config.server.name.lower()):
        yield Problem("server.services_name", show(services), "empty, or another host name with a dot")


def _check_metadata(config: Config) -> Iterator[Problem]:
    limits = config.limits
    names = len(config.server.name) + limits.nicklen + max(limits.nicklen, limits.channellen)
    room = MAX_BODY - len(":  761    *  :\r\n") - names - MAX_METADATA_KEY
    if limits.metadata_value_bytes > room:
        allowed = f"at most {room}, so that key and value fit into a line with names as long as the limits allow"
        yield Problem("limits.metadata_value_bytes", show(limits.metadata_value_bytes), allowed)


def _check_listen(config: Config) -> Iterator[Problem]:
    for index, listen in enumerate(config.listen):
        at = f"listen[{index}]"
        if (listen.endpoint is None) == (listen.port is None):
            found = "neither" if listen.port is None else "both"
            yield Problem(at, f"{found} of `port` and `endpoint`", "exactly one of them")
        if (listen.certificate is None) != (listen.private_key is None):
            yield Problem(at, "one of `certificate` and `private_key`", "both or none")
        if listen.certificate is not None and not listen.tls and listen.endpoint is None:
            yield Problem(f"{at}.certificate", show(listen.certificate), "a certificate only where `tls = true`")
        yield from _networks(f"{at}.proxies", listen.proxies)
        yield from _networks(f"{at}.forwarded_from", listen.forwarded_from)
        if listen.forwarded_from and not listen.websocket:
            yield Problem(f"{at}.forwarded_from", show(listen.forwarded_from), "only where `websocket = true`")


def _check_webirc(config: Config) -> Iterator[Problem]:
    for index, gateway in enumerate(config.webirc):
        at = f"webirc[{index}]"
        yield from _networks(f"{at}.hosts", gateway.hosts)
        if not gateway.hosts:
            yield Problem(f"{at}.hosts", "nothing", "the networks that the gateway connects from")
        if gateway.password_hash is None and not gateway.certfp:
            yield Problem(at, "neither `password_hash` nor `certfp`", "at least one of them")
        yield from _fingerprints(f"{at}.certfp", gateway.certfp)


def _check_sts(config: Config) -> Iterator[Problem]:
    listeners = config.listen or DEFAULT_LISTEN
    if config.sts.enabled and not any(
        not listen.websocket and (listen.tls or (listen.endpoint or "").startswith(("ssl:", "tls:", "haproxy:ssl:")))
        for listen in listeners
    ):
        yield Problem("sts.enabled", "true", "true only where a listener that speaks IRC has TLS")


def _check_admin(config: Config) -> Iterator[Problem]:
    admin = config.admin
    try:
        loopback = ip_address(admin.address).is_loopback
    except ValueError:
        yield Problem("admin.address", show(admin.address), "an IP address such as 127.0.0.1")
        return
    if not loopback and not admin.tls and not admin.plain_http_in_public:
        allowed = (
            "a loopback address, or admin.tls = true, or admin.plain_http_in_public = true behind a proxy with TLS"
        )
        yield Problem("admin.address", show(admin.address), allowed)
    if (admin.certificate is None) != (admin.private_key is None):
        yield Problem("admin", "one of `certificate` and `private_key`", "both or none")
    if admin.certificate is not None and not admin.tls:
        yield Problem("admin.certificate", show(admin.certificate), "a certificate only where `admin.tls = true`")
    for name, user in admin.users.items():
        if user.password_hash is None:
            yield Problem(
                f"admin.users.{quote_key(name)}.password_hash", "nothing", "a hash made by `slircd hash-password`"
            )


def _check_webhooks(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, hook in enumerate(config.webhooks):
        at = f"webhooks[{index}]"
        if hook.name in seen:
            yield Problem(f"{at}.name", show(hook.name), "a name that no other webhook has")
        seen.add(hook.name)
        if not hook.url.startswith(("https://", "http://")):
            yield Problem(f"{at}.url", show(hook.url), "a URL of the form https://HOST/PATH")
        if not hook.secret_file and hook.format == "events":
            yield Problem(f"{at}.secret_file", "nothing", "a file with the secret that signs the requests")
        for name in hook.types:
            family = name.removesuffix("*")
            if name not in EVENT_TYPES and not (
                name.endswith(".*") and any(each.startswith(family) for each in EVENT_TYPES)
            ):
                yield Problem(
                    f"{at}.types",
                    show(name),
                    f"a type of event, or a family such as channel.*: {_known(name, list(EVENT_TYPES))}",
                )


def _check_retention(config: Config) -> Iterator[Problem]:
    free = [name for name, cls in EVENT_TYPES.items() if cls.state_free]
    names = sorted({*free, *(f"{name.partition('.')[0]}.*" for name in free)})
    for name in config.retention.families:
        if name not in names:
            yield Problem(f"retention.families.{quote_key(name)}", "a name that is none", _known(name, names))


def _check_plugins(config: Config) -> Iterator[Problem]:
    for key in ("autoload", "native", "http_private"):
        for name in getattr(config.plugins, key):
            if not valid_plugin_name(name):
                yield Problem(f"plugins.{key}", show(name), "names of at most 32 letters, digits, - and _")
    for name, capabilities in config.plugins.grants.items():
        for capability in capabilities:
            if capability not in CAPABILITIES:
                yield Problem(
                    f"plugins.grants.{quote_key(name)}", show(capability), _known(capability, list(CAPABILITIES))
                )


def _check_opers(config: Config) -> Iterator[Problem]:
    classes = config.all_classes
    for name, oper in config.opers.items():
        at = f"opers.{quote_key(name)}"
        if oper.oper_class not in classes:
            yield Problem(f"{at}.class", show(oper.oper_class), f"a class: {_known(oper.oper_class, list(classes))}")
        if oper.password_hash is None and not oper.certfp:
            yield Problem(at, "neither `password_hash` nor `certfp`", "at least one of them")
        if oper.vhost is not None and not valid_host(oper.vhost):
            yield Problem(f"{at}.vhost", show(oper.vhost), "a host of at most 63 characters with a dot, colon or slash")
        yield from _fingerprints(f"{at}.certfp", oper.certfp)
    for name, oper_class in config.oper_classes.items():
        at = f"oper_classes.{quote_key(name)}"
        for privilege in oper_class.privileges:
            if privilege not in PRIVILEGES:
                yield Problem(f"{at}.privileges", show(privilege), _known(privilege, list(PRIVILEGES)))
        for parent in oper_class.inherits:
            if parent not in classes:
                yield Problem(f"{at}.inherits", show(parent), f"a class: {_known(parent, list(classes))}")
            elif _inherits(parent, name, lambda current: classes[current].inherits if current in classes else []):
                yield Problem(f"{at}.inherits", show(parent), "a class that does not inherit this one")


def _fingerprints(key: str, fingerprints: list[str]) -> Iterator[Problem]:
    for fingerprint in fingerprints:
        if len(fingerprint) != 64 or fingerprint.strip("0123456789abcdef"):
            yield Problem(key, show(fingerprint), "64 lower-case hexadecimal digits (SHA-256)")


def _inherits(start: str, wanted: str, parents: Callable[[str], list[str]]) -> bool:
    seen: set[str] = set()
    pending = [start]
    while pending:
        current = pending.pop()
        if current == wanted:
            return True
        if current not in seen:
            seen.add(current)
            pending.extend(parents(current))
    return False


def _networks(key: str, networks: list[str]) -> Iterator[Problem]:
    for text in networks:
        try:
            ip_network(text)
        except ValueError:
            yield Problem(key, show(text), 'networks such as "192.0.2.0/24" or "2001:db8::/32"')


def to_plain(config: Config) -> Mapping[str, Any]:
    """The configuration as plain values, with secrets masked, for `slircd config show`."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for table in (plain["server"], *plain["webirc"], *plain["opers"].values(), *plain["admin"]["users"].values()):
        if table.get("password_hash"):
            table["password_hash"] = MASKED
    url = plain["database"]["url"]
    head, at, tail = url.rpartition("@")
    if at and ":" in head.partition("://")[2]:
        scheme, _, login = head.partition("://")
        plain["database"]["url"] = f"{scheme}://{login.partition(':')[0]}:{MASKED}@{tail}"
    return plain
