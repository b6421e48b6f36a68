"""What a client is told of a channel's members and topic: on joining, and when it asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from slircd.commands.markers import marker_of
from slircd.events.clock import parse_timestamp
from slircd.rules.lookup import may_see_channel, sees_member
from slircd.state.model import Channel
from slircd.wire.capabilities import MULTI_PREFIX, NO_IMPLICIT_NAMES, READ_MARKER, SERVER_TIME, USERHOST_IN_NAMES
from slircd.wire.line import Line
from slircd.wire.message import MAX_BODY, wrap
from slircd.wire.modes import CHANNEL_MODES
from slircd.wire.numerics import (
    RPL_ENDOFNAMES,
    RPL_NAMREPLY,
    RPL_TOPIC,
    RPL_TOPICWHOTIME,
)

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.network.session import Session

Send = Callable[[Line], None]

AT_ONCE: Final = 200
"""Members that are named as soon as somebody asks."""

NAMES_PIECE: Final = 1_000
"""Members that are named in one turn of the reactor: about a millisecond."""


def names_lines(server: IRCServer, session: Session, channel: Channel, uids: Iterable[str]) -> list[str]:
    """The bodies of RPL_NAMREPLY for members of one channel, as `session` may see them."""
    state = server.state
    caps = session.caps
    multi = bool(caps & MULTI_PREFIX)
    hosts = caps & USERHOST_IN_NAMES
    sees_hidden = server.has_privilege(session, "see-hidden")
    plain = "u" not in channel.flags and session.uid in channel.members
    words: list[str] = []
    for uid in uids:
        modes = channel.members.get(uid)
        if modes is None:
            continue  # gone meanwhile
        user = state.users[uid]
        if plain or sees_member(channel, session.uid, user, sees_hidden=sees_hidden):
            symbols = CHANNEL_MODES.symbols(modes, multi) if modes else ""
            words.append(symbols + (user.source if hosts else user.nick))
    kind = "@" if "s" in channel.flags else "*" if "p" in channel.flags else "="
    head = f":{server.server_name} {RPL_NAMREPLY.code} {session.display_nick} {kind} {channel.name} :"
    room = MAX_BODY - 2 - len(head.encode())
    return [head + text for text in wrap(words, room)]


def end_of_names(server: IRCServer, session: Session, name: str) -> str:
    """The body of RPL_ENDOFNAMES for channels, or for names that are none."""
    return f":{server.server_name} {RPL_ENDOFNAMES.code} {session.display_nick} {name} :{RPL_ENDOFNAMES.text}"


def topic_lines(server: IRCServer, session: Session, channel: Channel) -> list[str]:
    """The bodies of RPL_TOPIC and RPL_TOPICWHOTIME; none if there is no topic."""
    if channel.topic is None:
        return []
    head = f":{server.server_name} %s {session.display_nick} {channel.name}"
    set_at = int(parse_timestamp(channel.topic.set_at))
    return [
        f"{head % RPL_TOPIC.code} :{channel.topic.text}",
        f"{head % RPL_TOPICWHOTIME.code} {channel.topic.set_by} {set_at}",
    ]


async def send_names(
    server: IRCServer, session: Session, channel: Channel, send: Send, next_turn: Callable[[], Awaitable[None]]
) -> None:
    """Who is on a channel, if the client may know of it: a piece a turn, each as it is then.

    Who joins meanwhile shows by the JOIN, and who leaves before its piece is not named.  `next_turn` is that of the
    context or session; what it raises goes through.
    """
    members = iter(list(channel.members))
    piece = list(islice(members, NAMES_PIECE))
    if len(channel.members) > AT_ONCE:
        await next_turn()
    while piece:
        sees_hidden = server.has_privilege(session, "see-hidden")
        if server.state.channels.get(channel.key) is not channel or not may_see_channel(
            channel, session.uid, sees_hidden=sees_hidden
        ):
            return
        _send_all(server, session, names_lines(server, session, channel, piece), send)
        piece = list(islice(members, NAMES_PIECE))
        if piece:
            await next_turn()


async def send_implicit_names(
    server: IRCServer, session: Session, channel: Channel, send: Send, next_turn: Callable[[], Awaitable[None]]
) -> None:
    """The names of a large channel that a client has joined, and their end."""
    await send_names(server, session, channel, send, next_turn)
    _send_all(server, session, [end_of_names(server, session, channel.name)], send)


def send_channel_state(
    server: IRCServer, session: Session, channel: Channel, send: Send, most: int = NAMES_PIECE
) -> bool:
    """What follows a client's own JOIN: topic, how far it has read, and names.

    Returns whether the names are still to be sent, in pieces, because there are more than `most`.

    RFC 2812 3.2.1; IRCv3 no-implicit-names, draft/read-marker.
    """
    bodies = topic_lines(server, session, channel)
    if session.caps & READ_MARKER:
        bodies.append(f":{server.server_name} {marker_of(server, session, channel.name)}")
    wanted = not session.caps & NO_IMPLICIT_NAMES
    at_once = len(channel.members) <= most
    if wanted and at_once:
        bodies += names_lines(server, session, channel, channel.members)
        bodies.append(end_of_names(server, session, channel.name))
    _send_all(server, session, bodies, send)
    return wanted and not at_once


def _send_all(server: IRCServer, session: Session, bodies: Iterable[str], send: Send) -> None:
    timestamp = server.timestamp() if session.caps & SERVER_TIME else ""
    for body in bodies:
        send(Line(body, timestamp=timestamp))
