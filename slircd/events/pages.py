"""Questions to the log about one conversation or channel: what was said, and what happened, page by page.

Every question is answered by an index, whatever the size of the log: messages of a target by the partial index over
messages, all events of a target by `idx_events_target`, a moment by `idx_events_timestamp`, somebody's conversations
by the table `conversations`.  Ends of connections and changes of nick are no events of a channel; they are looked for
among the events of their type between the first and the last row of a page, and at most DEPARTURES of them.

Two readers answer (events.history): one in SQL, to be run in a thread, and one over a list of rows, for tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Protocol

from slircd.events.codec import DecodeError, decode_event
from slircd.events.row import Row

MESSAGE_TYPES: Final = ("message.notice", "message.privmsg", "message.tagmsg")
"""The types of messages, in the order in which the index over them names them."""

MESSAGES: Final = frozenset(MESSAGE_TYPES)

TEXTS: Final = frozenset({"message.privmsg", "message.notice"})
"""What clients without event-playback are shown."""

HAPPENINGS: Final = frozenset(
    {
        "channel.join",
        "channel.part",
        "channel.kick",
        "channel.topic_change",
        "channel.mode_change",
        "channel.ban_add",
        "channel.ban_remove",
    }
)
"""What else clients with event-playback are shown of a channel, beside ends of connections and changes of nick."""

LIVES: Final = frozenset(
    {"user.connect", "user.nick_change", "user.host_change", "user.account", "user.realname_change"}
)
"""What tells who a user was at a moment."""

DEPARTURES: Final = 2_000
"""Ends of connections and changes of nick that are looked through for one page."""

LIVES_LIMIT: Final = 20_000
NO_END: Final = 1 << 62
"""An id that no row has."""


class Page(NamedTuple):
    """Which rows of a target: with ids between `after_id` and `before_id`, both excluded.

    At most `limit` of them, the newest or the oldest.  `types` are event types.
    """

    target: str
    types: frozenset[str]
    limit: int
    after_id: int = 0
    before_id: int = NO_END
    newest: bool = True


class HistoryReader(Protocol):
    """What can be asked of a log; blocks."""

    def first_id_at(self, timestamp: str) -> int:
        """The id of the first row that is not earlier than `timestamp`; NO_END if there is none yet."""

    def creation_at(self, channel: str, timestamp: str, before_id: int) -> int:
        """The id of the last event below `before_id` by which `channel` was created at this very moment; 0 for none."""

    def page(self, page: Page) -> list[Row]:
        """The rows of a page, in order."""

    def departures(self, channel: str, page: Page) -> list[Row]:
        """Ends of connections and changes of nick of members of `channel`, of the ids of `page`, in order."""

    def lives(self, uids: Iterable[str], until_id: int) -> list[Row]:
        """What is known of these users up to a row, in order."""

    def conversations(self, side: str, page: Page) -> list[Row]:
        """The newest message of each conversation of a side; of `page` ids, limit and end count."""


def channel_page(reader: HistoryReader, page: Page) -> list[Row]:
    """A page of all that happened on a channel, departures included."""
    rows = reader.page(page)
    full = len(rows) >= page.limit
    # Departures beyond the last row of a full page belong to the next one.
    within = page
    if full and page.newest:
        within = page._replace(after_id=rows[0].id)
    elif full:
        within = page._replace(before_id=rows[-1].id)
    merged = sorted([*rows, *reader.departures(page.target, within)])
    return merged[-page.limit :] if page.newest else merged[: page.limit]


def sides_of(conversation: str) -> list[tuple[str, str]]:
    """Each side of a conversation and the one that it talks to."""
    first, _, second = conversation.partition(",")
    return [(first, second)] if first == second else [(first, second), (second, first)]


def is_direct(row: Row) -> bool:
    """Whether a row is a direct message."""
    return row.event_type in MESSAGES and "," in (row.target or "")


def mentions(row: Row, channel: str) -> bool:
    """Whether the end of a connection, or a change of nick, names the channel among those that it was seen on."""
    if channel not in row.payload:
        return False
    try:
        event: Any = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    except DecodeError:
        return False
    return channel in event.channels
