"""What each text of an event and of the state is, as far as people are concerned.

A field is found by its name, or by class and name where the name alone does not say it.  One that nobody has listed
counts as DATA, whose words are searched, so what is new is covered before somebody thinks of it; a test demands all the
same that every text of every event class and every struct of the state is listed here.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cache
from typing import Any, Final, NamedTuple, get_args, get_origin

import msgspec


class Kind(Enum):
    """What a text is."""

    PLAIN = auto()
    """Nobody's: letters of modes, timestamps, words of a closed vocabulary."""
    PLACE = auto()
    """A channel's name.  Channels are places, not people."""
    UID = auto()
    """A UID, which means nobody when the events that say whose it is do not."""
    TARGET = auto()
    """The columns actor_uid and target: a UID, a channel, an account, a mask, a word."""
    NICK = auto()
    ACCOUNT = auto()
    USERNAME = auto()
    HOST = auto()
    """A host name or an address, cloaked or real."""
    REALNAME = auto()
    FINGERPRINT = auto()
    SOURCE = auto()
    """nick!user@host, or a nick."""
    MASK = auto()
    TEXT = auto()
    """What somebody wrote: all of it is the author's, and it may name others."""
    DATA = auto()
    """Anything else: its words are searched."""


class Spec(NamedTuple):
    """A text's kind, and the field beside it that says whose it is: a UID, or for TEXT the author's nick!user@host."""

    kind: Kind
    of: str | None = None


P: Final = Spec(Kind.PLAIN)

BY_NAME: Final[dict[str, Spec]] = {
    **dict.fromkeys(
        [
            "action",
            "added",
            "at",
            "casemapping",
            "channel_modes",
            "expires",
            "flags",
            "method",
            "mode",
            "modes",
            "horizon",
            "msgid",
            "what",
            "named_at",
            "read",
            "node",
            "number",
            "oper_class",
            "prefixes",
            "secure",
            "setting",
            "sign",
            "v",
            "verified",
            "version",
            "connected_at",
            "detached_at",
            "nick_at",
            "registered_at",
            "set_at",
            "created_at",
            "since",
            "snomask",
            "sequence",
            "timestamp",
            "uid_counters",
            "by",
        ],
        P,
    ),
    "actor_uid": Spec(Kind.TARGET),
    "target": Spec(Kind.TARGET),
    "uid": Spec(Kind.UID),
    "member_uid": Spec(Kind.UID),
    "nick": Spec(Kind.NICK, "actor_uid"),
    "member": Spec(Kind.NICK, "member_uid"),
    "new_nick": Spec(Kind.NICK, "target"),
    "param": Spec(Kind.NICK, "uid"),
    "grouped": Spec(Kind.NICK),
    "to": Spec(Kind.NICK, "recipient_uid"),
    "recipient_uid": Spec(Kind.UID),
    "relayed_by": Spec(Kind.NICK),
    "redacted_by": Spec(Kind.NICK),
    "source": Spec(Kind.SOURCE),
    "tags": Spec(Kind.TEXT),
    "account": Spec(Kind.ACCOUNT),
    "founder": Spec(Kind.ACCOUNT),
    "username": Spec(Kind.USERNAME, "target"),
    "previous_username": Spec(Kind.USERNAME, "target"),
    "host": Spec(Kind.HOST, "target"),
    "previous_host": Spec(Kind.HOST, "target"),
    "real_host": Spec(Kind.HOST, "target"),
    "ip": Spec(Kind.HOST, "target"),
    "realname": Spec(Kind.REALNAME, "target"),
    "certfp": Spec(Kind.FINGERPRINT, "target"),
    "fingerprint": Spec(Kind.FINGERPRINT),
    "set_by": Spec(Kind.SOURCE),
    "mask": Spec(Kind.MASK),
    "entry": Spec(Kind.MASK),
    "message": Spec(Kind.TEXT),
    "text": Spec(Kind.TEXT),
    "reason": Spec(Kind.TEXT),
    "private_reason": Spec(Kind.TEXT, "set_by"),
    "topic": Spec(Kind.TEXT, "set_by"),
    "previous": Spec(Kind.DATA),
    "arguments": Spec(Kind.DATA),
    "value": Spec(Kind.DATA),
    "pattern": Spec(Kind.DATA),
    "oper": Spec(Kind.DATA),
    "name": Spec(Kind.PLACE),
    "new_name": Spec(Kind.PLACE),
    "channel": Spec(Kind.PLACE),
    "channels": P,
}

BY_CLASS: Final[dict[tuple[str, str], Spec]] = {
    ("ServerStart", "name"): P,
    ("ServerStop", "name"): P,
    ("ServerStop", "reason"): Spec(Kind.DATA),
    ("UserRealnameChange", "previous"): Spec(Kind.REALNAME, "target"),
    ("ChanFlags", "previous"): P,
    # The state keeps this nick without a UID, so it may only be found by its text.
    ("ChanFlags", "nick"): Spec(Kind.NICK),
    ("ChanFlags", "reason"): Spec(Kind.TEXT, "nick"),
    ("OperKill", "member"): Spec(Kind.NICK, "target"),
    ("User", "nick"): Spec(Kind.NICK, "uid"),
    ("User", "username"): Spec(Kind.USERNAME, "uid"),
    ("User", "host"): Spec(Kind.HOST, "uid"),
    ("User", "real_host"): Spec(Kind.HOST, "uid"),
    ("User", "ip"): Spec(Kind.HOST, "uid"),
    ("User", "realname"): Spec(Kind.REALNAME, "uid"),
    ("User", "certfp"): Spec(Kind.FINGERPRINT, "uid"),
    ("User", "away"): Spec(Kind.TEXT, "uid"),
    ("Topic", "text"): Spec(Kind.TEXT, "set_by"),
    ("Account", "key"): Spec(Kind.ACCOUNT),
    ("Account", "name"): Spec(Kind.ACCOUNT),
    ("Account", "nicks"): Spec(Kind.NICK),
    ("Account", "certfps"): P,
    ("Account", "settings"): Spec(Kind.DATA),
    ("Account", "read_markers"): P,
    ("AccountReadMarker", "name"): Spec(Kind.NICK),
    ("Access", "reason"): Spec(Kind.TEXT, "set_by"),
    ("Registration", "settings"): Spec(Kind.DATA),
    ("NetworkBan", "reason"): Spec(Kind.TEXT, "set_by"),
    ("Filter", "reason"): Spec(Kind.TEXT, "set_by"),
    ("FilterAdd", "reason"): Spec(Kind.TEXT, "set_by"),
    ("AdminAction", "arguments"): Spec(Kind.DATA),
    ("PluginLoad", "capabilities"): P,
    ("PluginFault", "kind"): P,
    ("PluginFault", "text"): Spec(Kind.DATA),
    ("PluginStore", "target"): P,
    ("PluginStore", "values"): Spec(Kind.DATA),
    ("PluginStore", "removed"): Spec(Kind.DATA),
    ("Snapshot", "storage"): Spec(Kind.DATA),
    ("User", "metadata"): Spec(Kind.TEXT, "uid"),
    ("MetadataSet", "name"): Spec(Kind.NICK, "target"),
    ("MetadataSet", "key"): Spec(Kind.DATA),
    ("MetadataSet", "value"): Spec(Kind.TEXT, "target"),
    ("MetadataSet", "previous"): Spec(Kind.TEXT, "target"),
    ("Channel", "metadata"): Spec(Kind.DATA),
    ("Channel", "key"): Spec(Kind.PLACE),
    ("FormerName", "key"): Spec(Kind.PLACE),
    ("Channel", "flags"): P,
    ("Channel", "params"): Spec(Kind.DATA),
    ("Channel", "members"): P,
    ("Channel", "invites"): P,
    ("Channel", "opened_to"): Spec(Kind.UID),
}

KEYS: Final[dict[tuple[str, str], tuple[Kind, ...]]] = {
    ("AdminAction", "arguments"): (Kind.PLAIN,),
    ("UserDisconnect", "channels"): (Kind.PLACE,),
    ("PluginStore", "values"): (Kind.DATA,),
    ("Snapshot", "storage"): (Kind.PLAIN, Kind.DATA),
    ("Message", "tags"): (Kind.DATA,),
    ("Account", "read_markers"): (Kind.NICK,),
    ("User", "metadata"): (Kind.DATA,),
    ("Channel", "metadata"): (Kind.DATA,),
    ("Account", "nicks"): (Kind.NICK,),
    ("Account", "certfps"): (Kind.FINGERPRINT,),
    ("Account", "settings"): (Kind.PLAIN,),
    ("Registration", "access"): (Kind.MASK,),
    ("Registration", "settings"): (Kind.PLAIN,),
    ("Channel", "params"): (Kind.PLAIN,),
    ("Channel", "members"): (Kind.UID,),
    ("Channel", "lists"): (Kind.PLAIN, Kind.MASK),
    ("Channel", "invites"): (Kind.UID,),
    ("Snapshot", "uid_counters"): (Kind.PLAIN,),
    ("Snapshot", "users"): (Kind.UID,),
    ("Snapshot", "channels"): (Kind.PLACE,),
    ("Snapshot", "accounts"): (Kind.ACCOUNT,),
    ("Snapshot", "bans"): (Kind.PLAIN, Kind.MASK),
    ("Snapshot", "filters"): (Kind.DATA,),
}
"""What the keys of a dict are, level by level; those that are not listed are DATA."""


class Part(NamedTuple):
    """A field of a struct that may hold text, and what it is."""

    name: str
    kind: Kind
    of: str | None
    keys: tuple[Kind, ...]
    listed: bool
    """Whether it stands above."""


@cache
def parts_of(cls: type[msgspec.Struct]) -> tuple[Part, ...]:
    """The fields of a struct that may hold text."""
    return tuple(_parts(cls))


def _parts(cls: type[msgspec.Struct]) -> list[Part]:
    found: list[Part] = []
    in_user_family = str(getattr(cls, "event_type", "")).startswith("user.")
    for field in msgspec.structs.fields(cls):
        if not may_hold_text(field.type):
            continue
        names = [base.__name__ for base in cls.__mro__]
        spec = next((BY_CLASS[name, field.name] for name in names if (name, field.name) in BY_CLASS), None)
        if spec is None:
            spec = BY_NAME.get(field.name)
        keys = next((KEYS[name, field.name] for name in names if (name, field.name) in KEYS), None)
        listed = spec is not None or not _has_own_text(field.type)
        listed = listed and (keys is not None or not _is_dict(field.type))
        kind, of = spec or Spec(Kind.DATA)
        if in_user_family and of == "actor_uid":
            of = "target"  # the nick is that of the user whom it happened to, whoever caused it
        if of not in cls.__struct_fields__:
            of = None
        found.append(Part(field.name, kind, of, keys or (Kind.DATA,), listed))
    return found


def may_hold_text(hint: Any) -> bool:
    """Whether a value of this type can hold text somewhere."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return not issubclass(hint, bool | int | float)
    return any(may_hold_text(each) for each in get_args(hint) if each is not type(None))


def _has_own_text(hint: Any) -> bool:
    """Whether there is text in it that is not in a struct, which says itself what it is."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return may_hold_text(hint) and not issubclass(hint, msgspec.Struct)
    leaves = get_args(hint)[1:] if get_origin(hint) is dict else get_args(hint)
    return any(_has_own_text(each) for each in leaves if each is not type(None))


def _is_dict(hint: Any) -> bool:
    return get_origin(hint) is dict or any(_is_dict(each) for each in get_args(hint))
