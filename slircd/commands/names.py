"""What a client is told of a channel's members and topic: on joining, and when it asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from slircd.commands.markers import marker_of
from slircd.events.clock import parse_timestamp
from slircd.rules.lookup import sees_member
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


def names_lines(server: IRCServer, session: Session, channel: Channel) -> list[str]:
    """The bodies of RPL_NAMREPLY for one channel, as `session` may see it."""
    state = server.state
    caps = session.caps
    multi = bool(caps & MULTI_PREFIX)
    hosts = caps & USERHOST_IN_NAMES
    sees_hidden = bool(session.uid) and server.has_privilege(session.uid, "see-hidden")
    plain = "u" not in channel.flags and session.uid in channel.members
    words: list[str] = []
    for uid, modes in channel.members.items():
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


def send_channel_state(server: IRCServer, session: Session, channel: Channel, send: Send) -> None:
    """What follows a client's own JOIN: topic, how far it has read, and names.

    RFC 2812 3.2.1; IRCv3 no-implicit-names, draft/read-marker.
    """
    timestamp = server.timestamp() if session.caps & SERVER_TIME else ""
    bodies = topic_lines(server, session, channel)
    if session.caps & READ_MARKER:
        bodies.append(f":{server.server_name} {marker_of(server, session, channel.name)}")
    if not session.caps & NO_IMPLICIT_NAMES:
        bodies += names_lines(server, session, channel)
        bodies.append(end_of_names(server, session, channel.name))
    for body in bodies:
        send(Line(body, timestamp=timestamp))
