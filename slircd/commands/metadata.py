"""METADATA: keys and values on users and channels (IRCv3 draft/metadata-2, and its revision draft/metadata-3).

The two drafts have the same command.  They differ in what clients are told: of changes by a METADATA line, or by the
numerics that answer questions; and in the codes of errors.  What a client has negotiated decides, the newer draft
where it is both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from slircd.commands.registry import Context, Phase, command
from slircd.rules.lookup import sees_member
from slircd.rules.metadata import (
    Owner,
    check_room,
    check_value,
    decide_clear,
    decide_set,
    fail,
    invalid_key,
    may_read,
    name_of,
    no_permission,
    owner_named,
)
from slircd.state.model import Channel, User
from slircd.wire.capabilities import BATCH, METADATA, METADATA_3
from slircd.wire.line import Line
from slircd.wire.message import wrap
from slircd.wire.names import MAX_METADATA_KEY, valid_metadata_key
from slircd.wire.numerics import (
    ERR_NEEDMOREPARAMS,
    ERR_NOTREGISTERED,
    RPL_KEYNOTSET,
    RPL_KEYVALUE,
    RPL_METADATASUBOK,
    RPL_METADATASUBS,
    RPL_METADATASYNCLATER,
    RPL_METADATAUNSUBOK,
    NumericError,
    StandardReply,
)

if TYPE_CHECKING:
    from slircd.config.sections import Limits
    from slircd.network.server import IRCServer
    from slircd.network.session import Session

BOTH: Final = METADATA | METADATA_3
ROOM: Final = 300
"""Bytes of keys in one line."""

EVERYTHING: Final = "*ALL"
"""The target that stands for all that a client hears of."""

AT_ONCE: Final = 200
"""Values that are sent unasked when somebody joins; more have to be asked for (SYNC)."""

WINDOW_S: Final = 60
"""Seconds in which a client may make limits.metadata_changes changes: each is an event, and told to many."""

_OLD_CODES: Final = {
    "INVALID_KEY": ("KEY_INVALID", 1),
    "INVALID_VALUE": ("VALUE_INVALID", 0),
    "INVALID_PARAMS": ("SUBCOMMAND_INVALID", 1),
    "LIMIT_REACHED": ("LIMIT_REACHED", 1),
}
"""Codes of metadata-3, what metadata-2 calls them, and with how many parameters."""

Send = Callable[[Line], None]
Value = tuple[str, str, str]
"""Name of user or channel, key, value."""


def capability_value(limits: Limits) -> str:
    """The limits, as CAP LS shows them."""
    return (
        f"before-connect,max-subs={limits.metadata_subs},max-keys={limits.metadata_keys},"
        f"max-key-bytes={MAX_METADATA_KEY},max-value-bytes={limits.metadata_value_bytes}"
    )


# --- what clients are told ----------------------------------------------------------------------------------------


def metadata_line(server: IRCServer, session: Session, name: str, key: str, value: str, source: str = "") -> Line:
    """What a client is told of a key: that it was set, by `source`, or has a value, or (empty value) was removed."""
    head = f":{server.server_name} %s {session.display_nick} {name} {key}"
    if session.caps & METADATA_3:
        body = f"{head % RPL_KEYVALUE.code} * :{value}" if value else f"{head % RPL_KEYNOTSET.code} :Key removed"
    else:
        # A removed key is shown without a value.
        body = f":{source or server.server_name} METADATA {name} {key} *" + (f" :{value}" if value else "")
    return Line(body, timestamp=server.timestamp())


def _is_aware(session: Session) -> bool:
    return bool(session.caps & BOTH and session.caps & BATCH)


def _send_batch(server: IRCServer, session: Session, target: str, values: Iterable[Value], send: Send) -> None:
    reference = session.next_batch()
    send(Line(f":{server.server_name} BATCH +{reference} metadata {target}"))
    for name, key, value in values:
        line = metadata_line(server, session, name, key, value)
        send(Line(line.body, timestamp=line.timestamp, server_tags={"batch": reference}))
    send(Line(f":{server.server_name} BATCH -{reference}"))


def _followed(session: Session, owner: Owner) -> Iterator[Value]:
    """What a client that follows some keys is to know of a user or a channel."""
    values = owner.metadata
    if values:
        for key in session.followed:
            if key in values:
                yield name_of(owner), key, values[key]


def _of_channel(server: IRCServer, session: Session, channel: Channel) -> Iterator[Value]:
    yield from _followed(session, channel)
    if session.followed:
        for user in _seen_members(server, session, channel):
            yield from _followed(session, user)


def _seen_members(server: IRCServer, session: Session, channel: Channel) -> Iterator[User]:
    """The members that NAMES shows: a list of who has some key is a list of who is there."""
    sees_hidden = server.has_privilege(session, "see-hidden")
    for uid in channel.members:
        user = server.state.users[uid]
        if sees_member(channel, session.uid, user, sees_hidden=sees_hidden):
            yield user


def _of_everything(server: IRCServer, session: Session) -> Iterator[Value]:
    state = server.state
    uids = {session.uid: None}
    for channel in state.channels_of(session.uid):
        yield from _followed(session, channel)
        uids.update((user.uid, None) for user in _seen_members(server, session, channel))
    for nick in session.monitored.values():
        user = state.user_by_nick(nick)
        if user is not None:
            uids[user.uid] = None
    for uid in uids:
        yield from _followed(session, state.users[uid])


def sync_joined(server: IRCServer, session: Session, channel: Channel, send: Send) -> None:
    """What a client that knows metadata is told when it has joined a channel."""
    if not _is_aware(session):
        return
    values = list(_of_channel(server, session, channel))
    if len(values) > AT_ONCE:
        code, nick = RPL_METADATASYNCLATER.code, session.display_nick
        send(Line(f":{server.server_name} {code} {nick} {channel.name} 1 :{RPL_METADATASYNCLATER.text}"))
    elif values or session.caps & METADATA_3:
        _send_batch(server, session, channel.name, values, send)


def sync_user(server: IRCServer, session: Session, user: User, send: Send) -> None:
    """What a client that knows metadata is told of a user that it watches, when that one is online."""
    if _is_aware(session):
        values = list(_followed(session, user))
        if values or session.caps & METADATA_3:
            _send_batch(server, session, user.nick, values, send)


def send_own_metadata(ctx: Context) -> None:
    """What a client that knows metadata is told of itself in its welcome."""
    if _is_aware(ctx.session):
        nick = ctx.nick
        values = [(nick, key, value) for key, value in ctx.user.metadata.items()]
        _send_batch(ctx.server, ctx.session, nick, values, ctx.send)


# --- the command --------------------------------------------------------------------------------------------------


@command("METADATA", params=1, phase=Phase.ANY)
async def metadata(ctx: Context, target: str, subcommand: str = "", *params: str) -> None:
    """METADATA <target> GET|SET|LIST|CLEAR|SUB|UNSUB|SUBS|SYNC [<parameters>]  (IRCv3 draft/metadata-3)

    Reads and sets keys and values on users (* is oneself) and channels, and follows their changes.
    """
    if not ctx.session.is_registered and not ctx.caps & BOTH:
        raise NumericError(ERR_NOTREGISTERED)
    verb = subcommand.upper()
    try:
        if verb not in SUBCOMMANDS:
            shown = subcommand if subcommand and " " not in subcommand and subcommand[0] != ":" else "*"
            raise fail("INVALID_PARAMS", shown[:32], text="There is no such subcommand")
        least, handler = SUBCOMMANDS[verb]
        if len(params) < least:
            raise NumericError(ERR_NEEDMOREPARAMS, "METADATA")
        pending = handler(ctx, target, params)
        if pending is not None:
            await pending
    except StandardReply as error:
        raise _worded(ctx, error) from None


def _worded(ctx: Context, error: StandardReply) -> StandardReply:
    """The error, in the words of the draft that the client knows."""
    if ctx.caps & METADATA_3 or not ctx.caps & METADATA:
        return error
    code, count = _OLD_CODES.get(error.code, (error.code, len(error.context)))
    return StandardReply("FAIL", code, *error.context[:count], text=error.text, command="METADATA", always=True)


def _warn(ctx: Context, error: StandardReply) -> None:
    ctx.refuse(_worded(ctx, error))


def _override(ctx: Context) -> bool:
    return ctx.has_privilege("metadata")


def _owner(ctx: Context, target: str) -> Owner:
    """Whose metadata is meant; a client that is no user yet has none but its own."""
    sees_hidden = _override(ctx) or ctx.has_privilege("see-hidden")
    return owner_named(ctx.state, ctx.uid, target, override=sees_hidden)


def _values(ctx: Context, target: str) -> tuple[str, dict[str, str]]:
    """The name to answer with, and the metadata; raises StandardReply where the client may not read it."""
    registration = ctx.session.registration
    if registration is not None:
        if target != "*":
            raise no_permission(target, "*")
        return "*", registration.metadata
    owner = _owner(ctx, target)
    if not may_read(owner, ctx.uid) and not _override(ctx):
        raise no_permission(name_of(owner), "*")
    return name_of(owner), owner.metadata


def _get(ctx: Context, target: str, keys: tuple[str, ...]) -> None:
    name, values = _values(ctx, target)
    with ctx.batch("metadata", name):
        for key in keys:
            if not valid_metadata_key(key):
                _warn(ctx, invalid_key(key, "WARN"))
            elif key in values:
                ctx.reply(RPL_KEYVALUE, name, key, "*", text=values[key])
            else:
                ctx.reply(RPL_KEYNOTSET, name, key)


def _list(ctx: Context, target: str, _: tuple[str, ...]) -> None:
    name, values = _values(ctx, target)
    with ctx.batch("metadata", name):
        for key, value in sorted(values.items()):
            ctx.reply(RPL_KEYVALUE, name, key, "*", text=value)


def _check_rate(ctx: Context, name: str, key: str) -> None:
    """Raise RATE_LIMITED, with the seconds until the next change is taken, or count this one."""
    session, most = ctx.session, ctx.config.limits.metadata_changes
    if ctx.has_privilege("flood-exempt"):
        return
    now = ctx.server.reactor.seconds()
    if session.metadata_changes is None:
        session.metadata_changes = deque()
    recent = session.metadata_changes
    while recent and recent[0] <= now - WINDOW_S:
        recent.popleft()
    if len(recent) >= most:
        wait_s = max(1, ceil(recent[len(recent) - most] + WINDOW_S - now))
        raise fail("RATE_LIMITED", name, key, str(wait_s), text=f"At most {most} changes a minute")
    recent.append(now)


async def _set(ctx: Context, target: str, params: tuple[str, ...]) -> None:
    key, value = params[0], params[1] if len(params) > 1 else ""
    limits, registration = ctx.config.limits, ctx.session.registration
    if registration is not None:
        name, values = _values(ctx, target)
        if not valid_metadata_key(key):
            raise invalid_key(key)
        if value:
            check_value(key, value, limits.metadata_value_bytes)
            check_room(values, name, key, limits.metadata_keys)
        if value != values.get(key, ""):
            _check_rate(ctx, name, key)
        if value:
            values[key] = value
        else:
            values.pop(key, None)
    else:
        owner = _owner(ctx, target)
        name = name_of(owner)
        if not value and key not in owner.metadata and not ctx.caps & METADATA_3 and valid_metadata_key(key):
            raise fail("KEY_NOT_SET", name, key, text="The key is not set")
        decision = list(
            decide_set(
                ctx.state,
                ctx.uid,
                owner,
                key,
                value,
                max_keys=limits.metadata_keys,
                max_bytes=limits.metadata_value_bytes,
                override=_override(ctx),
            )
        )
        if decision:
            _check_rate(ctx, name, key)
        await ctx.emit(decision)
    if value:
        ctx.reply(RPL_KEYVALUE, name, key, "*", text=value)
    else:
        ctx.reply(RPL_KEYNOTSET, name, key)


async def _clear(ctx: Context, target: str, _: tuple[str, ...]) -> None:
    registration = ctx.session.registration
    if registration is not None:
        name, values = _values(ctx, target)
        keys = sorted(values)
        values.clear()
    else:
        owner = _owner(ctx, target)
        name, keys = name_of(owner), sorted(owner.metadata)
        await ctx.emit(decide_clear(ctx.state, ctx.uid, owner, override=_override(ctx)))
    with ctx.batch("metadata", name):
        for key in keys:
            ctx.reply(RPL_KEYNOTSET, name, key)


def _require_itself(ctx: Context, target: str) -> None:
    if target != "*" and ctx.state.fold(target) != ctx.state.fold(ctx.nick):
        raise fail("INVALID_TARGET", target[:64], text="Subscriptions are your own: *")


def _sub(ctx: Context, target: str, keys: tuple[str, ...]) -> None:
    _require_itself(ctx, target)
    session, most = ctx.session, ctx.config.limits.metadata_subs
    accepted: list[str] = []
    new: list[str] = []
    refused: StandardReply | None = None
    for key in keys:
        if not valid_metadata_key(key):
            _warn(ctx, invalid_key(key, "WARN"))
            continue
        if key not in session.followed and len(session.followed) >= most:
            code, context = ("LIMIT_REACHED", (key, str(most))) if ctx.caps & METADATA_3 else ("TOO_MANY_SUBS", (key,))
            refused = fail(code, *context, text=f"At most {most} subscriptions")
            break
        if key not in session.followed:
            new.append(key)
        session.followed[key] = None
        accepted.append(key)
    for text in wrap(accepted, ROOM):
        ctx.reply(RPL_METADATASUBOK, text)
    if refused is not None:
        _warn(ctx, refused)
    if new and session.is_registered and ctx.caps & METADATA_3:
        ctx.reply(RPL_METADATASYNCLATER, EVERYTHING, 0)
    elif new and session.is_registered and _is_aware(session):
        values = [value for value in _of_everything(ctx.server, session) if value[1] in new]
        if values:
            _send_batch(ctx.server, session, "*", values, ctx.send)


def _unsub(ctx: Context, target: str, keys: tuple[str, ...]) -> None:
    _require_itself(ctx, target)
    removed: list[str] = []
    for key in keys:
        if valid_metadata_key(key):
            ctx.session.followed.pop(key, None)
            removed.append(key)
        else:
            _warn(ctx, invalid_key(key, "WARN"))
    for text in wrap(dict.fromkeys(removed), ROOM):
        ctx.reply(RPL_METADATAUNSUBOK, text)


def _subs(ctx: Context, target: str, _: tuple[str, ...]) -> None:
    _require_itself(ctx, target)
    with ctx.batch("metadata-subs"):
        for text in wrap(ctx.session.followed, ROOM):
            ctx.reply(RPL_METADATASUBS, text)


def _sync(ctx: Context, target: str, _: tuple[str, ...]) -> None:
    server, session = ctx.server, ctx.session
    if not session.is_registered:
        ctx.reply(RPL_METADATASYNCLATER, "*", 1)
        return
    if target.upper() == EVERYTHING:
        values, name = _of_everything(server, session), EVERYTHING
    else:
        name, _known = _values(ctx, target)
        owner = _owner(ctx, target)
        values = _of_channel(server, session, owner) if isinstance(owner, Channel) else _followed(session, owner)
    with ctx.batch("metadata", name):
        for each in values:
            ctx.send(metadata_line(server, session, *each))


Subcommand = Callable[[Context, str, tuple[str, ...]], Coroutine[Any, Any, None] | None]

SUBCOMMANDS: Final[dict[str, tuple[int, Subcommand]]] = {
    "GET": (1, _get),
    "SET": (1, _set),
    "LIST": (0, _list),
    "CLEAR": (0, _clear),
    "SUB": (1, _sub),
    "UNSUB": (1, _unsub),
    "SUBS": (0, _subs),
    "SYNC": (0, _sync),
}
"""Name to the least number of parameters, and what runs it."""
