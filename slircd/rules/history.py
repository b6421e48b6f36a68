"""Message history: which messages are kept, whose conversation one is, and what of it somebody may see.

A direct message belongs to the conversation of its two sides.  Somebody who is logged in is its account, so that its
history follows it to other nicks and clients; somebody who is not is its UID, so that nobody who takes its nick later
can read what was said to it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from slircd.events import types as ev
from slircd.events.pages import NO_END
from slircd.state.model import Account, Channel, FormerName, ServerState, User

if TYPE_CHECKING:
    from slircd.events.row import Row

MESSAGE_EVENTS: Final[dict[str, type[ev.Message]]] = {
    "PRIVMSG": ev.MessagePrivmsg,
    "NOTICE": ev.MessageNotice,
    "TAGMSG": ev.MessageTagmsg,
}
"""Command to the event that it becomes."""

VERBS: Final[dict[type[ev.Event], str]] = {cls: verb for verb, cls in MESSAGE_EVENTS.items()}


def side_of(state: ServerState, user: User) -> str:
    """What stands for `user` in its conversations."""
    account = state.account_of(user)
    return f":{user.uid}" if account is None else account.key


def conversation(first: str, second: str) -> str:
    """The conversation of two sides: the target of its messages."""
    return ",".join(sorted((first, second)))


# --- what is kept -------------------------------------------------------------------------------------------------


def is_kept_of_channel(channel: Channel) -> bool:
    """Whether the channel's own settings allow its messages to be kept."""
    return channel.registration is None or channel.registration.settings.get("history") != "off"


_AGE: Final = re.compile(r"([1-9][0-9]{0,3})([hd])", re.ASCII)


def history_seconds(setting: str) -> int | None:
    """How old what members see may be, if a channel's setting HISTORY is an age (12h, 7d)."""
    match = _AGE.fullmatch(setting)
    return None if match is None else int(match[1]) * (3600 if match[2] == "h" else 86_400)


def is_kept_of_users(state: ServerState, *users: User) -> bool:
    """Whether the settings of all these users allow messages between them to be kept."""
    accounts = (state.account_of(user) for user in users)
    return not any(account is not None and account.is_set("nohistory") for account in accounts)


def is_worth_keeping(verb: str, tags: Mapping[str, str], kept_tags: Collection[str]) -> bool:
    """Whether a message is more than a passing signal: of those without a text only some are."""
    return verb != "TAGMSG" or any(tag in kept_tags for tag in tags)


class Line(Protocol):
    """One line of a message of several."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def concat(self) -> bool:
        """Whether it continues the line before it."""


class Utterance(Protocol):
    """What is said (commands.delivery.Said)."""

    @property
    def text(self) -> str | None:
        """The text; None for tags alone."""

    @property
    def tags(self) -> Mapping[str, str] | None:
        """Client-only tags."""

    @property
    def parts(self) -> Sequence[Line]:
        """The lines of a message of several."""


def decide_message(
    state: ServerState,
    user: User,
    verb: str,
    to: Channel | User,
    said: Utterance,
    *,
    source: str = "",
) -> Iterator[ev.Message]:
    """A message that may be sent is said, and kept; `source` is whom it is relayed from."""
    if isinstance(to, Channel):
        target, name, recipient = to.key, to.name, None
    else:
        target, name, recipient = conversation(side_of(state, user), side_of(state, to)), to.nick, to.uid
    yield MESSAGE_EVENTS[verb](
        actor_uid=user.uid,
        target=target,
        nick=user.nick,
        source=source or user.source,
        to=name,
        text=said.text or "",
        parts=[ev.MessagePart(part.text, part.concat) for part in said.parts],
        recipient_uid=recipient,
        account=None if source else user.account,
        bot="B" in user.modes and not source,
        relayed_by=user.nick if source else "",
        tags=dict(said.tags or {}),
    )


# --- what may be seen ---------------------------------------------------------------------------------------------


class Stretch(NamedTuple):
    """A part of the log: the rows of `target` with ids between `after_id` and `before_id`, both excluded."""

    target: str
    after_id: int
    before_id: int


class Scope(NamedTuple):
    """What somebody may see of a channel or a conversation: `target` in the log, since `since` (a timestamp)."""

    target: str
    name: str
    since: str
    is_channel: bool
    hides_members: bool = False
    """Whether who comes and goes is not shown (an auditorium, +u)."""
    former: Sequence[FormerName] = ()
    """The names that the channel had before, the newest last."""

    def stretches(self) -> list[Stretch]:
        """Where in the log it stands, the oldest first: one stretch, and one more for each name that it had before."""
        found: list[Stretch] = []
        after_id = 0
        for name in self.former:
            found.append(Stretch(name.key, after_id, name.until_id))
            after_id = name.until_id
        return [*found, Stretch(self.target, after_id, NO_END)]

    def holds(self, row: Row) -> bool:
        """Whether a row is of the channel or conversation, and may be seen."""
        places = (each for each in self.stretches() if each.after_id < row.id < each.before_id)
        return row.timestamp >= self.since and any(row.target == place.target for place in places)


def channel_scope(
    state: ServerState, user: User, channel: Channel, *, cutoff: str = "none", joined_at: str = ""
) -> Scope | None:
    """What a member may see of a channel; None for anybody else.

    A channel's history begins with the channel and follows it to other names.  A name that others had before it has
    nothing of theirs: who makes a name's next channel does not get what was said in the one before.
    `cutoff` is history.cutoff: `registered` begins with the member's account (or connection), `joined` with
    `joined_at`; a registered channel can ask for the latter itself (ChanServ SET HISTORY JOINED).
    """
    if user.uid not in channel.members or not is_kept_of_channel(channel):
        return None
    since = channel.history_since
    if channel.registration is not None and channel.registration.settings.get("history") == "joined":
        cutoff = "joined"
    if cutoff == "joined":
        since = max(since, joined_at or user.connected_at)
    elif cutoff == "registered":
        account = state.account_of(user)
        since = max(since, user.connected_at if account is None else account.registered_at)
    hides = "u" in channel.flags and not channel.has_any(user.uid, "qaoh")
    return Scope(channel.key, channel.name, since, is_channel=True, hides_members=hides, former=tuple(channel.former))


def direct_scope(state: ServerState, user: User, name: str) -> Scope | None:
    """What `user` may see of its conversation with the user, or the account, of this name; None if there is neither.

    An account's history begins with the account: nobody gets the history of an account that had the name before.
    """
    other = state.user_by_nick(name)
    account: Account | None
    if other is not None:
        if other.is_service:
            return None
        side, account = side_of(state, other), state.account_of(other)
    else:
        account = state.account_named(name) or state.owner_of_nick(name)
        if account is None:
            return None
        side = account.key
    own = state.account_of(user)
    since = max((each.registered_at for each in (account, own) if each is not None), default="")
    return Scope(conversation(side_of(state, user), side), name, since, is_channel=False)


# --- taking back --------------------------------------------------------------------------------------------------


def may_redact(state: ServerState, user: User, target: str, said: ev.Message, said_at: str) -> bool:
    """Whether `user` may take back a message: its author, or an operator of the channel `target`.

    The author is the same connection, or the account under which it was said, unless that is another one of the same
    name.
    """
    channel = state.channels.get(target)
    if channel is not None and channel.has_any(user.uid, "qao"):
        return True
    if said.actor_uid == user.uid:
        return True
    account = state.account_of(user)
    if account is None or said.account is None:
        return False
    return state.fold(said.account) == account.key and said_at >= account.registered_at


def redacted(said: ev.Message, by: str) -> ev.Message:
    """What stays of a message: that it was said, by whom and to whom; not what."""
    return msgspec.structs.replace(said, text="", parts=[], tags={}, redacted_by=by)


def decide_redact(
    user: User, scope: Scope, row_id: int, msgid: str, reason: str, recipient_uid: str | None
) -> Iterator[ev.Event]:
    """A message that `user` may take back is taken back."""
    yield ev.MessageRedact(
        actor_uid=user.uid,
        target=scope.target,
        nick=user.nick,
        source=user.source,
        to=scope.name,
        redacted_id=row_id,
        msgid=msgid,
        reason=reason,
        recipient_uid=recipient_uid,
    )


# --- reading ------------------------------------------------------------------------------------------------------


def decide_read_marker(state: ServerState, user: User, account: Account, name: str, read: str) -> Iterator[ev.Event]:
    """Somebody has read further than before; nothing if it had read as far."""
    if read > account.read_markers.get(state.fold(name), ""):
        yield ev.AccountReadMarker(actor_uid=user.uid, target=account.key, nick=user.nick, name=name, read=read)
